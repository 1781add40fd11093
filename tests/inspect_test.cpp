// kvd inspect: what it says of data directories that are intact, or have more in them than a server needs.
#include <catch2/catch.hpp>
#include <cerrno>
#include <stdexcept>

#include "tests/inspect_fixture.hpp"

using namespace kv;
using namespace kv::inspect_test;
using Catch::Matchers::Contains;

TEST_CASE("inspect: an intact directory is told as it is") {
  const Data data;
  const inspect::Findings findings = agreed(data.image);
  CHECK(findings.problems.empty());
  CHECK(findings.notes.empty());
  CHECK(findings.leftovers.empty());
  CHECK(findings.path == "memory");
  CHECK(findings.identity == identity);
  CHECK(findings.hard_state == raft::HardState{raft::Term(1), raft::NodeId("n1")});
  REQUIRE(findings.members);
  CHECK(command::Command(*findings.members) == members(1));

  REQUIRE(findings.segments.size() == 5);
  CHECK(findings.segments[0].name == first_name);
  CHECK(findings.segments[0].bytes == segment_bytes);
  CHECK((findings.segments[0].first_batch == 1 && findings.segments[0].last_batch == 2));
  CHECK((findings.segments[1].first == raft::Index(3) && findings.segments[1].last == raft::Index(3)));
  CHECK(findings.segments[1].commit == raft::Index(2));
  CHECK(findings.segments[4].is_spare);
  CHECK(findings.segments[4].free_bytes == segment_bytes - sector);
  for (const inspect::Segment& one : findings.segments) CHECK(one.is_whole);

  REQUIRE(findings.snapshots.size() == 2);
  CHECK(findings.snapshots[0].name == newer);
  CHECK(findings.snapshots[0].keys == 3);
  CHECK(findings.snapshots[0].data_bytes == 2704);
  CHECK(findings.snapshots[1].keys == 2);
  CHECK(findings.snapshots[0].digest != findings.snapshots[1].digest);

  REQUIRE(findings.start);
  CHECK(findings.start->snapshot == at(4));
  CHECK((findings.start->first == raft::Index(5) && findings.start->last == raft::Index(6)));
  CHECK(findings.start->commit == raft::Index(5));
  CHECK_FALSE(findings.start->lacks_state);
}

TEST_CASE("inspect: records and keys are told when they are asked for") {
  const Data data;
  CHECK(inspected(data.image).records.empty());
  CHECK(inspected(data.image).keys.empty());
  const std::string text = text_of(inspected(data.image, everything), everything);
  CHECK_THAT(text, Contains("       -       1  VOTE for n1\n       1       1  MEMBERS n1\n"
                            "       2       1  PUT \"a\\n\", 700 bytes\n"));
  CHECK_THAT(text, Contains("       5       1  DELETE \"b\"\n"));
  CHECK_THAT(text, Contains("       4       1  SNAPSHOT\n"));
  CHECK_THAT(text, Contains("      TS  VALUE BYTES  KEY\n       2          700  \"a\\n\"\n"
                            "       3          800  \"b\"\n       4         1200  \"c\"\n"));
}

TEST_CASE("inspect: a transaction is told with all that it asks") {
  using What = command::Operation::What;
  const command::Txn txn{{{"a", 7}, {"b", 0}},
                         {{What::put, "a\n", "12345"}, {What::erase, "b", ""}},
                         {{What::get, "c", ""}, {What::put, "d", "123"}},
                         {}};
  MemoryDirectory directory;
  Log log(directory, segment_bytes);
  log.wal->append(
      hard_state(1, "n1", {entry_of(1, 1, members(1)), entry_of(1, 2, txn), entry_of(1, 3, command::Txn{})}));
  const inspect::Findings findings = inspected(directory.image(), everything);
  CHECK(findings.problems.empty());
  CHECK_THAT(text_of(findings, everything),
             Contains("       2       1  TXN if \"a\", \"b\"; then PUT \"a\\n\", DELETE \"b\"; "
                      "else GET \"c\", PUT \"d\", 8 bytes\n       3       1  TXN\n"));
}

