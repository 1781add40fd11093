#include "server/wal_format.hpp"

#include <xxhash.h>

#include <algorithm>
#include <cassert>
#include <cstring>
#include <limits>
#include <utility>

#include "common/little_endian.hpp"

namespace kv::wal {
namespace {

constexpr std::string_view segment_magic("kvdwal\r\n", 8);

// Where in the header sector. Magic, version and checksum are where they are in every version to come, so
// that a newer file is told from a damaged one.
constexpr std::size_t version_at = 8;
constexpr std::size_t reserved_at = 12;
constexpr std::size_t number_at = 16;
constexpr std::size_t length_at = 24;
constexpr std::size_t identity_at = 32;
constexpr std::size_t header_checksum_at = sector_bytes - sizeof(std::uint64_t);

constexpr std::string_view batch_magic("WALB", 4);
constexpr char continuation = '+';  // the first byte of a batch's every sector but the first
static_assert(batch_magic[0] != continuation && batch_magic[0] != 0 && continuation != 0);

constexpr std::size_t batch_checksum_at = 32;  // of the bytes before it
constexpr std::size_t batch_header_bytes = 40;
constexpr std::size_t first_room = sector_bytes - batch_header_bytes;  // for records, in the first sector
constexpr std::size_t other_room = sector_bytes - 1;                   // and in each of the others

enum class RecordType : std::uint8_t { hard_state = 1, command = 2, no_op = 3, snapshot = 4 };

constexpr std::size_t hard_state_bytes = 1 + 8 + 4;   // and the name
constexpr std::size_t command_bytes = 1 + 8 + 8 + 4;  // and the command
constexpr std::size_t no_op_bytes = 1 + 8 + 8;
constexpr std::size_t snapshot_bytes = 1 + 8 + 8 + 1 + 4;  // and the context

std::uint32_t get_u32(std::string_view bytes, std::size_t at) {
  return read_number<std::uint32_t>(bytes.substr(at));
}
std::uint64_t get_u64(std::string_view bytes, std::size_t at) {
  return read_number<std::uint64_t>(bytes.substr(at));
}

std::uint64_t checksum(std::string_view bytes, std::uint64_t salt) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), salt);
}

// Each byte equals its neighbour, and the first is zero: the C library compares faster than a loop does.
bool is_zero(std::string_view bytes) {
  return bytes.empty() || (bytes[0] == 0 && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0);
}

std::uint64_t sectors_for(std::uint64_t body_bytes) {
  if (body_bytes <= first_room) return 1;
  return 1 + (body_bytes - first_room + other_room - 1) / other_room;
}

std::string_view context_of(const raft::SnapshotMark& mark) {
  return mark.context ? std::string_view(*mark.context) : std::string_view();
}

std::uint64_t body_bytes_of(const raft::Write& write) {
  std::uint64_t bytes = 0;
  if (write.hard_state) bytes += hard_state_bytes + write.hard_state->vote.name.size();
  if (write.snapshot) bytes += snapshot_bytes + context_of(*write.snapshot).size();
  for (const raft::Entry& entry : write.entries) {
    bytes += entry.command ? command_bytes + entry.command.size() : no_op_bytes;
  }
  return bytes;
}

// Appends a batch's records to `out`, which holds its header, and the continuation bytes between them.
class BodyWriter {
 public:
  explicit BodyWriter(std::string& out) : out_(out) {}

  void hard_state(const raft::HardState& state) {
    start(RecordType::hard_state);
    append_number<std::uint64_t>(field_, state.term.value);
    append_number<std::uint32_t>(field_, state.vote.name.size());
    finish(state.vote.name);
  }

  void snapshot(const raft::SnapshotMark& mark) {
    start(RecordType::snapshot);
    append_number<std::uint64_t>(field_, mark.position.term.value);
    append_number<std::uint64_t>(field_, mark.position.index.value);
    append_number<std::uint8_t>(field_, mark.resets_log ? 1 : 0);
    append_number<std::uint32_t>(field_, context_of(mark).size());
    finish(context_of(mark));
  }

