// The write-ahead log on disks that lose, change and mix up what they were given: a torn end, which is cut off,
// is told from damage, which is refused.
#include <xxhash.h>

#include <catch2/catch.hpp>
#include <random>

#include "server/wal.hpp"
#include "server/wal_format.hpp"
#include "tests/wal_fixture.hpp"

using namespace kv;
using namespace kv::wal_test;
using Catch::Matchers::Contains;
using Image = MemoryDirectory::Image;

namespace {

constexpr std::size_t sector = wal::sector_bytes;
constexpr std::size_t batch_header = 40;
constexpr std::uint64_t segment_bytes = 4096;

// A log of three batches, of 1, 1 and `sectors` sectors, in one segment of eight sectors; and a spare. The last
// one begins at last_batch.
constexpr std::size_t last_batch = 3 * sector;

Image small_log(std::size_t sectors) {
  MemoryDirectory directory;
  Log log(directory, segment_bytes);
  log.wal->append(hard_state(1, "n1", {no_op(1, 1)}));
  log.wal->append(entries({entry(1, 2, "abc")}, 1));
  const std::size_t room = sector - batch_header - 21 + (sectors - 1) * (sector - 1);
  // A value that ends 100 bytes before the batch does, and has zeros in it.
  std::string value(room - 100, 'v');
  value.replace(value.size() / 2, 20, 20, '\0');
  log.wal->append(entries({entry(2, 2, value)}, 1));
  return directory.image();
}

const std::string before_last = "term 1 vote n1 commit 1: 1/1 no-op, 2/1 'abc',";

bool is_zero(std::string_view bytes) {
  return bytes.find_first_not_of('\0') == std::string_view::npos;
}

void erase_sector(std::string& bytes, std::size_t at) {
  bytes.replace(at, sector, sector, '\0');
}

void put(std::string& out, std::uint64_t value, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

std::uint64_t sum(std::string_view bytes, std::uint64_t salt) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), salt);
}

// A segment header with every field of the caller's choice, and a valid checksum.
std::string raw_header(std::uint32_t version, std::uint64_t number, std::uint64_t bytes) {
  std::string out = "kvdwal\r\n";
  put(out, version, 4);
  put(out, 0, 4);
  put(out, number, 8);
  put(out, bytes, 8);
  out += identity;
  out.resize(sector - 8);
  put(out, sum(out, 0), 8);
  return out;
}

// A batch of one sector with any records and valid checksums.
std::string raw_batch(std::uint64_t number, std::uint64_t body_bytes, const std::string& body, std::uint64_t salt) {
  std::string rest = body;
  rest.resize(sector - batch_header);
  std::string out = "WALB";
  put(out, body_bytes, 4);
  put(out, number, 8);
  put(out, 0, 8);
  put(out, sum(rest, salt), 8);
  put(out, sum(out, salt), 8);
  return out + rest;
}

// A log of one segment that holds these batches.
struct Forged {
  std::string bytes = wal::encode_segment_header({1, segment_bytes, identity});
  std::uint64_t salt = wal::salt_of(bytes);

  Forged& add(std::uint64_t number, std::uint64_t commit, const raft::Write& write) {
    std::string batch;
    wal::encode_batch(number, raft::Index(commit), write, salt, batch);
    bytes += batch;
    return *this;
  }

  std::string refused() {
    MemoryDirectory directory;
    bytes.resize(segment_bytes);
    directory.restore({{first_name, bytes}});
    return refusal(directory);
  }
};

}  // namespace

