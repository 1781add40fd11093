// The write-ahead log as its callers see it, and crashes. Damage is in wal_damage_test.cpp.
#include "server/wal.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <functional>

#include "tests/wal_fixture.hpp"

using namespace kv;
using namespace kv::wal_test;
using Kept = MemoryDirectory::Kept;

namespace {

// A broken promise of the caller's ends the process: so in a process of its own.
bool dies(const std::function<void()>& action) {
  const pid_t child = ::fork();
  if (child == 0) {
    std::signal(SIGABRT, SIG_DFL);
    ::close(STDERR_FILENO);
    action();
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

// Writes that need a new segment of 2 KiB every other time, and once one of more than 2 KiB.
std::vector<raft::Write> script() {
  std::vector<raft::Write> writes{hard_state(1, "n1")};
  for (std::uint64_t i = 1; i <= 6; ++i) writes.push_back(entries({entry(1, i, std::string(600, 'a'))}, i - 1));
  writes.push_back(hard_state(2, "n2", {entry(2, 6, std::string(5000, 'b')), no_op(2, 7)}, 5));
  for (std::uint64_t i = 7; i <= 9; ++i) writes.push_back(entries({entry(3, i, std::string(600, 'c'))}, i - 1));
  return writes;
}

// What a log holds after the first n writes of the script, for each n.
std::vector<std::string> expected_states() {
  std::vector<std::string> states;
  const auto writes = script();
  for (std::size_t n = 0; n <= writes.size(); ++n) {
    MemoryDirectory directory;
    Log log(directory);
    for (std::size_t i = 0; i < n; ++i) log.wal->append(writes[i]);
    states.push_back(reopened(directory));
  }
  return states;
}

// Opens the log and does what is left of the script. Returns for how many writes of it append() has returned;
// a disk error ends it.
std::size_t run_script(MemoryDirectory& directory) {
  const auto writes = script();
  std::size_t done = 0;
  try {
    Log log(directory);
    for (done = log.recovered.batches; done < writes.size(); ++done) {
      try {
        log.wal->append(writes[done]);
      } catch (const WalFull&) {
        log.wal->append(writes[done]);  // now there is room
      }
    }
  } catch (const FileError&) {
  }
  return done;
}

// Opens what a crash has left of it: every write that was answered is there, at most one more, none in part;
// and the log goes on from there.
void check_after_crash(MemoryDirectory& directory, std::size_t answered, const std::vector<std::string>& states) {
  std::size_t found = 0;
  {
    Log log(directory);
    found = log.recovered.batches;
    REQUIRE(found >= answered);
    REQUIRE(found <= answered + 1);
    REQUIRE(describe(log.recovered) == states[found]);
    // What the process that is gone had not synced must not be built on before it is.
    if (found + 1 < states.size()) log.wal->append(script()[found++]);
  }
  directory.crash(Kept::nothing);
  REQUIRE(reopened(directory) == states[found]);
  REQUIRE(run_script(directory) == states.size() - 1);
  REQUIRE(reopened(directory) == states.back());
}

}  // namespace

TEST_CASE("wal: a new log is empty and fresh once, and remembers its identity") {
  MemoryDirectory directory;
  {
    Log log(directory);
    CHECK(log.recovered.fresh);
    CHECK(log.recovered.identity == identity);
    CHECK(log.wal->has_spare());
  }
  directory.crash(Kept::nothing);
  Wal::Recovered recovered;
  Wal wal(directory, WalOptions{2048}, other_identity, recovered);
  CHECK_FALSE(recovered.fresh);
  CHECK(recovered.identity == identity);
  CHECK(recovered.segments == 2);
  CHECK(describe(recovered) == "term 0 vote  commit 0:");
  CHECK(directory.list() == std::vector<std::string>{first_name, second_name});
}

TEST_CASE("wal: what was appended is recovered, and a no-op is not an empty command") {
  MemoryDirectory directory;
  {
    Log log(directory);
    log.wal->append(hard_state(1, "n1", {no_op(1, 1), entry(1, 2, ""), entry(1, 3, "abc")}, 1));
    log.wal->append(entries({entry(1, 4, "d")}, 3));
  }
  const Log log(directory);
  CHECK(describe(log.recovered) == "term 1 vote n1 commit 3: 1/1 no-op, 2/1 '', 3/1 'abc', 4/1 'd',");
  CHECK(log.recovered.batches == 2);
  CHECK(log.recovered.bytes == 1024);
  CHECK(log.recovered.torn_bytes == 0);
}

TEST_CASE("wal: a later entry replaces the one at its position and all after it") {
  MemoryDirectory directory;
  {
    Log log(directory);
    log.wal->append(entries({entry(1, 1, "a"), entry(1, 2, "b"), entry(1, 3, "c"), entry(1, 4, "d")}, 1));
    log.wal->append(entries({entry(2, 2, "B")}));
    log.wal->append(entries({entry(2, 3, "C")}));
  }
  CHECK(reopened(directory) == "term 0 vote  commit 1: 1/1 'a', 2/2 'B', 3/2 'C',");
}

TEST_CASE("wal: a hard state alone is recovered, and the last one counts") {
  MemoryDirectory directory;
  {
    Log log(directory);
    log.wal->append(hard_state(3, "n2"));
    log.wal->append(hard_state(4, ""));
  }
  CHECK(reopened(directory) == "term 4 vote  commit 0:");
}

TEST_CASE("wal: a write of nothing records the commit position, which never falls nor passes the last entry") {
  MemoryDirectory directory;
  Log log(directory);
  log.wal->append(entries({entry(1, 1, "a"), entry(1, 2, "b")}));
  log.wal->append(entries({}, 1));
  CHECK(reopened(directory) == "term 0 vote  commit 1: 1/1 'a', 2/1 'b',");
  log.wal->append(entries({}, 0));
  CHECK(reopened(directory) == "term 0 vote  commit 1: 1/1 'a', 2/1 'b',");
  log.wal->append(entries({}, 7));
  CHECK(reopened(directory) == "term 0 vote  commit 2: 1/1 'a', 2/1 'b',");
}

TEST_CASE("wal: entries that leave a gap or replace a committed one are never written") {
  MemoryDirectory directory;
  Log log(directory);
  log.wal->append(entries({entry(1, 1, "a"), entry(1, 2, "b")}, 1));
  CHECK(dies([&] { log.wal->append(entries({entry(1, 4, "d")})); }));
  CHECK(dies([&] { log.wal->append(entries({entry(1, 3, "c"), entry(1, 5, "e")})); }));
  log.wal->append(entries({}, 0));
  CHECK(dies([&] { log.wal->append(entries({entry(2, 1, "A")})); }));
  CHECK_FALSE(dies([&] { log.wal->append(entries({entry(2, 2, "B")})); }));
}

TEST_CASE("wal: values of every length and of zeros only, over many small segments, with a restart at every turn") {
  MemoryDirectory directory;
  std::string expected = "term 0 vote  commit 0:";
  std::uint64_t index = 0;
  for (std::size_t length = 0; length < 1700; length += length < 600 ? 7 : 50) {
    Log log(directory);
    CHECK(log.recovered.entries.size() == index);
    for (const char fill : {'\0', 'W', '+'}) {
      const std::string value(length, fill);
      log.wal->append(entries({entry(1, ++index, value)}));
      expected += ' ' + std::to_string(index) + "/1 '" + value + "',";
    }
  }
  CHECK((reopened(directory) == expected));
  CHECK(directory.list().size() > 100);
}

TEST_CASE("wal: a batch larger than a segment gets one of its own, in place of the spare") {
  MemoryDirectory directory;
  const std::string value(100'000, 'v');
  const std::string next(5'000, 'b');
  const std::string expected = "term 0 vote  commit 0: 1/1 '" + value + "', 2/1 '" + next + "',";
  {
    Log log(directory);
    log.wal->append(entries({entry(1, 1, value)}));
    log.wal->append(entries({entry(1, 2, next)}));
  }
  CHECK((reopened(directory) == expected));
  CHECK(directory.list() == std::vector<std::string>{first_name, second_name, third_name, "0000000000000004.wal"});
  CHECK(directory.image()[second_name].size() > 100'000);
}

TEST_CASE("wal: an append is one write and then one sync, and a rotation makes the next spare") {
  MemoryDirectory directory;
  Log log(directory);
  using Calls = std::vector<std::string>;
  directory.log().clear();
  log.wal->append(entries({entry(1, 1, std::string(900, 'a'))}));
  CHECK(directory.log() == Calls{"write " + first_name, "sync " + first_name});
  directory.log().clear();
  log.wal->append(entries({entry(1, 2, std::string(900, 'b'))}));
  const std::string temporary = third_name + ".tmp";
  CHECK(directory.log() == Calls{"write " + second_name, "sync " + second_name, "create " + temporary,
                                 "allocate " + temporary, "write " + temporary, "sync " + temporary,
                                 "rename " + temporary, "sync directory"});
}

TEST_CASE("wal: when append returns the batch is durable, in segments that are filled with zeros ahead, too") {
  MemoryDirectory directory;
  const std::uint64_t segment_bytes = 4 << 20;
  std::string expected = "term 0 vote  commit 0:";
  Log log(directory, segment_bytes);
  for (std::uint64_t i = 1; i <= 50; ++i) {
    const std::string value(i == 20 ? 1'500'000 : 100'000, static_cast<char>('a' + i % 26));
    log.wal->append(entries({entry(1, i, value)}));
    expected += ' ' + std::to_string(i) + "/1 '" + value + "',";
  }
  const auto& calls = directory.log();
  CHECK(std::count(calls.begin(), calls.end(), "write " + first_name) == 27 + 3);  // batches, slices of zeros
  directory.crash(Kept::nothing);
  CHECK((reopened(directory, segment_bytes) == expected));
}

TEST_CASE("wal: a batch that others write is whole blocks, in which nothing else changes, and is recovered") {
  constexpr std::uint64_t block = 4096;
  const std::uint64_t segment_bytes = GENERATE(64 << 10, 10'240);  // whole blocks, and not
  MemoryDirectory directory;
  std::string expected = "term 0 vote  commit 0:";
  std::uint64_t index = 0;
  std::size_t prepared = 0;
  for (int restart = 0; restart < 4; ++restart) {
    Log log(directory, segment_bytes);
    for (const std::size_t length : {1, 300, 3000, 3500, 3584, 4000, 9000, 400, 20'000, 1}) {
      const std::string value(length, static_cast<char>('a' + index % 26));
      const raft::Write write = entries({entry(1, ++index, value)});
      expected += ' ' + std::to_string(index) + "/1 '" + value + "',";
      const auto batch = log.wal->prepare(write);
      if (!batch || index % 7 == 0) {  // what was prepared may still be appended
        log.wal->append(write);
        continue;
      }
      ++prepared;
      std::string bytes;
      for (const std::string_view piece : batch->pieces) bytes += piece;
      CHECK(batch->offset % block == 0);
      CHECK(bytes.size() % block == 0);
      std::string before(bytes.size(), '?');
      REQUIRE(batch->file.read_at(batch->offset, before) == before.size());
      const std::size_t begin = batch->pieces[0].size();
      const std::size_t end = begin + batch->pieces[1].size();
      CHECK((before.substr(0, begin) == batch->pieces[0]));
      CHECK((before.substr(begin, end - begin) == std::string(end - begin, '\0')));
      CHECK((before.substr(end) == batch->pieces[2]));

      batch->file.write_at(batch->offset, bytes);
      batch->file.sync();
      log.wal->wrote(write);
      if (!log.wal->is_tidy()) log.wal->tidy();
      CHECK(log.wal->is_tidy());
    }
    directory.crash(Kept::nothing);
  }
  CHECK(prepared >= 12);
  CHECK((reopened(directory, segment_bytes) == expected));
}

TEST_CASE("wal: a failed write by others is told like one of the log's own, and is as final") {
  MemoryDirectory directory;
  Log log(directory, 64 << 10);
  const raft::Write write = entries({entry(1, 1, "a")});
  REQUIRE(log.wal->prepare(write));
  CHECK_THROWS_WITH(log.wal->fail(EIO), "cannot write memory/" + first_name + ": Input/output error");
  CHECK_THROWS_AS(log.wal->append(write), std::logic_error);
  CHECK_FALSE(log.wal->prepare(write));
  CHECK_THROWS_AS(log.wal->tidy(), std::logic_error);
}

TEST_CASE("wal: zeros that find no room ahead are no error") {
  MemoryDirectory directory;
  const std::uint64_t segment_bytes = 4 << 20;
  Log log(directory, segment_bytes);
  log.wal->append(entries({entry(1, 1, std::string(500'000, 'a'))}));
  directory.fail(3, ENOSPC, false);
  log.wal->append(entries({entry(1, 2, std::string(100'000, 'b'))}));
  CHECK(directory.log().back() == "write " + first_name);
  log.wal->append(entries({entry(1, 3, "c")}));
  directory.crash(Kept::nothing);
  CHECK(Log(directory, segment_bytes).recovered.entries.size() == 3);
}

TEST_CASE("wal: after a failed write or sync the log throws and does nothing more") {
  for (const std::uint64_t failing_call : {1, 2}) {
    MemoryDirectory directory;
    Log log(directory);
    log.wal->append(entries({entry(1, 1, "a")}));
    directory.fail(failing_call, EIO, false);
    CHECK_THROWS_AS(log.wal->append(entries({entry(1, 2, "b")})), FileError);
    const std::uint64_t changes = directory.changes();
    CHECK_THROWS_AS(log.wal->append(entries({entry(1, 2, "b")})), std::logic_error);
    CHECK_THROWS_AS(log.wal->try_spare(), std::logic_error);
    CHECK(directory.changes() == changes);
  }
}

// The kernel shows the next process what it failed to write, and says of a second sync that all is well.
TEST_CASE("wal: what is recovered is durable, even if it is of a write whose sync failed") {
  MemoryDirectory directory;
  {
    Log log(directory);
    log.wal->append(hard_state(1, "n1"));
    directory.fail(2, EIO, false);
    CHECK_THROWS_AS(log.wal->append(hard_state(2, "n2")), FileError);
  }
  directory.crash(Kept::everything);
  CHECK(reopened(directory) == "term 2 vote n2 commit 0:");
  directory.crash(Kept::nothing);
  CHECK(reopened(directory) == "term 2 vote n2 commit 0:");
}

TEST_CASE("wal: a segment whose name the last process did not live to sync is not built on before it is durable") {
  MemoryDirectory directory;
  directory.fail(7, EIO, true);
  CHECK_THROWS_AS(Log(directory), FileError);
  REQUIRE(directory.log().back() == "sync directory");
  REQUIRE(directory.list() == std::vector<std::string>{first_name});
  directory.crash(Kept::everything);
  directory.limit_space(2048);  // or the making of the spare would sync it by the way
  Log(directory).wal->append(hard_state(1, "n1"));
  directory.crash(Kept::nothing);
  CHECK(reopened(directory) == "term 1 vote n1 commit 0:");
}

TEST_CASE("wal: without room for a spare the log goes on until it needs one") {
  MemoryDirectory directory;
  Log log(directory);
  directory.limit_space(5000);
  const auto value = [](char c) { return std::string(900, c); };
  log.wal->append(entries({entry(1, 1, value('a'))}));
  CHECK(log.wal->has_spare());
  log.wal->append(entries({entry(1, 2, value('b'))}));
  CHECK_FALSE(log.wal->has_spare());
  CHECK(directory.list() == std::vector<std::string>{first_name, second_name});  // what it got was given back

  SECTION("and then waits for room: nothing is written, and the same append can be tried again") {
    log.wal->append(hard_state(2, "n1"));
    for (int i = 0; i < 3; ++i) CHECK_THROWS_AS(log.wal->append(entries({entry(1, 3, value('c'))})), WalFull);
    CHECK(directory.list() == std::vector<std::string>{first_name, second_name});
    directory.limit_space(UINT64_MAX);
    log.wal->append(entries({entry(1, 3, value('c'))}));
    CHECK(log.wal->has_spare());
    CHECK(Log(directory).recovered.entries.size() == 3);
  }
  SECTION("and has one again after an append that finds room") {
    directory.limit_space(UINT64_MAX);
    CHECK_FALSE(log.wal->has_spare());
    log.wal->append(hard_state(2, "n1"));
    CHECK(log.wal->has_spare());
  }
  SECTION("and has one again when asked to try") {
    CHECK_FALSE(log.wal->try_spare());
    directory.limit_space(UINT64_MAX);
    CHECK(log.wal->try_spare());
    log.wal->append(entries({entry(1, 3, value('c'))}));
    CHECK(reopened(directory).size() > 2700);
  }
}

TEST_CASE("wal: where no segment of the usual length has room, a short one does") {
  MemoryDirectory directory;
  Wal::Recovered recovered;
  Wal wal(directory, WalOptions{.segment_bytes = 2048, .max_segment_bytes = 1 << 20}, identity, recovered);
  std::uint64_t index = 1;
  const auto append = [&] { wal.append(entries({entry(1, index++, std::string(900, 'x'))})); };
  while (index < 100) append();  // by then a segment has far more than 2048 bytes
  directory.limit_space(directory.used());
  while (wal.try_spare()) append();
  const auto fill = [&] {
    for (;;) append();
  };
  CHECK_THROWS_AS(fill(), WalFull);
  const std::uint64_t refused = --index;
  directory.limit_space(directory.used() + 4096);
  append();
  directory.limit_space(UINT64_MAX);
  const Log again(directory);
  REQUIRE(again.recovered.entries.size() == refused);
  CHECK(again.recovered.entries.back().index.value == refused);
}

TEST_CASE("wal: a crash between any two calls to the disk loses nothing that was answered") {
  const auto states = expected_states();
  for (const Kept kept : {Kept::everything, Kept::nothing, Kept::names_only}) {
    std::size_t answered = 0;
    for (std::uint64_t n = 1; answered + 1 < states.size(); ++n) {
      CAPTURE(n);
      MemoryDirectory directory;
      directory.fail(n, EIO, true);
      answered = run_script(directory);
      directory.crash(kept);
      check_after_crash(directory, answered, states);
    }
  }
}

TEST_CASE("wal: a disk that is full at any call loses nothing that was answered") {
  const auto states = expected_states();
  MemoryDirectory undisturbed;
  run_script(undisturbed);
  for (std::uint64_t n = 1; n <= undisturbed.changes(); ++n) {
    CAPTURE(n);
    MemoryDirectory directory;
    directory.fail(n, ENOSPC, false);
    const std::size_t answered = run_script(directory);
    directory.crash(Kept::nothing);
    check_after_crash(directory, answered, states);
  }
}

TEST_CASE("wal: a crash while a torn end is cut off leaves a torn end or none") {
  const auto states = expected_states();
  MemoryDirectory directory;
  run_script(directory);
  auto image = directory.image();
  image.erase(image.rbegin()->first);  // the spare was not made before the batch was durable
  std::string& bytes = image.rbegin()->second;
  const std::size_t begin = bytes.find(std::string("WALB", 4));
  bytes.replace(begin + 512, 512, 512, '\0');
  for (std::uint64_t n = 1; n <= 8; ++n) {
    CAPTURE(n);
    directory.restore(image);
    directory.fail(n, EIO, true);
    try {
      Log log(directory);
    } catch (const FileError&) {
    }
    directory.crash(n % 2 == 0 ? Kept::everything : Kept::nothing);
    CHECK(reopened(directory) == states[states.size() - 2]);
  }
}

TEST_CASE("wal: a segment that was not finished is removed, and other files are left alone") {
  MemoryDirectory directory;
  for (const char* name : {"0000000000000001.wal.tmp", "snapshot.tmp", "1.wal"}) {
    directory.create(name)->write_at(0, "x");
  }
  Log log(directory);
  CHECK(log.recovered.fresh);
  CHECK(directory.list() == std::vector<std::string>{first_name, second_name, "1.wal", "snapshot.tmp"});
}

TEST_CASE("wal: on a real disk, with a large segment, zeros ahead and a reopening") {
  std::string folder = (std::filesystem::temp_directory_path() / "kv-wal-XXXXXX").string();
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  const std::string value(300'000, 'v');
  for (std::uint64_t round = 0; round < 3; ++round) {
    const auto directory = open_directory(folder + "/log");
    Wal::Recovered recovered;
    Wal wal(*directory, WalOptions{4 << 20}, identity, recovered);
    REQUIRE(recovered.entries.size() == round * 20);
    for (const raft::Entry& e : recovered.entries) REQUIRE((*e.command == value));
    for (std::uint64_t i = 1; i <= 20; ++i) wal.append(entries({entry(1, round * 20 + i, value)}, round * 20));
    CHECK(directory->list().size() > recovered.segments);
  }
  std::filesystem::remove_all(folder);
}