  void entry(const raft::Entry& entry) {
    start(entry.command ? RecordType::command : RecordType::no_op);
    append_number<std::uint64_t>(field_, entry.term.value);
    append_number<std::uint64_t>(field_, entry.index.value);
    if (!entry.command) return finish({});
    append_number<std::uint32_t>(field_, entry.command.size());
    finish(*entry.command);
  }

  void pad() {
    const std::size_t used = out_.size() % sector_bytes;
    if (used != 0) out_.append(sector_bytes - used, '\0');
  }

 private:
  void start(RecordType type) { field_.assign(1, static_cast<char>(type)); }

  void finish(std::string_view bytes) {
    append(field_);
    append(bytes);
  }

  void append(std::string_view bytes) {
    while (!bytes.empty()) {
      if (out_.size() % sector_bytes == 0) out_.push_back(continuation);
      const std::size_t room = sector_bytes - out_.size() % sector_bytes;
      out_.append(bytes.substr(0, room));
      bytes.remove_prefix(std::min(room, bytes.size()));
    }
  }

  std::string& out_;
  std::string field_;
};

struct BatchHeader {
  std::uint64_t body_bytes = 0;
  std::uint64_t number = 0;
  raft::Index commit;
  std::uint64_t body_checksum = 0;

  std::uint64_t bytes() const { return sectors_for(body_bytes) * sector_bytes; }
};

std::optional<BatchHeader> decode_batch_header(std::string_view bytes, std::uint64_t salt) {
  if (bytes.size() < batch_header_bytes || !bytes.starts_with(batch_magic)) return std::nullopt;
  if (get_u64(bytes, batch_checksum_at) != checksum(bytes.substr(0, batch_checksum_at), salt)) return std::nullopt;
  return BatchHeader{get_u32(bytes, 4), get_u64(bytes, 8), raft::Index(get_u64(bytes, 16)), get_u64(bytes, 24)};
}

// The records of a batch in one piece, without what stands between them.
std::string gather_body(std::string_view batch, std::uint64_t body_bytes) {
  std::string body;
  body.reserve(body_bytes);
  batch.remove_prefix(batch_header_bytes);
  for (std::size_t room = first_room; body.size() < body_bytes; room = other_room) {
    body.append(batch.substr(0, std::min<std::uint64_t>(room, body_bytes - body.size())));
    batch.remove_prefix(std::min(room + 1, batch.size()));
  }
  return body;
}

// Takes the records apart. The checksum has vouched for them; still nothing is believed.
class RecordReader {
 public:
  explicit RecordReader(std::string_view rest) : rest_(rest) {}

  // False: these are not the records of a batch.
  bool read_into(Batch& batch) {
    while (!rest_.empty()) {
      const auto type = static_cast<RecordType>(take(1)[0]);
      if (type == RecordType::hard_state && !batch.hard_state && !batch.snapshot && batch.entries.empty()) {
        read_hard_state(batch);
      } else if (type == RecordType::snapshot && !batch.snapshot && batch.entries.empty()) {
        read_snapshot(batch);
      } else if (type == RecordType::command || type == RecordType::no_op) {
        read_entry(batch, type);
      } else {
        return false;
      }
      if (!ok_) return false;
    }
    return true;
  }

 private:
  void read_hard_state(Batch& batch) {
    raft::HardState& state = batch.hard_state.emplace();
    state.term = raft::Term(number<std::uint64_t>());
    state.vote.name = take(number<std::uint32_t>());
  }

  void read_snapshot(Batch& batch) {
    raft::SnapshotMark& mark = batch.snapshot.emplace();
    mark.position.term = raft::Term(number<std::uint64_t>());
    mark.position.index = raft::Index(number<std::uint64_t>());
    const std::uint64_t resets = number<std::uint8_t>();
    if (resets > 1 || mark.position.index == raft::Index{}) ok_ = false;
    mark.resets_log = resets == 1;
    mark.context = raft::Payload(take(number<std::uint32_t>()));
  }