TEST_CASE("wal damage: any whole sectors of the last batch that are missing are a torn end, and cut off for good") {
  for (std::size_t sectors = 1; sectors <= 5; ++sectors) {
    const Image image = small_log(sectors);
    MemoryDirectory directory;
    directory.restore(image);
    const std::string whole = reopened(directory, segment_bytes);
    for (unsigned lost = 1; lost < 1u << sectors; ++lost) {
      CAPTURE(sectors, lost);
      Image damaged = image;
      std::size_t kept_end = last_batch;
      for (std::size_t i = 0; i < sectors; ++i) {
        if (lost >> i & 1) {
          erase_sector(damaged[first_name], last_batch + i * sector);
        } else {
          kept_end = last_batch + (i + 1) * sector;
        }
      }
      directory.restore(damaged);
      Log log(directory, segment_bytes);
      REQUIRE(describe(log.recovered) == before_last);
      REQUIRE(log.recovered.torn_bytes == kept_end - last_batch);
      REQUIRE((log.recovered.torn_where == first_name + " at offset 1536") == (kept_end > last_batch));
      directory.crash(MemoryDirectory::Kept::nothing);
      REQUIRE(is_zero(directory.image()[first_name].substr(last_batch)));
      REQUIRE(Log(directory, segment_bytes).recovered.torn_bytes == 0);
      log.wal->append(entries({entry(3, 2, "new")}, 2));
      REQUIRE(reopened(directory, segment_bytes) == "term 1 vote n1 commit 2: 1/1 no-op, 2/3 'new',");
    }
    directory.restore(image);
    REQUIRE(reopened(directory, segment_bytes) == whole);
  }
}

// A sector is written wholly or not at all. One that is half zero is damage, unless the batch is torn anyway
// and its header is whole.
TEST_CASE("wal damage: the last batch cut at every byte") {
  for (const std::size_t sectors : {1, 3}) {
    const Image image = small_log(sectors);
    const std::size_t end = last_batch + sectors * sector;
    std::size_t counts[3] = {};
    for (std::size_t at = last_batch; at < end; ++at) {
      CAPTURE(sectors, at);
      Image damaged = image;
      std::string& bytes = damaged[first_name];
      bytes.replace(at, end - at, end - at, '\0');

      const bool unchanged = damaged == image;
      const bool header_lost = is_zero(std::string_view(bytes).substr(last_batch, sector));
      const bool header_changed =
          bytes.compare(last_batch, batch_header, image.at(first_name), last_batch, batch_header) != 0;
      bool sector_lost = false;
      for (std::size_t i = last_batch; i < end; i += sector) {
        sector_lost = sector_lost || is_zero(std::string_view(bytes).substr(i, sector));
      }
      MemoryDirectory directory;
      directory.restore(damaged);
      if (unchanged) {
        ++counts[0];
        REQUIRE(Log(directory, segment_bytes).recovered.batches == 3);
      } else if (header_lost || (!header_changed && sector_lost)) {
        ++counts[1];
        REQUIRE(reopened(directory, segment_bytes) == before_last);
      } else {
        ++counts[2];
        REQUIRE_THAT(refusal(directory), Contains(first_name + " at offset 1536: "));
      }
    }
    CHECK(counts[0] == 100);  // the padding
    CHECK(counts[1] == (sectors == 1 ? 1 : 1 + (sector - batch_header) + 1 + (sector - 1) + 1));
    CHECK(counts[2] == sectors * sector - counts[0] - counts[1]);
  }
}

TEST_CASE("wal damage: every flipped bit is found: in headers, batches, padding, free space and the spare") {
  const Image image = small_log(3);
  MemoryDirectory directory;
  for (const auto& [name, bytes] : image) {
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
      CAPTURE(name, bit);
      Image damaged = image;
      char& byte = damaged[name][bit / 8];
      byte = static_cast<char>(byte ^ (1 << bit % 8));
      directory.restore(damaged);
      const std::string text = refusal(directory);
      REQUIRE_THAT(text, Contains("memory/" + name + " at offset ") && Contains("Restore this server's data"));
      REQUIRE(directory.image() == damaged);  // and is left as it was found
    }
  }
}

