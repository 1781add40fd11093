// The bytes of a snapshot: what is written comes back, in pieces of any size, and no damage goes unseen.
#include "common/snapshot_format.hpp"

#include <xxhash.h>

#include <catch2/catch.hpp>
#include <limits>

#include "common/snapshot_members.hpp"
#include "server/command.hpp"

using namespace kv;
using namespace kv::snapshot;
using Catch::Matchers::Contains;

namespace {

constexpr std::size_t end_bytes = 56;

struct Content {
  Header header{7, 3};
  std::vector<std::string> blocks{"first block", "2", std::string(300, 'x')};
  Totals totals{1, 2, 0xfedcba9876543210};
};

std::string write(const Content& content) {
  Writer writer(content.header);
  std::string out = writer.begin();
  for (const std::string& block : content.blocks) out += writer.begin_block(block) + block;
  writer.append_end(content.totals, out);
  return out;
}

// What a reader makes of the bytes, fed in pieces: a text that shows all of it.
std::string read(std::string_view bytes, std::size_t piece = std::string::npos) {
  std::string seen;
  Reader reader;
  while (true) {
    reader.feed(bytes.substr(0, piece));
    bytes.remove_prefix(std::min(piece, bytes.size()));
    Reader::Next next = reader.next();
    for (; !std::holds_alternative<Reader::NeedMore>(next); next = reader.next()) {
      if (const auto* header = std::get_if<Header>(&next)) {
        seen += "header " + std::to_string(header->index) + " " + std::to_string(header->term);
      } else if (const auto* block = std::get_if<Reader::Block>(&next)) {
        seen += ", block " + std::string(block->records);
      } else if (const auto* end = std::get_if<Reader::End>(&next)) {
        const Totals& totals = end->totals;
        seen += ", end " + std::to_string(totals.keys) + " " + std::to_string(totals.bytes) + " " +
                std::to_string(totals.digest);
      } else {
        REQUIRE(reader.finish());
        return seen + ", PROBLEM at " + std::to_string(reader.offset()) + ": " + std::get<Problem>(next).what;
      }
    }
    if (bytes.empty()) break;
  }
  if (const auto problem = reader.finish()) seen += ", PROBLEM at the end: " + problem->what;
  return seen;
}

const std::string whole =
    "header 7 3, block first block, block 2, block " + std::string(300, 'x') + ", end 1 2 18364758544493064720";

void put(std::string& out, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}
std::string number(std::uint64_t value, std::size_t bytes) {
  std::string out;
  put(out, value, bytes);
  return out;
}
std::string string(const std::string& text) {
  return number(text.size(), 4) + text;
}
std::uint64_t sum(std::string_view bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

// A header with every field of the caller's choice, and a valid checksum.
std::string raw_header(std::uint32_t version, std::uint32_t reserved = 0, char unused = 0) {
  std::string out = "kvdsnap\n" + number(version, 4) + number(reserved, 4) + number(7, 8) + number(3, 8);
  out.resize(55, '\0');
  out.push_back(unused);
  return out + number(sum(out, 0), 8);
}

// The parts of the file of `content`: header, blocks, end.
std::vector<std::string> parts_of(const Content& content) {
  std::string rest = write(content);
  std::vector<std::string> parts{rest.substr(0, header_bytes)};
  rest.erase(0, header_bytes);
  for (const std::string& block : content.blocks) {
    parts.push_back(rest.substr(0, 16 + block.size()));
    rest.erase(0, 16 + block.size());
  }
  parts.push_back(rest);
  return parts;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string out;
  for (const std::string& part : parts) out += part;
  return out;
}

bool is_whole(const std::string& seen) {
  return seen.find("PROBLEM") == std::string::npos;
}

// The first record, and the problem behind it.
Problem problem_of(RecordReader& reader) {
  RecordReader::Next next = reader.next();
  REQUIRE(std::holds_alternative<Problem>(next));
  CHECK(std::get<Problem>(reader.next()).what == std::get<Problem>(next).what);
  return std::get<Problem>(next);
}
std::string problem_in(const std::string& records) {
  RecordReader reader(records);
  return problem_of(reader).what;
}

}  // namespace

TEST_CASE("snapshot format: what was written is read, in pieces of any size") {
  const std::string bytes = write({});
  CHECK(bytes.size() == header_bytes + 3 * 16 + 11 + 1 + 300 + end_bytes);
  for (const std::size_t piece : {std::size_t{1}, std::size_t{7}, std::size_t{64}, std::size_t{4096}}) {
    CHECK(read(bytes, piece) == whole);
  }
}

TEST_CASE("snapshot format: a snapshot without blocks, and one with the longest block") {
  CHECK(read(write({{1, 1}, {}, {}})) == "header 1 1, end 0 0 0");
  const Content long_block{{1, 1}, {std::string(max_block_bytes, 'b'), "next"}, {}};
  const std::string expected = "header 1 1, block " + long_block.blocks[0] + ", block next, end 0 0 0";
  CHECK(read(write(long_block), 4096) == expected);
  CHECK(read(write(long_block)) == expected);
}

TEST_CASE("snapshot format: the bytes are those of the document") {
  const std::string header = raw_header(1);
  const std::uint64_t salt = sum(header.substr(0, 56), 0);
  const std::string records = "records";
  const std::string block =
      number(7, 4) + number(0, 4) + number(sum(records, sum(number(1, 8) + number(7, 8), salt)), 8) + records;
  const std::string content = number(1, 8) + number(10, 8) + number(20, 8) + number(30, 8);
  std::string end = number(0, 8) + number(sum(content, sum(number(2, 8) + number(0, 8), salt)), 8) + content;
  end += number(sum(end, salt), 8);
  CHECK(write({{7, 3}, {records}, {10, 20, 30}}) == header + block + end);
}

TEST_CASE("snapshot format: every flipped bit is found") {
  const std::string good = write({});
  std::string bytes = good;
  for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ 1 << bit % 8);
    if (is_whole(read(bytes)) || is_whole(read(bytes, 7))) FAIL("bit " << bit);
    bytes[bit / 8] = good[bit / 8];
  }
}