  void read_entry(Batch& batch, RecordType type) {
    raft::Entry& entry = batch.entries.emplace_back();
    entry.term = raft::Term(number<std::uint64_t>());
    entry.index = raft::Index(number<std::uint64_t>());
    if (type == RecordType::no_op) return;
    entry.command = raft::Payload(take(number<std::uint32_t>()));
  }

  template <class Unsigned>
  Unsigned number() {
    return read_number<Unsigned>(take(sizeof(Unsigned)));
  }

  std::string_view take(std::uint64_t bytes) {
    if (bytes > rest_.size()) ok_ = false;
    if (!ok_) return {};
    const std::string_view field = rest_.substr(0, bytes);
    rest_.remove_prefix(bytes);
    return field;
  }

  std::string_view rest_;
  bool ok_ = true;
};

// Judges what begins at the start of `rest`, up to the segment's end, and is no whole batch. `header` where
// there is a valid one, whose batch is not longer than `rest`.
//
// A crash leaves this of the one batch that was being written: any of its sectors as they were meant, the
// others as they were before, all zero. And behind it nothing, because the next is written only when this
// one is durable. Whatever does not look like that was durable once and has been damaged since.
SegmentReader::Next judge_broken(std::string_view rest, const std::optional<BatchHeader>& header) {
  if (is_zero(rest)) return SegmentReader::End{};
  const bool header_lost = is_zero(rest.substr(0, sector_bytes));
  if (!header && !header_lost) return Problem{"neither a batch nor free space begins here"};

  const std::uint64_t extent = header ? header->bytes() : rest.size();
  bool lost = header_lost;
  std::uint64_t kept = header_lost ? 0 : sector_bytes;
  for (std::uint64_t at = sector_bytes; at < rest.size(); at += sector_bytes) {
    const std::string_view sector = rest.substr(at, sector_bytes);
    if (is_zero(sector)) {
      lost = lost || at < extent;
      continue;
    }
    if (at >= extent || sector[0] != continuation) {
      return Problem{"a batch begins here that is damaged, and what is " + std::to_string(at) +
                     " bytes further is no part of it: this was more than one unfinished write"};
    }
    kept = at + sector_bytes;
  }
  if (!lost) return Problem{"the checksum of batch " + std::to_string(header->number) + " is wrong"};
  return SegmentReader::Torn{kept};
}

}  // namespace

std::string encode_segment_header(const SegmentHeader& header) {
  assert(header.identity.size() == identity_bytes);
  assert(header.bytes % sector_bytes == 0);
  std::string out(segment_magic);
  append_number<std::uint32_t>(out, format_version);
  append_number<std::uint32_t>(out, 0);
  append_number<std::uint64_t>(out, header.number);
  append_number<std::uint64_t>(out, header.bytes);
  out += header.identity;
  out.resize(header_checksum_at, '\0');
  append_number<std::uint64_t>(out, checksum(out, 0));
  return out;
}

std::variant<SegmentHeader, Problem> decode_segment_header(std::string_view sector) {
  if (sector.size() != sector_bytes) return Problem{"the file is too short for a log segment"};
  if (!sector.starts_with(segment_magic)) return Problem{"this is not the beginning of a log segment"};
  if (salt_of(sector) != checksum(sector.substr(0, header_checksum_at), 0)) {
    return Problem{"the checksum of the segment's header is wrong"};
  }
  const std::uint64_t version = get_u32(sector, version_at);
  if (version != format_version) {
    return Problem{"this was written by " + std::string(version > format_version ? "a newer" : "another") +
                   " kvd: its format version is " + std::to_string(version) + ", and this kvd knows version " +
                   std::to_string(format_version)};
  }
  const std::string_view unused = sector.substr(0, header_checksum_at).substr(identity_at + identity_bytes);
  SegmentHeader header{get_u64(sector, number_at), get_u64(sector, length_at),
                       std::string(sector.substr(identity_at, identity_bytes))};
  if (get_u32(sector, reserved_at) != 0 || !is_zero(unused) || header.bytes % sector_bytes != 0) {
    return Problem{"the segment's header has a valid checksum but makes no sense"};
  }
  return header;
}

