// The log and snapshots: marks, logs that begin anew, segments that are dropped, and what recovery makes of them.
#include <cstdlib>

#include "tests/wal_fixture.hpp"

using namespace kv;
using namespace kv::wal_test;
using Catch::Matchers::Contains;

namespace {

raft::Write marked(std::uint64_t index, std::uint64_t term, bool resets, std::vector<raft::Entry> list = {}) {
  raft::Write write = entries(std::move(list));
  write.snapshot = raft::SnapshotMark{{raft::Index(index), raft::Term(term)}, raft::Payload("members"), resets};
  return write;
}

raft::Write droppable(raft::Write write, std::uint64_t index) {
  write.droppable = raft::Index(index);
  return write;
}

std::string beginning(const Wal::Recovered& recovered) {
  return "from " + std::to_string(recovered.first.value) + ", " + describe(recovered);
}

std::string reopened_from(MemoryDirectory& directory) {
  return beginning(Log(directory).recovered);
}

// An entry a segment: 900 bytes of it.
raft::Entry big(std::uint64_t term, std::uint64_t index) {
  return entry(term, index, std::string(900, static_cast<char>('a' + index % 26)));
}

}  // namespace

TEST_CASE("wal: a mark is read back, with its members", "[wal][snapshot]") {
  MemoryDirectory directory;
  Log(directory).wal->append(entries({entry(1, 1, "a"), entry(1, 2, "b")}, 2));
  Log(directory).wal->append(marked(2, 1, false));
  Log log(directory);
  REQUIRE(log.recovered.snapshot.has_value());
  CHECK(log.recovered.snapshot->position == raft::Position{raft::Index(2), raft::Term(1)});
  CHECK(*log.recovered.snapshot->context == "members");
  CHECK(beginning(log.recovered) == "from 1, term 0 vote  commit 2: 1/1 'a', 2/1 'b',");
}

TEST_CASE("wal: a mark with which the log begins anew leaves nothing of what was before", "[wal][snapshot]") {
  MemoryDirectory directory;
  {
    Log log(directory);
    log.wal->append(entries({entry(1, 1, "a"), entry(1, 2, "b")}, 1));
    log.wal->append(marked(50, 3, true));
  }
  CHECK(reopened_from(directory) == "from 51, term 0 vote  commit 1:");
  Log(directory).wal->append(entries({entry(3, 51, "c")}, 51));
  CHECK(reopened_from(directory) == "from 51, term 0 vote  commit 51: 51/3 'c',");
  // It is said once: a segment that begins later repeats the mark, and the log goes on.
  Log(directory).wal->append(entries({big(3, 52), big(3, 53)}));
  Log(directory).wal->append(entries({big(3, 54), big(3, 55)}));
  REQUIRE(directory.list().size() >= 3);
  CHECK_THAT(reopened_from(directory), Contains("51/3 'c', 52/3") && Contains("55/3"));
}

TEST_CASE("wal: the oldest segment is dropped when a snapshot holds all of it, one at a time", "[wal][snapshot]") {
  MemoryDirectory directory;
  Log log(directory);
  for (std::uint64_t i = 1; i <= 6; ++i) log.wal->append(hard_state(i, "n1", {big(1, i)}));
  const std::size_t before = directory.list().size();
  log.wal->append(droppable(entries({big(1, 7)}), 3));
  CHECK(directory.list().size() == before + 1);  // no mark says yet that there was something
  log.wal->append(droppable(marked(6, 1, false), 3));
  for (int i = 0; i < 5; ++i) log.wal->append(droppable(hard_state(20 + i, "n2"), 3));
  CHECK_THAT(reopened_from(directory), Contains("from 3,") || Contains("from 4,"));
  CHECK_THAT(reopened_from(directory), Contains("term 24 vote n2") && Contains(" 7/1 "));
  CHECK(directory.list().front() > first_name);
  Log again(directory);
  REQUIRE(again.recovered.snapshot.has_value());
  CHECK(again.recovered.snapshot->position.index == raft::Index(6));
  again.wal->append(entries({big(1, 8)}));
  CHECK_THAT(reopened_from(directory), Contains(" 8/1 "));
}

TEST_CASE("wal: on a disk without room a segment that is dropped makes room for the spare", "[wal][snapshot]") {
  MemoryDirectory directory;
  Log log(directory);
  for (std::uint64_t i = 1; i <= 4; ++i) log.wal->append(entries({big(1, i)}));
  log.wal->append(marked(4, 1, false));
  directory.limit_space(directory.used());
  for (std::uint64_t i = 5; i <= 7; ++i) {
    log.wal->append(droppable(entries({big(1, i)}), 4));
    CHECK(log.wal->has_spare());
  }
  log.wal->append(droppable(entries({big(1, 8)}), 4));
  CHECK(log.wal->has_spare());
  log.wal->append(droppable(entries({big(1, 9)}), 4));
  CHECK_FALSE(log.wal->has_spare());  // nothing is left that could be dropped
}

TEST_CASE("wal: and for a batch that needs a segment of its own", "[wal][snapshot]") {
  MemoryDirectory directory;
  Log log(directory);
  for (std::uint64_t i = 1; i <= 3; ++i) log.wal->append(entries({big(1, i)}));
  log.wal->append(droppable(marked(3, 1, false), 3));  // with which a segment goes
  directory.limit_space(directory.used() + 3000);
  log.wal->append(entries({entry(1, 4, std::string(3000, 'x'))}));
  CHECK_THAT(reopened(directory), Contains(" 4/1 "));
}