TEST_CASE("snapshot format: every truncation is found") {
  const std::string good = write({});
  for (std::size_t length = 0; length < good.size(); ++length) {
    const std::string seen = read(good.substr(0, length), 13);
    if (is_whole(seen)) FAIL("length " << length);
    if (length < header_bytes) {
      CHECK(seen == ", PROBLEM at the end: the file is too short for a snapshot");
    } else {
      CHECK_THAT(seen, Contains("PROBLEM at the end: the snapshot's end is missing"));
    }
  }
}

TEST_CASE("snapshot format: bytes behind the end are found, whenever they come") {
  const std::string good = write({});
  for (const std::string& more : {std::string(1, '\0'), std::string("x"), good}) {
    for (const std::size_t piece : {std::size_t{1}, good.size(), std::string::npos}) {
      CHECK(read(good + more, piece) ==
            whole + ", PROBLEM at " + std::to_string(good.size()) + ": there are bytes behind the snapshot's end");
    }
  }
}

TEST_CASE("snapshot format: blocks are where they belong") {
  const Content content{{7, 3}, {"aaaa", "bbbb", "cccc"}, {}};
  const std::vector<std::string> good = parts_of(content);
  REQUIRE(is_whole(read(joined(good))));
  for (std::size_t i = 1; i <= 3; ++i) {
    std::vector<std::string> parts = good;
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(i));
    CHECK_FALSE(is_whole(read(joined(parts))));  // missing
    parts = good;
    parts.insert(parts.begin() + static_cast<std::ptrdiff_t>(i), good[i]);
    CHECK_FALSE(is_whole(read(joined(parts))));  // twice
    parts = good;
    std::swap(parts[i], parts[i % 3 + 1]);
    CHECK_FALSE(is_whole(read(joined(parts))));  // in another's place
  }
}

