// The log's reader on segments that nobody wrote: arbitrary bytes, first as they are, then with every checksum
// put right (and, unless the input forbids it, also lengths and numbers), so that the parsers behind the checksums
// are reached. Whatever the bytes are, the log opens or is refused as damaged. What is read is what the bytes
// mean: encoding it again gives the same bytes. A log that opens is in order, and takes another write.
//
// Input: a byte of Keep, a byte for the length of the first segment, and the bytes of one or two segments.
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/wal_format.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/fuzz/wal_written.hpp"

namespace {

using namespace kv;
using namespace kv::fuzz;

constexpr std::size_t batch_header_bytes = 40;
constexpr std::size_t longest_segment = 8 * sector;

// What is left as the input has it.
enum Keep : unsigned {
  keep_header = 1,  // the segment's
  keep_number = 2,  // the batches'
  keep_filler = 4,  // what stands between the records and behind them
};

void put_number(std::string& bytes, std::size_t at, std::uint64_t value, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) bytes[at + i] = static_cast<char>(value >> (8 * i));
}

std::uint64_t get_number(std::string_view bytes, std::size_t at, std::size_t count) {
  std::uint64_t value = 0;
  for (std::size_t i = count; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

// Over a part of `bytes`.
std::uint64_t checksum(const std::string& bytes, std::size_t begin, std::size_t end, std::uint64_t salt) {
  return XXH3_64bits_withSeed(bytes.data() + begin, end - begin, salt);
}

// docs/formats.md, "A segment". Returns the salt.
std::uint64_t repair_header(std::string& bytes, std::uint64_t number, unsigned keep) {
  if ((keep & keep_header) == 0) {
    const std::string identity = wal_identity;
    bytes.replace(0, sector, wal::encode_segment_header({number, bytes.size(), identity}));
  }
  const std::uint64_t salt = checksum(bytes, 0, sector - 8, 0);
  put_number(bytes, sector - 8, salt, 8);
  return salt;
}

// The continuation bytes, and zeros behind the records.
void repair_filler(std::string& bytes, std::size_t begin, std::size_t end, std::size_t records) {
  std::size_t left = records;
  for (std::size_t at = begin + batch_header_bytes; at < end; ++at) {
    if (left > 0 && at % sector == 0) {
      bytes[at] = '+';
    } else if (left > 0) {
      --left;
    } else {
      bytes[at] = '\0';
    }
  }
}

// docs/formats.md, "A batch": as long as one begins. Returns how many did.
std::size_t repair_batches(std::string& bytes, std::uint64_t salt, std::uint64_t& next, unsigned keep) {
  std::size_t count = 0;
  std::size_t at = sector;
  for (; at < bytes.size() && bytes[at] == 'W'; ++count) {
    bytes.replace(at, 4, "WALB");
    const std::uint64_t records = get_number(bytes, at + 4, 4);
    const std::uint64_t length = sector * (records <= 472 ? 1 : 1 + (records - 472 + 510) / 511);
    const std::size_t end = length > bytes.size() - at ? bytes.size() : at + length;
    if ((keep & keep_number) == 0) put_number(bytes, at + 8, next++, 8);
    if ((keep & keep_filler) == 0) repair_filler(bytes, at, end, records);
    put_number(bytes, at + 24, checksum(bytes, at + batch_header_bytes, end, salt), 8);
    put_number(bytes, at + 32, checksum(bytes, at, at + 32, salt), 8);
    at = end;
  }
  return count;
}

// ---- What must be true ---------------------------------------------------------------------------------

void check_header(const std::string& bytes) {
  const auto decoded = wal::decode_segment_header(std::string_view(bytes).substr(0, sector));
  if (const auto* header = std::get_if<wal::SegmentHeader>(&decoded)) {
    require(wal::encode_segment_header(*header) == bytes.substr(0, sector), "a header has one encoding");
  }
}

void check_batch(const wal::Batch& batch, std::string_view bytes, std::uint64_t salt, bool canonical) {
  raft::Write write;
  write.hard_state = batch.hard_state;
  write.entries = batch.entries;
  require(wal::batch_bytes(write) == batch.bytes && bytes.size() == batch.bytes, "a batch is as long as it says");
  std::string again;
  wal::encode_batch(batch.number, batch.commit, write, salt, again);
  if (canonical) require(again == bytes, "a batch has one encoding");
  require(again.size() == bytes.size(), "a batch has one length");
}

// A segment, and what it must be: the number of its first batch, how many batches it certainly has, and whether
// what stands between their records is right.
struct Segment {
  std::string bytes;
  std::uint64_t first_batch = 1;
  std::size_t batches = 0;
  bool canonical = false;
};

void check_segment(const Segment& segment) {
  const std::string& bytes = segment.bytes;
  check_header(bytes);
  const std::uint64_t salt = wal::salt_of(std::string_view(bytes).substr(0, sector));
  wal::SegmentReader reader(bytes, segment.first_batch);
  for (std::size_t count = 0;; ++count) {
    const std::uint64_t offset = reader.offset();
    const auto next = reader.next();
    require(reader.offset() <= bytes.size(), "the reader stays in its segment");
    if (const auto* torn = std::get_if<wal::SegmentReader::Torn>(&next)) {
      require(torn->bytes <= bytes.size() - offset, "a torn end is in its segment");
    }
    const auto* batch = std::get_if<wal::Batch>(&next);
    if (batch == nullptr) {
      const auto* problem = std::get_if<wal::Problem>(&next);
      const bool senseless = problem != nullptr && (problem->what.find("makes no sense") != std::string::npos ||
                                                    problem->what.find("is longer than") != std::string::npos);
      require(count >= segment.batches || senseless, "a batch with valid checksums is read");
      require(reader.offset() == offset && reader.next().index() == next.index(), "the end stays the end");
      return;
    }
    require(reader.offset() == offset + batch->bytes, "the reader goes on behind the batch");
    check_batch(*batch, std::string_view(bytes).substr(offset, batch->bytes), salt, segment.canonical);
  }
}

void check_order(const Wal::Recovered& recovered) {
  for (std::size_t i = 0; i < recovered.entries.size(); ++i) {
    require(recovered.entries[i].index.value == i + 1, "entries follow each other");
  }
  require(recovered.commit.value <= recovered.entries.size(), "what is committed is there");
}

void check_log(const MemoryDirectory::Image& image) {
  MemoryDirectory directory;
  directory.restore(image);
  std::string text;
  try {
    OpenLog open(directory, 1024);
    check_order(open.recovered);
    text = text_of(open.recovered);
  } catch (const WalCorruption&) {
    require(directory.image() == image, "a log that is refused is not changed");
    return;
  }
  directory.crash(MemoryDirectory::Kept::nothing);
  OpenLog open(directory, 1024);
  require(text_of(open.recovered) == text, "a log that opens once opens again, with the same in it");
  require(open.recovered.torn_bytes == 0, "a torn end is cut off for good");
  Content content{open.recovered.hard_state, open.recovered.entries, open.recovered.commit};
  raft::Write write;
  write.entries.push_back({raft::Term(9), raft::Index(content.entries.size() + 1), nullptr});
  open.wal->append(write);
  content.apply(write);
  const OpenLog again(directory, 1024);
  require(text_of(again.recovered) == content.text(), "what was recovered and appended is there");
}

void check_all(const std::vector<Segment>& segments) {
  MemoryDirectory::Image image;
  for (const Segment& segment : segments) {
    check_segment(segment);
    image[segment_name(image.size() + 1)] = segment.bytes;
  }
  check_log(image);
}

Segment take_segment(Input& input, std::size_t longest) {
  Segment segment;
  segment.bytes = input.bytes(longest);
  segment.bytes.resize(std::max<std::size_t>(1, (segment.bytes.size() + sector - 1) / sector) * sector);
  return segment;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  const unsigned keep = input.byte();
  const std::size_t first_sectors = 1 + input.byte() % 8;
  std::vector<Segment> segments{take_segment(input, first_sectors * sector)};
  if (!input.empty()) segments.push_back(take_segment(input, longest_segment));
  check_all(segments);

  std::uint64_t next_batch = 1;
  std::uint64_t number = 1;
  for (Segment& segment : segments) {
    const std::uint64_t salt = repair_header(segment.bytes, number++, keep);
    segment.first_batch = next_batch;
    const std::size_t batches = repair_batches(segment.bytes, salt, next_batch, keep);
    if ((keep & keep_number) == 0) segment.batches = batches;
    segment.canonical = (keep & keep_filler) == 0;
  }
  check_all(segments);
  return 0;
}