TEST_CASE("wal: and for one that needs the room of several", "[wal][snapshot]") {
  MemoryDirectory directory;
  Log log(directory);
  for (std::uint64_t i = 1; i <= 8; ++i) log.wal->append(entries({big(1, i)}));
  log.wal->append(droppable(marked(8, 1, false), 8));
  directory.limit_space(directory.used());
  log.wal->append(entries({entry(1, 9, std::string(4000, 'x'))}));
  CHECK_THAT(reopened(directory), Contains(" 9/1 "));
}

TEST_CASE("wal: a log of which every entry was dropped goes on behind the mark", "[wal][snapshot]") {
  MemoryDirectory directory;
  {
    Log log(directory);
    for (std::uint64_t i = 1; i <= 4; ++i) log.wal->append(entries({big(1, i)}));
    log.wal->append(marked(4, 1, false));
    for (std::uint64_t i = 0; i < 20; ++i) log.wal->append(droppable(hard_state(10 + i, "n1"), 4));
  }
  CHECK(reopened_from(directory) == "from 5, term 29 vote n1 commit 0:");
  Log(directory).wal->append(entries({entry(2, 5, "e")}));
  CHECK(reopened_from(directory) == "from 5, term 29 vote n1 commit 0: 5/2 'e',");
}

TEST_CASE("wal: entries that were replaced keep no segment, and those behind them may be read first",
          "[wal][snapshot]") {
  MemoryDirectory directory;
  {
    Log log(directory);
    for (std::uint64_t i = 1; i <= 3; ++i) log.wal->append(entries({big(1, i)}, 1));
    for (std::uint64_t i = 4; i <= 6; ++i) log.wal->append(entries({big(1, i)}, 1));
    for (std::uint64_t i = 2; i <= 4; ++i) log.wal->append(entries({big(2, i)}, 1));  // 2 to 6 of term 1 are gone
    log.wal->append(marked(1, 1, false));
    for (std::uint64_t i = 0; i < 10; ++i) log.wal->append(droppable(hard_state(3 + i, ""), 1));
  }
  CHECK_THAT(reopened_from(directory), Contains("from 2,") && Contains(": 2/2 ") && Contains(" 4/2 "));
  CHECK_THAT(reopened_from(directory), !Contains("/1 "));
}

TEST_CASE("wal: segments that are missing at the front without a mark are missed", "[wal][snapshot]") {
  MemoryDirectory directory;
  {
    Log log(directory);
    for (std::uint64_t i = 1; i <= 3; ++i) log.wal->append(entries({big(1, i)}));
  }
  directory.remove(first_name);
  CHECK_THAT(refusal(directory), Contains(first_name + " at offset 0: the file is missing"));
}

TEST_CASE("wal: the first segment that is left must have its batches", "[wal][snapshot]") {
  MemoryDirectory directory;
  {
    Log log(directory);
    for (std::uint64_t i = 1; i <= 4; ++i) log.wal->append(entries({big(1, i)}));
    log.wal->append(marked(4, 1, false));
    for (std::uint64_t i = 0; i < 4; ++i) log.wal->append(droppable(hard_state(10 + i, "n1"), 4));
  }
  auto image = directory.image();
  const std::string front = image.begin()->first;
  REQUIRE(front > first_name);
  std::string& bytes = image.begin()->second;
  bytes.replace(512, bytes.size() - 512, bytes.size() - 512, '\0');
  directory.restore(image);
  CHECK_THAT(refusal(directory), Contains(front + " at offset 512: the segment is empty"));
}

TEST_CASE("wal: segments grow with the log, and start small", "[wal][snapshot]") {
  MemoryDirectory directory;
  Wal::Recovered recovered;
  Wal wal(directory, WalOptions{2048, 8192}, identity, recovered);
  for (std::uint64_t i = 1; i <= 60; ++i) wal.append(entries({big(1, i)}));
  const auto image = directory.image();
  CHECK(image.begin()->second.size() == 2048);
  CHECK(image.rbegin()->second.size() == 8192);
  CHECK(image.size() < 40);
}

// All of a log that has seen everything: 64 KiB of it. KV_TEST_EVERY_BIT=1 tries each bit, which takes a minute.
TEST_CASE("wal: a flipped bit anywhere in a log of 64 KiB is found", "[wal][snapshot]") {
  MemoryDirectory directory;
  {
    Wal::Recovered recovered;
    Wal wal(directory, WalOptions{16 << 10}, identity, recovered);
    std::uint64_t index = 0;
    for (int i = 0; i < 20; ++i) {
      wal.append(
          hard_state(static_cast<std::uint64_t>(i) + 1, "n1", {big(1, index + 1), no_op(1, index + 2)}, index));
      index += 2;
    }
    wal.append(droppable(marked(index, 1, false), 8));
    while (directory.list().size() < 5) wal.append(droppable(entries({big(2, ++index)}, index - 1), 8));
    wal.append(marked(index + 10, 3, true, {big(3, index + 11)}));
  }
  const auto intact = directory.image();
  std::uint64_t bits = 0;
  for (const auto& [name, bytes] : intact) bits += bytes.size() * 8;
  REQUIRE(bits >= 64 * 1024 * 8);
  const std::uint64_t step = std::getenv("KV_TEST_EVERY_BIT") ? 1 : 97;
  std::uint64_t missed = 0;
  std::uint64_t at = 0;
  for (const auto& [name, bytes] : intact) {
    for (; at < bytes.size() * 8; at += step) {
      auto image = intact;
      image[name][at / 8] ^= static_cast<char>(1 << at % 8);
      directory.restore(image);
      if (refusal(directory).find(name) == std::string::npos) ++missed;
    }
    at -= bytes.size() * 8;
  }
  CHECK(missed == 0);
}