TEST_CASE("snapshot format: a part of another position's snapshot is none of this one, though it says the same") {
  const std::vector<std::string> good = parts_of({});
  for (const Header& header : {Header{8, 3}, Header{7, 4}}) {
    Content other;
    other.header = header;
    const std::vector<std::string> foreign = parts_of(other);
    for (std::size_t i = 0; i < good.size(); ++i) {
      std::vector<std::string> parts = good;
      parts[i] = foreign[i];
      CHECK_FALSE(is_whole(read(joined(parts))));
    }
  }
}

TEST_CASE("snapshot format: a length that is too long is refused at once, and nothing is made ready for it") {
  const std::string header = raw_header(1);
  for (const std::uint64_t length : {std::uint64_t{max_block_bytes + 1}, std::uint64_t{0xffffffff}}) {
    CHECK(read(header + number(length, 4) + std::string(12, '\0')) ==
          "header 7 3, PROBLEM at 64: neither a block nor the snapshot's end begins here");
  }
}

TEST_CASE("snapshot format: a problem says what it is, and where") {
  CHECK_THAT(read(std::string(64, 'x')), Contains("PROBLEM at 0: this is not the beginning of a snapshot"));
  CHECK_THAT(read(raw_header(2)), Contains("written by a newer kvd: its format version is 2"));
  CHECK_THAT(read(raw_header(0)), Contains("written by another kvd: its format version is 0"));
  CHECK_THAT(read(raw_header(1, 1)), Contains("makes no sense"));
  CHECK_THAT(read(raw_header(1, 0, 1)), Contains("makes no sense"));
  std::string bytes = write({});
  bytes[20] = 'x';
  CHECK_THAT(read(bytes), Contains("PROBLEM at 0: the checksum of the snapshot's header is wrong"));
  bytes = write({});
  bytes[64 + 27 + 16] = 'x';
  CHECK_THAT(read(bytes), Contains("PROBLEM at 91: the checksum of block 2 is wrong"));
  bytes = write({});
  bytes.back() = static_cast<char>(bytes.back() ^ 1);
  CHECK_THAT(read(bytes), Contains("PROBLEM at 424: the checksum of the snapshot's end is wrong"));
}

TEST_CASE("snapshot format: after a problem there is nothing but that problem") {
  Reader reader;
  reader.feed(std::string(64, 'x'));
  REQUIRE(std::holds_alternative<Problem>(reader.next()));
  reader.feed(write({}));
  CHECK(std::holds_alternative<Problem>(reader.next()));
  CHECK(reader.offset() == 0);
  CHECK(reader.finish());
}

TEST_CASE("snapshot format: the offset is that of what comes next") {
  Reader reader;
  reader.feed(write({{1, 1}, {"abc"}, {}}));
  for (const std::uint64_t offset : {0, 64, 64 + 19, 64 + 19 + 56}) {
    CHECK(reader.offset() == offset);
    reader.next();
  }
  CHECK_FALSE(reader.finish());
}

TEST_CASE("snapshot format: records come back as they were") {
  const std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
  const State state{"members", 17};
  const Item item{most, std::string_view("k\0", 2), ""};
  const Session session{"id",
                        9,
                        2,
                        {{3, Kind::written, 5},
                         {4, Kind::deleted, 6},
                         {5, Kind::deleted_absent, 7},
                         {6, Kind::conflict, 0},
                         {most, Kind::session_expired, 0}}};
  std::string records;
  append_record(records, state);
  const std::size_t before = records.size();
  append_record(records, item);
  CHECK(records.size() - before == item.key.size() + item.value.size() + item_overhead_bytes);
  append_record(records, session);
  append_record(records, Session{});

  RecordReader reader(records);
  CHECK(std::get<State>(reader.next()) == state);
  CHECK(std::get<Item>(reader.next()) == item);
  CHECK(std::get<Session>(reader.next()) == session);
  CHECK(std::get<Session>(reader.next()) == Session{});
  CHECK(std::holds_alternative<RecordReader::End>(reader.next()));
  CHECK(std::holds_alternative<RecordReader::End>(reader.next()));
}

