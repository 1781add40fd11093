#include "common/snapshot_format.hpp"

#include <xxhash.h>

#include <array>
#include <cassert>
#include <limits>
#include <utility>

#include "common/little_endian.hpp"

namespace kv::snapshot {
namespace {

constexpr std::string_view magic("kvdsnap\n", 8);

// Where in the header. Magic, version and checksum are where they are in every version to come, so that a newer
// file is told from a damaged one.
constexpr std::size_t version_at = 8;
constexpr std::size_t reserved_at = 12;
constexpr std::size_t index_at = 16;
constexpr std::size_t term_at = 24;
constexpr std::size_t unused_at = 32;
constexpr std::size_t header_checksum_at = header_bytes - sizeof(std::uint64_t);

// A block begins with its length, a zero and its checksum. So does the end, whose length is 0.
constexpr std::size_t frame_checksum_at = 8;
constexpr std::size_t frame_bytes = 16;
constexpr std::size_t totals_bytes = 4 * sizeof(std::uint64_t);
constexpr std::size_t end_checksum_at = frame_bytes + totals_bytes;
constexpr std::size_t end_bytes = end_checksum_at + sizeof(std::uint64_t);

enum class RecordType : std::uint8_t { state = 1, item = 2, session = 3, deletions_floor = 4, deletion = 5 };

constexpr std::size_t answer_bytes = 8 + 1 + 8;

void put_string(std::string& out, std::string_view text) {
  append_number<std::uint32_t>(out, text.size());
  out.append(text);
}

template <class Unsigned>
std::uint64_t get(std::string_view bytes, std::size_t at) {
  assert(at + sizeof(Unsigned) <= bytes.size());
  return read_number<Unsigned>(bytes.substr(at));
}

std::uint64_t hash(std::string_view bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

template <std::size_t count>
std::uint64_t hash_numbers(const std::array<std::uint64_t, count>& numbers, std::uint64_t seed) {
  char bytes[count * 8];
  for (std::size_t i = 0; i < sizeof bytes; ++i) bytes[i] = static_cast<char>(numbers[i / 8] >> (8 * (i % 8)));
  return XXH3_64bits_withSeed(bytes, sizeof bytes, seed);
}

// Of what follows a frame, at its place: the block with this number and length, in the snapshot with this salt.
std::uint64_t frame_checksum(std::uint64_t number, std::uint64_t length, std::string_view content,
                             std::uint64_t salt) {
  return hash(content, hash_numbers(std::array{number, length}, salt));
}

void put_frame(std::string& out, std::uint64_t length, std::uint64_t checksum) {
  append_number<std::uint32_t>(out, length);
  append_number<std::uint32_t>(out, 0);
  append_number<std::uint64_t>(out, checksum);
}

std::string encode_header(const Header& header) {
  std::string out(magic);
  append_number<std::uint32_t>(out, format_version);
  append_number<std::uint32_t>(out, 0);
  append_number<std::uint64_t>(out, header.index);
  append_number<std::uint64_t>(out, header.term);
  out.resize(header_checksum_at, '\0');
  append_number<std::uint64_t>(out, hash(out, 0));
  return out;
}

std::variant<Header, Problem> decode_header(std::string_view bytes) {
  if (!bytes.starts_with(magic)) return Problem{"this is not the beginning of a snapshot"};
  if (get<std::uint64_t>(bytes, header_checksum_at) != hash(bytes.substr(0, header_checksum_at), 0)) {
    return Problem{"the checksum of the snapshot's header is wrong"};
  }
  const std::uint64_t version = get<std::uint32_t>(bytes, version_at);
  if (version != format_version) {
    return Problem{"this was written by " + std::string(version > format_version ? "a newer" : "another") +
                   " kvd: its format version is " + std::to_string(version) + ", and this one knows version " +
                   std::to_string(format_version)};
  }
  const std::string_view unused = bytes.substr(unused_at, header_checksum_at - unused_at);
  if (get<std::uint32_t>(bytes, reserved_at) != 0 || unused.find_first_not_of('\0') != std::string_view::npos) {
    return Problem{"the snapshot's header has a valid checksum but makes no sense"};
  }
  return Header{get<std::uint64_t>(bytes, index_at), get<std::uint64_t>(bytes, term_at)};
}

}  // namespace

Writer::Writer(Header header)
    : header_(encode_header(header)), salt_(get<std::uint64_t>(header_, header_checksum_at)) {}

std::string Writer::begin_block(std::string_view records) {
  assert(!records.empty() && records.size() <= max_block_bytes);
  std::string frame;
  put_frame(frame, records.size(), frame_checksum(++blocks_, records.size(), records, salt_));
  return frame;
}

void Writer::append_end(const Totals& totals, std::string& out) const {
  std::string content;
  for (const std::uint64_t number : {blocks_, totals.keys, totals.bytes, totals.digest}) {
    append_number<std::uint64_t>(content, number);
  }
  std::string end;
  put_frame(end, 0, frame_checksum(blocks_ + 1, 0, content, salt_));
  end += content;
  append_number<std::uint64_t>(end, hash(end, salt_));
  out += end;
}

// ---- Reading -------------------------------------------------------------------------------------------

void Reader::feed(std::string_view bytes) {
  if (problem_) return;
  buffer_.erase(0, consumed_);
  consumed_ = 0;
  buffer_.append(bytes);
}

std::string_view Reader::rest() const {
  return std::string_view(buffer_).substr(consumed_);
}

void Reader::consume(std::size_t bytes) {
  consumed_ += bytes;
  offset_ += bytes;
}

Reader::Next Reader::next() {
  if (problem_) return *problem_;
  Next part = next_part();
  if (const auto* problem = std::get_if<Problem>(&part)) problem_ = *problem;
  return part;
}

Reader::Next Reader::next_part() {
  switch (part_) {
    case Part::header:
      return next_header();
    case Part::blocks:
      return next_block();
    case Part::end:
      break;
  }
  return next_end();
}

Reader::Next Reader::next_header() {
  const std::string_view bytes = rest();
  if (bytes.size() < header_bytes) return NeedMore{};
  const auto decoded = decode_header(bytes.substr(0, header_bytes));
  if (const auto* problem = std::get_if<Problem>(&decoded)) return *problem;
  salt_ = get<std::uint64_t>(bytes, header_checksum_at);
  consume(header_bytes);
  part_ = Part::blocks;
  return std::get<Header>(decoded);
}

Reader::Next Reader::next_block() {
  const std::string_view bytes = rest();
  if (bytes.size() < frame_bytes) return NeedMore{};
  const std::uint64_t length = get<std::uint32_t>(bytes, 0);
  if (get<std::uint32_t>(bytes, 4) != 0 || length > max_block_bytes) {
    return Problem{"neither a block nor the snapshot's end begins here"};
  }
  if (length == 0) {
    part_ = Part::end;
    return next_end();
  }
  if (bytes.size() - frame_bytes < length) return NeedMore{};
  const std::string_view records = bytes.substr(frame_bytes, length);
  const std::uint64_t number = blocks_ + 1;
  if (get<std::uint64_t>(bytes, frame_checksum_at) != frame_checksum(number, length, records, salt_)) {
    return Problem{"the checksum of block " + std::to_string(number) + " is wrong"};
  }
  ++blocks_;
  consume(frame_bytes + length);
  return Block{records};
}

Reader::Next Reader::next_end() {
  const std::string_view bytes = rest();
  if (ended_) {
    if (bytes.empty()) return NeedMore{};
    return Problem{"there are bytes behind the snapshot's end"};
  }
  if (bytes.size() < end_bytes) return NeedMore{};
  const std::string_view content = bytes.substr(frame_bytes, totals_bytes);
  if (get<std::uint64_t>(bytes, end_checksum_at) != hash(bytes.substr(0, end_checksum_at), salt_) ||
      get<std::uint64_t>(bytes, frame_checksum_at) != frame_checksum(blocks_ + 1, 0, content, salt_)) {
    return Problem{"the checksum of the snapshot's end is wrong"};
  }
  if (get<std::uint64_t>(content, 0) != blocks_) {
    return Problem{"the snapshot's end has a valid checksum but makes no sense"};
  }
  consume(end_bytes);
  ended_ = true;
  return End{{get<std::uint64_t>(content, 8), get<std::uint64_t>(content, 16), get<std::uint64_t>(content, 24)}};
}

std::optional<Problem> Reader::finish() const {
  if (problem_) return problem_;
  if (!ended_) {
    return Problem{part_ == Part::header ? "the file is too short for a snapshot"
                                         : "the snapshot's end is missing"};
  }
  if (!rest().empty()) return Problem{"there are bytes behind the snapshot's end"};
  return std::nullopt;
}

// ---- Records -------------------------------------------------------------------------------------------

namespace {

void put_type(std::string& out, RecordType type) {
  out.push_back(static_cast<char>(type));
}

// Reads field after field. Once something does not fit, ok() is false for good and every further field is empty,
// so that it is enough to ask at the end.
class Fields {
 public:
  explicit Fields(std::string_view rest) : rest_(rest) {}