std::uint64_t salt_of(std::string_view header_sector) {
  return get_u64(header_sector, header_checksum_at);
}

std::uint64_t batch_bytes(const raft::Write& write) {
  return sectors_for(body_bytes_of(write)) * sector_bytes;
}

void encode_batch(std::uint64_t number, raft::Index commit, const raft::Write& write, std::uint64_t salt,
                  std::string& out) {
  const std::uint64_t body_bytes = body_bytes_of(write);
  out.clear();
  out.reserve(sectors_for(body_bytes) * sector_bytes);
  out.assign(batch_header_bytes, '\0');
  BodyWriter body(out);
  if (write.hard_state) body.hard_state(*write.hard_state);
  if (write.snapshot) body.snapshot(*write.snapshot);
  for (const raft::Entry& entry : write.entries) body.entry(entry);
  body.pad();
  assert(out.size() == sectors_for(body_bytes) * sector_bytes);

  // The header's checksum covers the body's, so that the two cannot be of different batches.
  std::string header(batch_magic);
  append_number<std::uint32_t>(header, body_bytes);
  append_number<std::uint64_t>(header, number);
  append_number<std::uint64_t>(header, commit.value);
  append_number<std::uint64_t>(header, checksum(std::string_view(out).substr(batch_header_bytes), salt));
  append_number<std::uint64_t>(header, checksum(header, salt));
  out.replace(0, batch_header_bytes, header);
}

SegmentReader::SegmentReader(std::string_view segment, std::uint64_t first_batch)
    : segment_(segment), salt_(salt_of(segment.substr(0, sector_bytes))), next_batch_(first_batch) {
  assert(segment.size() >= sector_bytes && segment.size() % sector_bytes == 0);
}

SegmentReader::Next SegmentReader::next() {
  const std::string_view rest = segment_.substr(offset_);
  if (rest.empty()) return End{};
  const std::optional<BatchHeader> header = decode_batch_header(rest, salt_);
  if (!header) return judge_broken(rest, std::nullopt);
  if (header->bytes() > rest.size()) return Problem{"a batch begins here that is longer than its segment"};
  if (next_batch_ != 0 && header->number != next_batch_) {
    return Problem{"batch " + std::to_string(header->number) + " is here where batch " +
                   std::to_string(next_batch_) + " should be"};
  }
  const std::string_view bytes = rest.substr(0, header->bytes());
  if (checksum(bytes.substr(batch_header_bytes), salt_) != header->body_checksum) return judge_broken(rest, header);

  Batch batch;
  batch.number = header->number;
  batch.commit = header->commit;
  batch.bytes = header->bytes();
  if (!RecordReader(gather_body(bytes, header->body_bytes)).read_into(batch)) {
    return Problem{"batch " + std::to_string(batch.number) + " has a valid checksum but makes no sense"};
  }
  offset_ += batch.bytes;
  next_batch_ = batch.number + 1;
  return batch;
}

bool SegmentReader::skip_damage() {
  for (std::uint64_t at = offset_; at < segment_.size(); at += sector_bytes) {
    const std::string_view rest = segment_.substr(at);
    const std::optional<BatchHeader> header = decode_batch_header(rest, salt_);
    if (!header || header->bytes() > rest.size()) continue;
    // The one at offset() was only in the wrong place, or it is the problem itself.
    const bool is_wrong = next_batch_ == 0 || header->number == next_batch_;
    if (at == offset_ && is_wrong) continue;
    const std::string_view body = rest.substr(0, header->bytes()).substr(batch_header_bytes);
    if (checksum(body, salt_) != header->body_checksum) continue;
    offset_ = at;
    next_batch_ = header->number;
    return true;
  }
  return false;
}

}  // namespace kv::wal