TEST_CASE("wal damage: a batch that is not the last is never taken for a torn one") {
  const Image image = small_log(3);
  MemoryDirectory directory;
  for (const std::size_t at : {sector, 2 * sector}) {
    Image damaged = image;
    erase_sector(damaged[first_name], at);
    directory.restore(damaged);
    CHECK_THAT(refusal(directory), Contains(first_name + " at offset " + std::to_string(at) + ": "));
  }
  Image both = image;
  erase_sector(both[first_name], sector);
  erase_sector(both[first_name], 2 * sector);
  directory.restore(both);
  CHECK_THAT(refusal(directory), Contains("at offset 512: "));
  // Even where the one after it is torn itself, and is known by its header only.
  erase_sector(both[first_name], last_batch + sector);
  directory.restore(both);
  CHECK_THAT(refusal(directory), Contains("at offset 512: "));
}

TEST_CASE("wal damage: sectors behind a torn batch that cannot be of it are refused") {
  Image image = small_log(3);
  std::string& bytes = image[first_name];
  erase_sector(bytes, last_batch + sector);
  MemoryDirectory directory;
  SECTION("longer than its header says") {
    bytes[last_batch + 3 * sector] = '+';
  }
  SECTION("not beginning like a batch's second sector") {
    bytes[last_batch + 2 * sector] = 'W';
  }
  SECTION("the header damaged as well") {
    bytes[last_batch + 20] ^= 1;
  }
  SECTION("the header lost, and something else behind") {
    erase_sector(bytes, last_batch);
    bytes[last_batch + 4 * sector] = 1;
  }
  directory.restore(image);
  CHECK_THAT(refusal(directory), Contains(first_name + " at offset 1536: "));
}

TEST_CASE("wal damage: a torn batch in the first place of a new segment leaves the segment as the spare") {
  MemoryDirectory directory;
  {
    Log log(directory);
    log.wal->append(entries({entry(1, 1, std::string(1000, 'a'))}));
    log.wal->append(entries({entry(1, 2, std::string(1000, 'b'))}));
  }
  Image image = directory.image();
  erase_sector(image[second_name], 2 * sector);
  directory.restore(image);
  CHECK_THAT(refusal(directory), Contains(second_name + " at offset 512: the segment is empty"));

  image.erase(third_name);  // it is made only when that batch is durable
  directory.restore(image);
  Log log(directory);
  CHECK(log.recovered.entries.size() == 1);
  CHECK(log.recovered.torn_bytes == 3 * sector);
  CHECK(log.wal->has_spare());
  CHECK(directory.list().size() == 2);
  directory.crash(MemoryDirectory::Kept::nothing);
  CHECK(is_zero(directory.image()[second_name].substr(sector)));
  log.wal->append(entries({entry(2, 2, std::string(1000, 'c'))}));
  CHECK_THAT(reopened(directory), Contains("2/2 'ccc"));
}