  bool ok() const { return ok_; }
  std::string_view rest() const { return rest_; }

  template <class Unsigned>
  std::uint64_t number() {
    const std::string_view field = take(sizeof(Unsigned));
    return ok_ ? get<Unsigned>(field, 0) : 0;
  }
  std::string_view string() { return take(number<std::uint32_t>()); }

 private:
  std::string_view take(std::uint64_t size) {
    if (size > rest_.size()) ok_ = false;
    if (!ok_) return {};
    const std::string_view field = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return field;
  }

  std::string_view rest_;
  bool ok_ = true;
};

RecordReader::Next read_state(Fields& in) {
  State state;
  state.members = in.string();
  state.forgotten_through = in.number<std::uint64_t>();
  return state;
}

RecordReader::Next read_item(Fields& in) {
  Item item;
  item.ts = in.number<std::uint64_t>();
  item.key = in.string();
  item.value = in.string();
  return item;
}

RecordReader::Next read_session(Fields& in) {
  Session session;
  session.id = in.string();
  session.last_position = in.number<std::uint64_t>();
  session.dropped_through = in.number<std::uint64_t>();
  const std::uint64_t count = in.number<std::uint32_t>();
  // Before anything is made for them: so many would not fit into what is left.
  if (count > in.rest().size() / answer_bytes) return Problem{"a session here is longer than its block"};
  session.answers.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    Answer& answer = session.answers.emplace_back();
    answer.seq = in.number<std::uint64_t>();
    const std::uint64_t kind = in.number<std::uint8_t>();
    answer.number = in.number<std::uint64_t>();
    if (kind < static_cast<std::uint64_t>(Kind::written) ||
        kind > static_cast<std::uint64_t>(Kind::txn_too_large)) {
      return Problem{"an answer of the unknown kind " + std::to_string(kind) + ": written by a newer kvd"};
    }
    answer.kind = static_cast<Kind>(kind);
    if (answer.kind == Kind::txn) answer.results = SharedBytes(in.string());
  }
  return session;
}

RecordReader::Next read_deletion(Fields& in) {
  Deletion deletion;
  deletion.ts = in.number<std::uint64_t>();
  deletion.key = in.string();
  return deletion;
}

RecordReader::Next read_record(Fields& in) {
  const std::uint64_t type = in.number<std::uint8_t>();
  switch (static_cast<RecordType>(type)) {
    case RecordType::state:
      return read_state(in);
    case RecordType::item:
      return read_item(in);
    case RecordType::session:
      return read_session(in);
    case RecordType::deletions_floor:
      return DeletionsFloor{in.number<std::uint64_t>()};
    case RecordType::deletion:
      return read_deletion(in);
  }
  return Problem{"a record of the unknown type " + std::to_string(type) + ": written by a newer kvd"};
}

}  // namespace

void append_record(std::string& out, const State& state) {
  put_type(out, RecordType::state);
  put_string(out, state.members);
  append_number<std::uint64_t>(out, state.forgotten_through);
}

void append_record(std::string& out, const Item& item) {
  put_type(out, RecordType::item);
  append_number<std::uint64_t>(out, item.ts);
  put_string(out, item.key);
  put_string(out, item.value);
}

void append_record(std::string& out, const Session& session) {
  put_type(out, RecordType::session);
  put_string(out, session.id);
  append_number<std::uint64_t>(out, session.last_position);
  append_number<std::uint64_t>(out, session.dropped_through);
  append_number<std::uint32_t>(out, session.answers.size());
  for (const Answer& answer : session.answers) {
    append_number<std::uint64_t>(out, answer.seq);
    append_number<std::uint8_t>(out, static_cast<std::uint64_t>(answer.kind));
    append_number<std::uint64_t>(out, answer.number);
    if (answer.kind == Kind::txn) put_string(out, *answer.results);
  }
}

void append_record(std::string& out, const DeletionsFloor& floor) {
  put_type(out, RecordType::deletions_floor);
  append_number<std::uint64_t>(out, floor.position);
}

void append_record(std::string& out, const Deletion& deletion) {
  put_type(out, RecordType::deletion);
  append_number<std::uint64_t>(out, deletion.ts);
  put_string(out, deletion.key);
}

RecordReader::Next RecordReader::next() {
  if (rest_.empty()) return End{};
  Fields in(rest_);
  Next record = read_record(in);
  if (std::holds_alternative<Problem>(record)) return record;
  if (!in.ok()) return Problem{"a record here is longer than its block"};
  rest_ = in.rest();
  return record;
}

std::uint64_t item_digest(std::string_view key, std::string_view value, std::uint64_t ts) {
  return hash(value, hash(key, hash_numbers(std::array<std::uint64_t, 3>{key.size(), value.size(), ts}, 0)));
}

std::string digest_text(std::uint64_t digest) {
  std::string text(16, '0');
  for (auto digit = text.rbegin(); digit != text.rend(); ++digit, digest >>= 4)
    *digit = "0123456789abcdef"[digest & 15];
  return text;
}

}  // namespace kv::snapshot
