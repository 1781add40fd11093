// Snapshots that nobody wrote: arbitrary bytes as a file, first as they are, then with every checksum put right
// (and, unless the input forbids it, also the header and the number of blocks), so that what is behind the
// checksums is reached; and the same bytes as the records of a block. How the bytes are cut into pieces makes no
// difference. A record is what its bytes mean: encoding it again gives the same. A store that takes records gives
// them back in a walk, also while it goes on.
//
// Input: a byte of Keep, a byte for the length of the pieces, and the bytes.
#include <xxhash.h>

#include <limits>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/overloaded.hpp"
#include "common/snapshot_format.hpp"
#include "server/store.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

using namespace kv;
using namespace kv::fuzz;

constexpr std::size_t frame_bytes = 16;
constexpr std::size_t end_bytes = 56;

// What is left as the input has it.
enum Keep : unsigned {
  keep_header = 1,
  keep_count = 2,  // of blocks, in the end
};

void put_number(std::string& bytes, std::size_t at, std::uint64_t value) {
  for (std::size_t i = 0; i < 8; ++i) bytes[at + i] = static_cast<char>(value >> (8 * i));
}

std::string eight(std::uint64_t value) {
  std::string bytes(8, '\0');
  put_number(bytes, 0, value);
  return bytes;
}