TEST_CASE("snapshot format: the bytes of the records are those of the document") {
  std::string records;
  append_record(records, State{"m", 1});
  append_record(records, Item{2, "key", "value"});
  append_record(records, Session{"id", 3, 4, {{5, Kind::conflict, 6}, {6, Kind::txn, 7, SharedBytes("results")}}});
  append_record(records, DeletionsFloor{8});
  append_record(records, Deletion{9, "gone"});
  CHECK(records == "\1" + string("m") + number(1, 8) + "\2" + number(2, 8) + string("key") + string("value") +
                       "\3" + string("id") + number(3, 8) + number(4, 8) + number(2, 4) + number(5, 8) + "\4" +
                       number(6, 8) + number(6, 8) + "\6" + number(7, 8) + string("results") + "\4" + number(8, 8) +
                       "\5" + number(9, 8) + string("gone"));
  const std::uint64_t lengths = sum(number(3, 8) + number(5, 8) + number(2, 8), 0);
  CHECK(item_digest("key", "value", 2) == sum("value", sum("key", lengths)));
}

TEST_CASE("snapshot format: a type or kind that is not known was written by a newer kvd") {
  CHECK_THAT(problem_in(std::string(40, '\6')), Contains("unknown type 6: written by a newer kvd"));
  CHECK_THAT(problem_in(std::string(1, '\0')), Contains("unknown type 0"));
  for (const std::uint64_t kind : {0, 8, 255}) {
    const std::string session = "\3" + string("id") + number(1, 8) + number(1, 8) + number(1, 4);
    CHECK_THAT(problem_in(session + number(1, 8) + number(kind, 1) + number(1, 8)),
               Contains("unknown kind " + std::to_string(kind) + ": written by a newer kvd"));
  }
}

TEST_CASE("snapshot format: a record that is cut is none, whatever it says is to come") {
  std::string session;
  append_record(session, Session{"id", 1, 0, {{1, Kind::written, 1}, {2, Kind::written, 2}}});
  std::string item;
  append_record(item, Item{1, "k", "value"});
  std::string state;
  append_record(state, State{"members", 1});
  for (const std::string& record : {session, item, state}) {
    for (std::size_t length = 1; length < record.size(); ++length) {
      CHECK_THAT(problem_in(record.substr(0, length)), Contains("longer than its block"));
    }
  }
  CHECK_THAT(problem_in("\2" + number(1, 8) + number(0xffffffff, 4) + "k"), Contains("longer than its block"));
  CHECK_THAT(problem_in("\3" + string("id") + number(1, 8) + number(1, 8) + number(0xffffffff, 4)),
             Contains("longer than its block"));
}

TEST_CASE("snapshot format: an item's digest depends on each of its parts, and on where the key ends") {
  const std::uint64_t digest = item_digest("key", "value", 1);
  CHECK(digest == item_digest("key", "value", 1));
  for (const std::uint64_t other :
       {item_digest("kez", "value", 1), item_digest("key", "valuf", 1), item_digest("key", "value", 2),
        item_digest("keyv", "alue", 1), item_digest("", "keyvalue", 1), item_digest("value", "key", 1)}) {
    CHECK(digest != other);
  }
}

TEST_CASE("snapshot: the members of a state are read as the servers write them") {
  const command::Members members{"a cluster", {{"n1", "i1", "p1", "c1"}, {"n2", "", "p2", ""}}};
  const std::string bytes = command::encode(members);
  const auto read = decode_members(bytes);
  REQUIRE(read);
  CHECK(*read == Members{"a cluster", {{"n1", "i1", "p1", "c1"}, {"n2", "", "p2", ""}}});
  CHECK(decode_members(command::encode(command::Members{"c", {}}))->members.empty());
  for (std::size_t size = 0; size < bytes.size(); ++size) CHECK_FALSE(decode_members(bytes.substr(0, size)));
  CHECK_FALSE(decode_members(bytes + '\0'));
  CHECK_FALSE(decode_members(command::encode(command::Put{"key", "value", {}, {}})));
  CHECK_FALSE(decode_members("\x02" + bytes.substr(1)));
  std::string twice = bytes;
  twice[twice.find("n2") + 1] = '1';
  CHECK_FALSE(decode_members(twice));
  CHECK_FALSE(decode_members(bytes.substr(0, 15) + std::string("\xff\xff\xff\xff", 4)));
}
