// kvd inspect on data directories that are damaged in every way that the log's own tests know, held against what
// recovery does with them.
#include <catch2/catch.hpp>
#include <random>

#include "tests/inspect_fixture.hpp"

using namespace kv;
using namespace kv::inspect_test;
using Catch::Matchers::Contains;

TEST_CASE("inspect: a flipped bit in any byte is found, in the place that recovery names") {
  const Data data;
  std::mt19937_64 random(1);
  for (const auto& [name, bytes] : data.image) {
    for (std::size_t offset = 0; offset < bytes.size(); ++offset) {
      CAPTURE(name, offset);
      Image damaged = data.image;
      char& byte = damaged[name][offset];
      byte = static_cast<char>(byte ^ (1 << random() % 8));
      const inspect::Findings findings = agreed(damaged);
      REQUIRE_FALSE(findings.problems.empty());
      REQUIRE(findings.problems.front().file == name);
      REQUIRE(findings.segments.size() == 5);
      REQUIRE(findings.snapshots.size() == 2);
    }
  }
}

TEST_CASE("inspect: a torn end is told, and is no error") {
  const Data data;
  Image image = data.image;
  erase_sector(image[segment(4)], 2 * sector);
  const inspect::Findings findings = agreed(image);
  CHECK(findings.problems.empty());
  REQUIRE(findings.notes.size() == 1);
  CHECK_THAT(findings.notes[0], Contains(segment(4) + " at offset 1024: ") && Contains("A start cuts them off"));
  REQUIRE(findings.start);
  CHECK(findings.start->last == raft::Index(5));
}

TEST_CASE("inspect: behind a damaged batch the next whole ones are read") {
  MemoryDirectory directory;
  Log log(directory, 8192);
  log.wal->append(hard_state(1, "n1", {entry_of(1, 1, members(1))}));
  for (std::uint64_t i = 2; i <= 8; ++i) log.wal->append(entries({put(1, i, "k", 10)}, i - 1));
  Image image = directory.image();
  flip(image, first_name, 3 * sector + 50);
  flip(image, first_name, 6 * sector + 60);
  const inspect::Findings findings = agreed(image);
  REQUIRE(findings.problems.size() == 2);
  CHECK_THAT(problems_of(findings)[0], Contains(first_name + " at 1536: a batch begins here that is damaged") &&
                                           Contains("(the next whole batch is number 4, at offset 2048)"));
  CHECK_THAT(problems_of(findings)[1], Contains(first_name + " at 3072: a batch begins here that is damaged") &&
                                           Contains("(the next whole batch is number 7, at offset 3584)"));
  CHECK(findings.segments[0].batches == 6);
  CHECK(findings.segments[0].last == raft::Index(8));
  CHECK(findings.segments[0].commit == raft::Index(7));
  CHECK(findings.segments[0].free_bytes == 8192 - 9 * sector);
  CHECK_FALSE(findings.segments[0].is_whole);
  CHECK(findings.segments[1].is_spare);
}

TEST_CASE("inspect: it agrees with recovery on any mixture of damage") {
  const Data datas[] = {Data(1), Data(3), Data(1, raft::Index(3)), Data(3, raft::Index(3))};
  std::mt19937_64 random(2);
  for (int round = 0; round < 3000; ++round) {
    CAPTURE(round);
    Image image = datas[round % 4].image;
    for (auto changes = 1 + random() % 3; changes > 0 && image.size() > 1; --changes) {
      auto file = std::next(image.begin(), static_cast<std::ptrdiff_t>(random() % image.size()));
      const std::size_t size = file->second.size();
      const auto what = random() % 6;
      if (what == 0) {
        image.erase(file);
      } else if (what == 1) {
        file->second.resize(random() % (size + sector));
      } else if (what <= 3 && size >= sector) {
        erase_sector(file->second, random() % (size / sector) * sector);
      } else if (size > 0) {
        file->second[random() % size] = static_cast<char>(random());
      }
    }
    MemoryDirectory directory;
    directory.restore(image);
    if (inspect::is_data_directory(directory)) agreed(image);
  }
}