TEST_CASE("inspect: a record that a later one replaces is marked") {
  MemoryDirectory directory;
  Log log(directory, segment_bytes);
  log.wal->append(hard_state(1, "n1", {entry_of(1, 1, members(1)), put(1, 2, "a", 1), put(1, 3, "b", 1)}));
  log.wal->append(hard_state(2, "", {no_op(2, 2)}));
  const std::string text = text_of(inspected(directory.image(), everything), everything);
  CHECK_THAT(text, Contains("PUT \"a\", 1 bytes (replaced)\n") && Contains("PUT \"b\", 1 bytes (replaced)\n"));
  CHECK_THAT(text, Contains("       -       2  VOTE for nobody\n       2       2  NOOP\n"));
  CHECK_THAT(text, Contains("MEMBERS n1\n"));
}

TEST_CASE(
    "inspect: segments that are missing, emptied, cut short or exchanged are told, and all others with them") {
  const Data data;
  Image image = data.image;
  std::vector<std::string> expected;
  SECTION("one in the middle is missing") {
    image.erase(third_name);
    expected = {third_name + " at 0: the file is missing, though there is " + segment(4)};
  }
  SECTION("one in the middle has lost its batches") {
    image[second_name].replace(sector, 3 * sector, 3 * sector, '\0');
    expected = {second_name + " at 512: the segment is empty, though there is one after it"};
  }
  SECTION("one in the middle is torn") {
    erase_sector(image[second_name], 2 * sector);
    expected = {second_name + " at 512: the segment is empty, though there is one after it"};
  }
  SECTION("two are torn") {
    erase_sector(image[second_name], 2 * sector);
    erase_sector(image[third_name], 3 * sector);
    expected = {second_name + " at 512: the segment is empty, though there is one after it",
                third_name + " at 512: the segment is empty, though there is one after it"};
  }
  SECTION("the first has lost its batches") {
    image[first_name].replace(sector, 3 * sector, 3 * sector, '\0');
    expected = {second_name + " at 512: batch 3 is here where batch 1 should be"};
  }
  SECTION("the first is torn") {
    erase_sector(image[first_name], 3 * sector);
    expected = {first_name + " at 1024: a batch is incomplete, though something was written after it"};
  }
  SECTION("one is shorter than it was made, another longer") {
    image[second_name].resize(3 * sector);
    image[third_name].resize(5 * sector);
    expected = {second_name + " at 1536: the file is 1536 bytes long and should be 2048",
                third_name + " at 2048: the file is 2560 bytes long and should be 2048"};
  }
  SECTION("two are exchanged") {
    std::swap(image[second_name], image[third_name]);
    expected = {second_name + " at 0: this is segment 3 under another name",
                third_name + " at 0: this is segment 2 under another name"};
  }
  SECTION("a batch is a copy of another segment's") {
    image[third_name].replace(sector, 3 * sector, data.image.at(second_name), sector, 3 * sector);
    expected = {third_name + " at 512: neither a batch nor free space begins here"};
  }
  SECTION("two headers are damaged") {
    erase_sector(image[second_name], 0);
    flip(image, segment(4), 100);
    expected = {second_name + " at 0: this is not the beginning of a log segment",
                segment(4) + " at 0: the checksum of the segment's header is wrong"};
  }
  SECTION("one is another directory's") {
    image[third_name].replace(0, sector, wal::encode_segment_header({3, segment_bytes, other_identity}));
    expected = {
        third_name + " at 0: this is of the data directory " + other_identity + ", the others are of " + identity,
        third_name + " at 512: neither a batch nor free space begins here"};
  }
  SECTION("the spare is not empty") {
    flip(image, segment(5), 1000);
    expected = {segment(5) + " at 512: neither a batch nor free space begins here"};
  }
  const inspect::Findings findings = agreed(image);
  CHECK(problems_of(findings) == expected);
  CHECK(findings.segments.size() == image.size() - 2);
  CHECK(findings.snapshots.size() == 2);
  CHECK(findings.hard_state.term == raft::Term(1));
  CHECK(findings.members);
  const std::string text = text_of(findings);
  CHECK_THAT(text, Contains("What to do: ") && Contains("A server refuses to start here."));
}

