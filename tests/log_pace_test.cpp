// What may come to a long log beside a snapshot.
#include "server/log_pace.hpp"

#include <catch2/catch.hpp>

using kv::LogPace;

namespace {

// Bytes that it takes, ten at a time, when so much of the snapshot is written.
std::size_t take_all(LogPace& pace, double saved, std::size_t room = 1000) {
  std::size_t bytes = 0;
  while (pace.takes_more(saved, bytes, room - bytes)) bytes += 10;
  pace.took(bytes);
  return bytes;
}

}  // namespace

TEST_CASE("log pace: two fifths of the limit come as evenly as the snapshot does", "[log_pace]") {
  LogPace pace(1000);
  std::size_t came = 0;
  for (int percent = 0; percent <= 100; percent += 5) {
    came += take_all(pace, percent / 100.0);
    CHECK(came >= 4 * static_cast<std::size_t>(percent));
    CHECK(came <= 4 * static_cast<std::size_t>(percent) + 10);
  }
}

TEST_CASE("log pace: what came before the log was long counts, and what is left is for the rest", "[log_pace]") {
  LogPace pace(1000);
  pace.took(200);
  CHECK(take_all(pace, 0.5) == 10);
  CHECK(take_all(pace, 0.75) == 100);
  CHECK(take_all(pace, 1) == 100);
}

TEST_CASE("log pace: a tenth comes in any case, and none of it at once", "[log_pace]") {
  LogPace pace(1000);
  pace.took(500);
  CHECK(take_all(pace, 0.25) == 10);
  CHECK(take_all(pace, 0.625) == 50);
  CHECK(take_all(pace, 1) == 50);
}

TEST_CASE("log pace: a snapshot of which more is left than it seemed holds it up", "[log_pace]") {
  LogPace pace(1000);
  take_all(pace, 0.5);
  CHECK(take_all(pace, 0.4) == 0);
  CHECK(take_all(pace, 0.75) > 0);
}

TEST_CASE("log pace: all of it may come where the whole snapshot is written", "[log_pace]") {
  LogPace pace(1000);
  CHECK(take_all(pace, 1) == 410);
}

TEST_CASE("log pace: where the log has less room, that comes as evenly", "[log_pace]") {
  LogPace pace(1000);
  CHECK(take_all(pace, 0, 200) == 10);
  CHECK(take_all(pace, 0.5, 190) == 100);
  CHECK(take_all(pace, 1, 90) == 100);
}

TEST_CASE("log pace: what comes in the turn that makes the log long counts as before that", "[log_pace]") {
  LogPace pace(1000);
  CHECK(pace.takes_more(0, 300, 500));
  pace.took(300);
  CHECK(take_all(pace, 0.5, 500) == 60);
}