TEST_CASE("wal damage: segments that are missing, emptied, cut short or exchanged are refused") {
  MemoryDirectory directory;
  {
    Log log(directory);
    for (std::uint64_t i = 1; i <= 3; ++i) log.wal->append(entries({entry(1, i, std::string(1000, 'a'))}));
  }
  const Image intact = directory.image();
  Image image = intact;
  std::string expected;
  SECTION("the first is missing") {
    image.erase(first_name);
    expected = first_name + " at offset 0: the file is missing";
  }
  SECTION("one in the middle is missing") {
    image.erase(second_name);
    expected = second_name + " at offset 0: the file is missing";
  }
  SECTION("one in the middle has lost its batches") {
    image[second_name].replace(sector, 3 * sector, 3 * sector, '\0');
    expected = second_name + " at offset 512: the segment is empty";
  }
  SECTION("one in the middle is torn") {
    erase_sector(image[second_name], 2 * sector);
    expected = second_name + " at offset 512: ";
  }
  SECTION("two are torn") {
    image.erase(third_name);
    erase_sector(image[first_name], 2 * sector);
    erase_sector(image[second_name], sector);
    expected = first_name + " at offset 512: a batch is incomplete";
  }
  SECTION("the first has lost its batches") {
    image[first_name].replace(sector, 3 * sector, 3 * sector, '\0');
    expected = second_name + " at offset 512: batch 2 is here where batch 1 should be";
  }
  SECTION("one is shorter than it was made") {
    image[second_name].resize(3 * sector);
    expected = second_name + " at offset 1536: the file is 1536 bytes long and should be 2048";
  }
  SECTION("one is longer") {
    image[second_name].resize(5 * sector);
    expected = second_name + " at offset 2048: ";
  }
  SECTION("one is empty") {
    image[second_name].clear();
    expected = second_name + " at offset 0: the file is too short";
  }
  SECTION("two are exchanged") {
    std::swap(image[first_name], image[second_name]);
    expected = first_name + " at offset 0: this is segment 2 under another name";
  }
  SECTION("a batch is a copy of another segment's") {
    image[second_name].replace(sector, 3 * sector, intact.at(first_name), sector, 3 * sector);
    expected = second_name + " at offset 512: neither a batch";
  }
  SECTION("a header is all zero") {
    erase_sector(image[third_name], 0);
    expected = third_name + " at offset 0: this is not the beginning of a log segment";
  }
  directory.restore(image);
  CHECK_THAT(refusal(directory), Contains("memory/" + expected));
  directory.restore(intact);
  CHECK(refusal(directory).empty());
}

TEST_CASE("wal damage: another directory's segment is refused, and so is its batch in a segment of ours") {
  MemoryDirectory ours;
  MemoryDirectory theirs;
  Wal::Recovered recovered;
  Wal(ours, WalOptions{2048}, identity, recovered).append(hard_state(1, "n1"));
  Wal(theirs, WalOptions{2048}, other_identity, recovered).append(hard_state(1, "n1"));
  Image image = ours.image();
  SECTION("segment") {
    image[second_name] = theirs.image()[second_name];
    ours.restore(image);
    CHECK_THAT(refusal(ours),
               Contains(second_name + " at offset 0: this is of the data directory " + other_identity));
  }
  SECTION("batch") {
    image[first_name].replace(sector, sector, theirs.image()[first_name], sector, sector);
    ours.restore(image);
    CHECK_THAT(refusal(ours), Contains(first_name + " at offset 512: neither a batch"));
  }
}

TEST_CASE("wal damage: a segment of another format version is refused as such") {
  MemoryDirectory directory;
  for (const auto& [version, text] : {std::pair(2u, "written by a newer kvd"), std::pair(0u, "by another kvd")}) {
    std::string bytes = raw_header(version, 1, 2048);
    bytes.resize(2048);
    directory.restore({{first_name, bytes}});
    CHECK_THAT(refusal(directory), Contains(text));
  }
  std::string bytes = raw_header(1, 1, 2048);
  bytes[300] = 1;
  bytes.resize(sector - 8);
  put(bytes, sum(bytes, 0), 8);
  bytes.resize(2048);
  directory.restore({{first_name, bytes}});
  CHECK_THAT(refusal(directory), Contains("makes no sense"));
  CHECK(raw_header(1, 7, 2048) == wal::encode_segment_header({7, 2048, identity}));
}

TEST_CASE("wal damage: a value that is the image of a batch, at every alignment, is never taken for one") {
  std::string image;
  wal::encode_batch(4, raft::Index(0), hard_state(9, "evil"), 0, image);
  for (std::size_t shift = 0; shift < sector; shift += 3) {
    CAPTURE(shift);
    std::string value(shift, '\0');
    for (int i = 0; i < 4; ++i) value += image;
    MemoryDirectory directory;
    {
      Log log(directory, 8192);
      log.wal->append(entries({entry(1, 1, value)}));
    }
    REQUIRE(reopened(directory, 8192) == "term 0 vote  commit 0: 1/1 '" + value + "',");
    Image torn = directory.image();
    erase_sector(torn[first_name], sector);
    directory.restore(torn);
    REQUIRE(reopened(directory, 8192) == "term 0 vote  commit 0:");
  }
}