TEST_CASE("inspect: what is left over is named") {
  Image image = Data().image;
  image["0000000000000007.wal.tmp"] = "abc";
  image["saving.snap.tmp"] = "";
  image["0000000000000002-0000000000000001.snap.damaged"] = "x";
  image["notes\n.txt"] = "x";
  const inspect::Findings findings = agreed(image);
  CHECK(findings.problems.empty());
  REQUIRE(findings.leftovers.size() == 4);
  const std::string text = text_of(findings);
  CHECK_THAT(text,
             Contains("0000000000000007.wal.tmp                         3 B  a segment that was not finished"));
  CHECK_THAT(text, Contains("a snapshot that was not finished: the next start removes it"));
  CHECK_THAT(text, Contains("set aside") && Contains("notes\\n.txt"));
}

TEST_CASE("inspect: an entry of a newer format is told") {
  MemoryDirectory directory;
  Log log(directory, segment_bytes);
  log.wal->append(hard_state(1, "n1", {entry_of(1, 1, members(1)), entry(1, 2, "\x63new")}, 2));
  const inspect::Findings findings = inspected(directory.image(), everything);
  REQUIRE(findings.problems.size() == 1);
  CHECK_THAT(findings.problems[0].what, Contains("entry 2 is of a format that this kvd does not know"));
  CHECK_THAT(findings.problems[0].remedy, Contains("newer kvd"));
  CHECK_THAT(text_of(findings, everything), Contains("UNKNOWN"));
}

TEST_CASE("inspect: a directory without a log or a snapshot is none") {
  MemoryDirectory directory;
  CHECK_FALSE(inspect::is_data_directory(directory));
  directory.restore({{"a.txt", ""}, {"0000000000000001.wal.tmp", ""}});
  CHECK_FALSE(inspect::is_data_directory(directory));
  directory.restore({{first_name, ""}});
  CHECK(inspect::is_data_directory(directory));
}

namespace {

// As a server leaves it that writes while it is looked at: the first look fits nowhere.
class BusyDirectory final : public Directory {
 public:
  BusyDirectory(const Image& early, const Image& late) {
    early_.restore(early);
    late_.restore(late);
  }

  std::string path() const override { return "busy"; }
  std::vector<std::string> list() override { return late_.list(); }
  std::unique_ptr<File> open(const std::string& name) override {
    if (name == unreadable) throw FileError("open", name, EACCES);
    if (name == first_name) ++opened_;
    return opened_ <= 2 ? early_.open(name) : late_.open(name);  // by the reader of the log, and by recovery
  }
  std::unique_ptr<File> create(const std::string&) override { throw std::logic_error("changed"); }
  void rename(const std::string&, const std::string&) override { throw std::logic_error("changed"); }
  void remove(const std::string&) override { throw std::logic_error("changed"); }
  void sync() override { throw std::logic_error("changed"); }

  std::string unreadable;

 private:
  MemoryDirectory early_;
  MemoryDirectory late_;
  int opened_ = 0;
};

}  // namespace

TEST_CASE("inspect: what looks damaged where a server is writing is looked at again") {
  const Image image = Data().image;
  Image damaged = image;
  flip(damaged, second_name, 600);
  inspect::Options options;
  BusyDirectory idle(damaged, image);
  CHECK(inspect::look_at(idle, options).problems.size() == 1);

  options.is_in_use = true;
  BusyDirectory busy(damaged, image);
  CHECK(inspect::look_at(busy, options).problems.empty());
  BusyDirectory really(damaged, damaged);
  const inspect::Findings findings = inspect::look_at(really, options);
  CHECK(findings.problems.size() == 1);
  REQUIRE(findings.notes.size() == 1);
  CHECK_THAT(findings.notes[0], Contains("a server is writing here"));
}

TEST_CASE("inspect: a file that cannot be read is told once, and the others are read") {
  const Image image = Data().image;
  for (const std::string& name : {second_name, newer}) {
    BusyDirectory directory(image, image);
    directory.unreadable = name;
    const inspect::Findings findings = inspect::look_at(directory, {});
    REQUIRE(problems_of(findings) ==
            std::vector<std::string>{name + " at 0: cannot open " + name + ": Permission denied"});
    CHECK_THAT(findings.problems[0].remedy, Contains("read"));
    CHECK_FALSE(findings.start);
    CHECK(findings.segments.size() == 5);
    CHECK(findings.segments[3].last == raft::Index(6));
    CHECK(findings.snapshots[1].keys == 2);
  }
}
