#include "server/raft/tracker.hpp"
#include "tests/raft_fixture.hpp"

using namespace kv::raft_test;

namespace {

Quorum quorum_of(int size) {
  return Quorum(config(1, size).voters);
}

std::uint64_t reached(int size, const std::vector<std::uint64_t>& positions) {
  std::vector<Index> indexes;
  for (const std::uint64_t position : positions) indexes.emplace_back(position);
  return quorum_of(size).reached(std::move(indexes)).value;
}

// Sends one message with each of these last entries, of ten bytes each.
Progress fed_to(std::initializer_list<std::uint64_t> last_entries) {
  Progress progress;
  progress.mode = Progress::Mode::replicate;
  for (const std::uint64_t last : last_entries) progress.note_sent({Index(last), 10});
  return progress;
}

}  // namespace

TEST_CASE("quorum: a majority is more than half") {
  CHECK(quorum_of(1).majority() == 1);
  CHECK(quorum_of(2).majority() == 2);
  CHECK(quorum_of(3).majority() == 2);
  CHECK(quorum_of(4).majority() == 3);
  CHECK(quorum_of(5).majority() == 3);
}

TEST_CASE("quorum: its position is the highest that a majority has reached") {
  CHECK(reached(1, {7}) == 7);
  CHECK(reached(2, {7, 3}) == 3);
  CHECK(reached(3, {9, 2, 5}) == 5);
  CHECK(reached(3, {0, 0, 8}) == 0);
  CHECK(reached(4, {4, 3, 2, 1}) == 2);
  CHECK(reached(5, {1, 5, 5, 2, 5}) == 5);
  CHECK(reached(5, {1, 2, 3, 4, 5}) == 3);
}

TEST_CASE("quorum: it knows its voters, whatever their order") {
  const Quorum quorum({id(3), id(1), id(2)});
  CHECK(quorum.contains(id(1)));
  CHECK(quorum.contains(id(3)));
  CHECK_FALSE(quorum.contains(id(4)));
  CHECK_FALSE(quorum.contains(NodeId{}));
}

TEST_CASE("votes: a majority of granted ones wins, each voter counted once") {
  const Quorum quorum = quorum_of(5);
  Votes votes;
  votes.record(id(1), true);
  votes.record(id(2), true);
  votes.record(id(2), true);
  CHECK_FALSE(votes.won(quorum));
  votes.record(id(3), false);
  CHECK_FALSE(votes.won(quorum));
  votes.record(id(4), true);
  CHECK(votes.won(quorum));
}

TEST_CASE("progress: an acknowledgement moves what matches, and what is sent next, forward only") {
  Progress progress;
  progress.acknowledge(Index(5));
  CHECK(progress.match == Index(5));
  CHECK(progress.next == Index(6));
  progress.acknowledge(Index(3));
  CHECK(progress.match == Index(5));
  CHECK(progress.next == Index(6));
}

TEST_CASE("progress: an acknowledgement frees the messages that it covers in full") {
  Progress progress = fed_to({3, 6, 9});
  CHECK(progress.next == Index(10));
  CHECK(progress.in_flight_bytes == 30);
  progress.acknowledge(Index(7));
  CHECK(progress.in_flight.size() == 1);
  CHECK(progress.in_flight_bytes == 10);
  CHECK(progress.next == Index(10));
  progress.acknowledge(Index(9));
  CHECK(progress.in_flight.empty());
  CHECK(progress.in_flight_bytes == 0);
}

TEST_CASE("progress: when messages may be lost it starts again behind what is certain") {
  Progress progress = fed_to({3, 6, 9});
  progress.acknowledge(Index(4));
  progress.probe_sent = true;
  progress.restart(Index(9));
  CHECK(progress.mode == Progress::Mode::probe);
  CHECK(progress.next == Index(5));
  CHECK_FALSE(progress.probe_sent);
  CHECK(progress.in_flight.empty());
  CHECK(progress.in_flight_bytes == 0);
}