TEST_CASE("wal damage: batches whose records contradict each other are refused") {
  const auto one = entries({entry(1, 1, "a"), entry(1, 2, "b")});
  CHECK(Forged().add(1, 0, one).add(2, 2, entries({})).refused().empty());
  CHECK_THAT(Forged().add(1, 0, one).add(3, 0, entries({})).refused(), Contains("at offset 1024: batch 3 is here"));
  CHECK_THAT(Forged().add(1, 0, one).add(1, 0, one).refused(), Contains("at offset 1024: batch 1 is here"));
  CHECK_THAT(Forged().add(1, 0, entries({entry(1, 0, "a")})).refused(), Contains("batch 1 has entry 0"));
  CHECK_THAT(Forged().add(1, 0, one).add(2, 0, entries({entry(1, 4, "d")})).refused(), Contains("has entry 4"));
  CHECK_THAT(Forged().add(1, 3, one).refused(), Contains("says that entry 3 is committed"));
  CHECK_THAT(Forged().add(1, 1, one).add(2, 1, entries({entry(2, 1, "A")})).refused(),
             Contains("at offset 1024: batch 2 replaces entry 1, which was committed"));
  Forged long_one;
  long_one.bytes.append(5 * sector, '\0');
  long_one.bytes.erase(sector);
  for (std::uint64_t i = 1; i <= 6; ++i) long_one.add(i, 0, entries({}));
  long_one.add(7, 0, entries({entry(1, 1, std::string(1000, 'x'))}));
  CHECK_THAT(long_one.refused(), Contains("at offset 3584: a batch begins here that is longer than its segment"));
}

TEST_CASE("wal damage: records that cannot be, under valid checksums, are refused") {
  const std::string ones(16, '\1');
  const std::string bodies[] = {
      std::string("\0", 1),                                                  // no record has this type
      "\4" + ones,                                                           // nor this one
      std::string("\1") + ones,                                              // a name beyond the end
      std::string("\3") + ones + std::string("\1") + std::string(12, '\0'),  // a hard state behind an entry
      std::string("\3") + ones.substr(1),                                    // too short
      std::string("\2") + ones + std::string("\4\0\0\0abc", 7),              // a command beyond the end
  };
  for (const std::string& body : bodies) {
    Forged log;
    log.bytes += raw_batch(1, body.size(), body, log.salt);
    CHECK_THAT(log.refused(), Contains("at offset 512: batch 1 has a valid checksum but makes no sense"));
  }
  Forged valid;
  valid.bytes += raw_batch(1, 17, "\3" + std::string("\1\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0", 16), valid.salt);
  CHECK(valid.refused().empty());
}

TEST_CASE("wal damage: whatever the bytes are, they are read without harm") {
  std::mt19937_64 random(1);
  const Image image = small_log(3);
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = image.at(first_name);
    for (auto changes = random() % 20; changes > 0; --changes) {
      const std::size_t at = sector + random() % (bytes.size() - sector);
      bytes[at] = static_cast<char>(random());
      if (random() % 8 == 0) erase_sector(bytes, at / sector * sector);
    }
    // And records of garbage that the checksums vouch for.
    std::string body;
    for (auto length = random() % 60; length > 0; --length) body += static_cast<char>(random() % 5);
    const std::string batch =
        raw_batch(1, body.size(), body, wal::salt_of(std::string_view(bytes).substr(0, sector)));
    if (round % 2 == 0) bytes.replace(sector, sector, batch);

    wal::SegmentReader reader(bytes, 1);
    while (std::holds_alternative<wal::Batch>(reader.next())) {
    }
    CHECK(reader.offset() <= bytes.size());
  }
}
