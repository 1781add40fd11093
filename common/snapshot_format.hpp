// The bytes of a snapshot: a state of the store at one position of the log, as a server keeps it in a file, sends
// it to another server and hands it out as a backup. Pure functions of bytes, without files; nothing that is read
// is trusted. The tables are in docs/formats.md, "A snapshot".
//
// A snapshot is a header, blocks of records, and an end. Writer and Reader are concerned with these three,
// append_record() and RecordReader with the records in a block. Which records make a state, and whether they are in
// order, is for the store to say (server/store.hpp).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/shared_bytes.hpp"

namespace kv::snapshot {

inline constexpr std::uint32_t format_version = 1;
inline constexpr std::size_t header_bytes = 64;
inline constexpr std::size_t max_block_bytes = 16 << 20;  // of records

// The position up to which the log is in the state, and the term of its entry there.
struct Header {
  std::uint64_t index = 0;
  std::uint64_t term = 0;
  bool operator==(const Header&) const = default;
};

// Of the state's items: how many, the bytes of their keys and values, and the sum of their item_digest().
struct Totals {
  std::uint64_t keys = 0;
  std::uint64_t bytes = 0;
  std::uint64_t digest = 0;
  bool operator==(const Totals&) const = default;
};

// What is wrong with the bytes, for a person; the caller adds where.
struct Problem {
  std::string what;
};

// Makes the bytes of a snapshot from its records: begin(), any number of blocks, append_end(). What they
// give, one after the other, is the file. Keeps nothing but counters.
class Writer {
 public:
  explicit Writer(Header header);

  std::string begin() const { return header_; }
  // What comes before a block's records in the file. `records`: whole ones, 1 to max_block_bytes.
  std::string begin_block(std::string_view records);
  void append_end(const Totals& totals, std::string& out) const;

 private:
  std::string header_;
  std::uint64_t salt_;
  std::uint64_t blocks_ = 0;
};

// Takes the bytes of a snapshot in pieces of any size, as they come from a disk or the network, and gives its parts
// as soon as they are complete and their checksums are right. Copies what it is fed; holds at most one block and
// the last piece, if next() is asked after each feed() until it gives NeedMore.
class Reader {
 public:
  struct NeedMore {};
  struct Block {
    std::string_view records;  // until the next feed() or next()
  };
  struct End {
    Totals totals;
  };
  using Next = std::variant<NeedMore, Header, Block, End, Problem>;

  void feed(std::string_view bytes);
  // One Header, then any number of Blocks, then one End, with NeedMore in between. Nothing follows a Problem but
  // the same Problem, and nothing the End but a Problem if there are more bytes.
  Next next();
  // Of what the next next() looks at, from the beginning of the snapshot. After a Problem: where it is.
  std::uint64_t offset() const { return offset_; }
  // For when there are no more bytes, and next() gives nothing more: is anything missing or left over?
  std::optional<Problem> finish() const;

 private:
  enum class Part { header, blocks, end };

  std::string_view rest() const;
  void consume(std::size_t bytes);
  Next next_part();
  Next next_header();
  Next next_block();
  Next next_end();

  std::string buffer_;
  std::size_t consumed_ = 0;  // of buffer_
  std::uint64_t offset_ = 0;
  Part part_ = Part::header;  // what is next; after the end it stays there
  bool ended_ = false;
  std::uint64_t salt_ = 0;
  std::uint64_t blocks_ = 0;
  std::optional<Problem> problem_;
};

// ---- The records of a block ----------------------------------------------------------------------------

// What there is once, and before all else.
struct State {
  std::string_view members;  // as command::encode() has them; empty: none
  std::uint64_t forgotten_through = 0;
  bool operator==(const State&) const = default;
};

struct Item {
  std::uint64_t ts = 0;
  std::string_view key;
  std::string_view value;
  bool operator==(const Item&) const = default;
};

// What a write of a session came to, and the number that belongs to it.
enum class Kind : std::uint8_t {
  written = 1,          // its ts
  deleted = 2,          // its ts
  deleted_absent = 3,   // its ts: there was nothing to delete
  conflict = 4,         // the key's ts then; 0: absent
  session_expired = 5,  // 0
  txn = 6,              // its ts; with the results, which mean nothing here
  txn_too_large = 7,    // 0
};

struct Answer {
  std::uint64_t seq = 0;
  Kind kind = Kind::written;
  std::uint64_t number = 0;
  SharedBytes results = {};
  bool operator==(const Answer&) const = default;
};

struct Session {
  std::string_view id;
  std::uint64_t last_position = 0;
  std::uint64_t dropped_through = 0;
  std::vector<Answer> answers;
  bool operator==(const Session&) const = default;
};

// Once, behind the sessions: deletions at or before this position are not remembered.
struct DeletionsFloor {
  std::uint64_t position = 0;
  bool operator==(const DeletionsFloor&) const = default;
};

struct Deletion {
  std::uint64_t ts = 0;
  std::string_view key;
  bool operator==(const Deletion&) const = default;
};

void append_record(std::string& out, const State& state);
void append_record(std::string& out, const Item& item);
inline constexpr std::size_t item_overhead_bytes = 17;  // of its record, beside key and value
void append_record(std::string& out, const Session& session);
void append_record(std::string& out, const DeletionsFloor& floor);
void append_record(std::string& out, const Deletion& deletion);

// Takes a block's records apart. Borrows the bytes, and so does what it gives.
class RecordReader {
 public:
  struct End {};
  using Next = std::variant<Item, Session, State, DeletionsFloor, Deletion, End, Problem>;

  explicit RecordReader(std::string_view records) : rest_(records) {}

  // Goes on only past a record: End and Problem are given again and again.
  Next next();

 private:
  std::string_view rest_;
};

// 64 bits that stand for one item. The digest of a map is the sum of its items', modulo 2^64: so it can be kept up
// to date with each write, and does not depend on their order.
std::uint64_t item_digest(std::string_view key, std::string_view value, std::uint64_t ts);

// A digest as people compare it: 16 hexadecimal digits.
std::string digest_text(std::uint64_t digest);

}  // namespace kv::snapshot