std::uint64_t get_u32(std::string_view bytes, std::size_t at) {
  std::uint64_t value = 0;
  for (std::size_t i = 4; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

std::uint64_t checksum(std::string_view bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

// docs/formats.md, "A snapshot": as far as there are whole parts. Returns how many blocks have valid checksums.
std::size_t repair(std::string& bytes, unsigned keep) {
  if (bytes.size() < snapshot::header_bytes) bytes.resize(snapshot::header_bytes);
  if ((keep & keep_header) == 0) bytes.replace(0, snapshot::header_bytes, snapshot::Writer({7, 3}).begin());
  const std::uint64_t salt = checksum(std::string_view(bytes).substr(0, snapshot::header_bytes - 8), 0);
  put_number(bytes, snapshot::header_bytes - 8, salt);

  std::size_t blocks = 0;
  std::size_t at = snapshot::header_bytes;
  for (std::uint64_t number = 1; bytes.size() - at >= frame_bytes; ++number) {
    bytes.replace(at + 4, 4, 4, '\0');
    const std::uint64_t length = get_u32(bytes, at);
    const bool is_end = length == 0;
    const std::uint64_t extent = is_end ? end_bytes - frame_bytes - 8 : length;
    if (length > snapshot::max_block_bytes || extent + (is_end ? 8 : 0) > bytes.size() - at - frame_bytes) break;
    if (is_end && (keep & keep_count) == 0) put_number(bytes, at + frame_bytes, blocks);
    const std::string_view content = std::string_view(bytes).substr(at + frame_bytes, extent);
    put_number(bytes, at + 8, checksum(content, checksum(eight(number) + eight(length), salt)));
    if (is_end) {
      put_number(bytes, at + end_bytes - 8, checksum(std::string_view(bytes).substr(at, end_bytes - 8), salt));
      break;
    }
    at += frame_bytes + length;
    blocks = number;
  }
  return blocks;
}

// ---- What must be true ---------------------------------------------------------------------------------

struct Read {
  std::string seen;                 // all that the reader gave, as text
  std::vector<std::string> blocks;  // their records
  std::uint64_t offset = 0;
  bool has_header = false;
  bool has_end = false;
  bool is_whole = false;

  bool operator==(const Read&) const = default;
};

void note(Read& read, const snapshot::Reader::Next& next) {
  std::visit(Overloaded{[](const snapshot::Reader::NeedMore&) {},
                        [&](const snapshot::Header& header) {
                          read.has_header = true;
                          read.seen += "header " + std::to_string(header.index) + " " + std::to_string(header.term);
                        },
                        [&](const snapshot::Reader::Block& block) { read.blocks.emplace_back(block.records); },
                        [&](const snapshot::Reader::End& end) {
                          read.has_end = true;
                          read.seen += " end " + std::to_string(end.totals.keys) + " " +
                                       std::to_string(end.totals.bytes) + " " + std::to_string(end.totals.digest);
                        },
                        [&](const snapshot::Problem& problem) { read.seen += " problem " + problem.what; }},
             next);
}

Read read_in_pieces(std::string_view bytes, std::size_t piece) {
  Read read;
  snapshot::Reader reader;
  bool more = true;
  while (more) {
    // In memory of exactly its size, which is gone when the reader looks at it.
    {
      const std::vector<char> exact(bytes.begin(), bytes.begin() + std::min(piece, bytes.size()));
      reader.feed({exact.data(), exact.size()});
    }
    bytes.remove_prefix(std::min(piece, bytes.size()));
    more = !bytes.empty();
    snapshot::Reader::Next next = reader.next();
    for (; !std::holds_alternative<snapshot::Reader::NeedMore>(next); next = reader.next()) {
      note(read, next);
      if (!std::holds_alternative<snapshot::Problem>(next)) continue;
      more = false;
      break;
    }
  }
  read.offset = reader.offset();
  const auto problem = reader.finish();
  read.is_whole = !problem;
  if (problem) read.seen += " at the end " + problem->what;
  return read;
}

Read check_file(const std::string& bytes, std::size_t piece) {
  Read read = read_in_pieces(bytes, bytes.size() + 1);
  require(read_in_pieces(bytes, piece) == read, "pieces make no difference");
  require(read.offset <= bytes.size(), "the reader stays in its file");
  require(!read.is_whole || (read.has_header && read.has_end && read.offset == bytes.size()), "whole is whole");
  return read;
}

// The records as they are written: the same bytes, as far as they are records.
void check_records(std::string_view records) {
  std::string again;
  snapshot::RecordReader reader(records);
  for (bool more = true; more;) {
    std::visit(Overloaded{[&](const snapshot::RecordReader::End&) {
                            require(again == records, "records have one encoding");
                            more = false;
                          },
                          [&](const snapshot::Problem& problem) {
                            require(!problem.what.empty(), "a problem says what it is");
                            more = false;
                          },
                          [&](const auto& record) { append_record(again, record); }},
               reader.next());
    require(std::string_view(records).starts_with(again), "records have one encoding");
  }
}

std::string walk(Store& store, std::size_t bytes, bool write) {
  std::string records;
  store.begin_walk();
  for (bool more = true; more;) {
    const std::uint64_t position = store.position() + 1;
    const command::Session session{records.size() % 2 == 0 ? "s" : "t", position, position - 1};
    if (write && records.size() % 3 == 0) store.apply(position, command::Put{"a", "w", {}, session});
    if (write && records.size() % 3 == 1) store.apply(position, command::Delete{"b", {}, {}});
    const std::size_t before = records.size();
    more = store.walk(bytes, records);
    require(records.size() > before && (!more || records.size() >= before + bytes), "a walk gets on");
  }
  store.end_walk();
  return records;
}

// Blocks of records into a store, and out again.
void check_store(const std::vector<std::string>& blocks, std::size_t slice) {
  Store store;
  std::string records;
  for (const std::string& block : blocks) {
    if (const auto wrong = store.restore(block)) return require(!wrong->empty(), "a problem says what it is");
    records += block;
  }
  if (records.empty()) return require(store.check_totals({}).has_value(), "without records there is no state");
  // They may be whole records, and not all that there must be.
  if (const auto wrong = store.check_totals(store.totals())) {
    return require(wrong->ends_with("are missing"), "a store has the totals that it has");
  }
  require(walk(store, slice, false) == records, "what was restored comes back in a walk");
  const std::uint64_t digest = store.digest();
  if (store.position() > std::numeric_limits<std::uint32_t>::max()) return;  // else there are positions left
  require(walk(store, slice, true) == records, "whatever is written meanwhile");
  if (store.digest() == digest) return;
  Store next;
  require(!next.restore(walk(store, 1 << 20, false)) && next.digest() == store.digest(), "and so does what was");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  const unsigned keep = input.byte();
  const std::size_t piece = 1 + input.byte();
  std::string bytes(input.all());
  check_records(bytes);
  check_store({bytes}, piece);
  check_file(bytes, piece);

  const std::size_t blocks = repair(bytes, keep);
  const Read read = check_file(bytes, piece);
  if ((keep & keep_header) == 0) require(read.blocks.size() >= blocks, "a block with valid checksums is read");
  for (const std::string& block : read.blocks) check_records(block);
  check_store(read.blocks, piece);
  return 0;
}