TEST_CASE("inspect: damaged and missing snapshots are judged together with the log") {
  SECTION("all of the log is there: nothing is lost") {
    Image image = Data().image;
    flip(image, newer, 100);
    inspect::Findings findings = agreed(image);
    REQUIRE(findings.problems.size() == 1);
    CHECK(findings.problems[0].file == newer);
    CHECK_THAT(findings.problems[0].remedy,
               Contains("sets it aside as " + newer + ".damaged, and begins with an older"));
    CHECK(findings.snapshots[0].damage);
    CHECK(findings.snapshots[1].keys == 2);
    CHECK(findings.start->snapshot == at(3));

    flip(image, older, 100);
    findings = agreed(image);
    CHECK(findings.problems.size() == 2);
    CHECK_THAT(findings.problems[1].remedy, Contains("has all in the log"));
    CHECK(findings.start->snapshot == raft::Position{});
  }
  SECTION("the older one alone is damaged") {
    Image image = Data().image;
    flip(image, older, 100);
    const inspect::Findings findings = agreed(image);
    REQUIRE(findings.problems.size() == 1);
    CHECK_THAT(findings.problems[0].remedy, Contains("Nothing has to be done: a newer one is whole"));
  }
  SECTION("one bears another's name") {
    Image image = Data().image;
    image[newer] = image[older];
    CHECK(problems_of(agreed(image)) ==
          std::vector<std::string>{newer + " at 0: this is the snapshot of another position under this name"});
  }
  SECTION("a single server that lacks the beginning of the log and the snapshots does not start") {
    Image image = Data(1, raft::Index(3)).image;
    REQUIRE_FALSE(image.contains(first_name));
    image.erase(newer);
    image.erase(older);
    const inspect::Findings findings = agreed(image);
    CHECK_FALSE(findings.start);
    REQUIRE(findings.problems.size() == 1);
    CHECK_THAT(findings.problems[0].what, Contains("there is no snapshot with what is before it"));
  }
  SECTION("one of three asks the leader") {
    Image image = Data(3, raft::Index(3)).image;
    REQUIRE_FALSE(image.contains(first_name));
    image.erase(newer);
    image.erase(older);
    inspect::Findings findings = agreed(image);
    REQUIRE(findings.start);
    CHECK(findings.start->lacks_state);
    CHECK(problems_of(findings) ==
          std::vector<std::string>{"no snapshot is here that holds what is before the log"});

    image = Data(3, raft::Index(3)).image;
    flip(image, newer, 100);
    image.erase(older);
    findings = agreed(image);
    REQUIRE(findings.problems.size() == 1);
    CHECK_THAT(findings.problems[0].remedy, Contains("asks the leader for the state"));
  }
  SECTION("damage in the log does not hide that a snapshot is missing") {
    Image image = Data(1, raft::Index(3)).image;
    image.erase(newer);
    image.erase(older);
    flip(image, image.rbegin()->first, 600);
    const std::vector<std::string> problems = problems_of(agreed(image));
    REQUIRE(problems.size() == 2);
    CHECK_THAT(problems[0], Contains("neither a batch nor free space"));
    CHECK_THAT(problems[1], Contains("and no snapshot is whole that holds what is before it"));
  }
  SECTION("snapshots without a log") {
    const Image all = Data().image;
    const inspect::Findings findings = agreed({{newer, all.at(newer)}, {older, all.at(older)}});
    CHECK_FALSE(findings.start);
    CHECK(problems_of(findings) ==
          std::vector<std::string>{"there are snapshots, but no log: its files (*.wal) are missing"});
    CHECK(findings.snapshots[0].keys == 3);
    CHECK(findings.members);
  }
}

TEST_CASE("inspect: the first segment may be missing only where a snapshot has taken its place") {
  MemoryDirectory directory;
  Log log(directory, segment_bytes);
  for (std::uint64_t i = 1; i <= 3; ++i) log.wal->append(entries({put(1, i, "k", 1000)}));
  Image image = directory.image();
  image.erase(first_name);
  CHECK(problems_of(agreed(image)) ==
        std::vector<std::string>{first_name + " at 0: the file is missing, though there is " + second_name});
  image = Data().image;
  image.erase(first_name);
  CHECK(agreed(image).problems.empty());
}
