// The bytes of the write-ahead log, without any files: what Wal, `kvd inspect` and the fuzzer share. Pure
// functions; none of them trusts what it reads. The tables are in docs/formats.md.
//
// A segment is a header sector and then batches, each on a sector boundary, and then zeros. No sector of a
// batch is all zero, so that a sector that a crash has kept from the disk can be seen, in segments that were
// zero before. And no sector of a batch but its first can look like a batch's first, whatever users store.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/raft/types.hpp"

namespace kv::wal {

inline constexpr std::size_t sector_bytes = 512;  // the smallest piece that a disk writes wholly or not at all
inline constexpr std::uint32_t format_version = 1;
inline constexpr std::size_t identity_bytes = 36;  // a UUID as text

// What is wrong with the bytes, for a person; the caller adds where.
struct Problem {
  std::string what;
};

struct SegmentHeader {
  std::uint64_t number = 0;
  std::uint64_t bytes = 0;  // the length of the file; a multiple of sector_bytes
  std::string identity;     // the data directory's, identity_bytes long
};

// One sector.
std::string encode_segment_header(const SegmentHeader& header);
std::variant<SegmentHeader, Problem> decode_segment_header(std::string_view sector);

// What the checksums of a segment's batches begin from: the header's own checksum. So a batch of another
// segment, or of another directory's log that was once on the same blocks of the disk, is not taken for one.
std::uint64_t salt_of(std::string_view header_sector);

struct Batch {
  std::uint64_t number = 0;  // 1, 2, 3 … over all segments of a log
  raft::Index commit;
  std::optional<raft::HardState> hard_state;
  std::optional<raft::SnapshotMark> snapshot;
  std::vector<raft::Entry> entries;
  std::uint64_t bytes = 0;  // on the disk, with padding
};

// How many bytes the batch of `write` takes on the disk, a multiple of sector_bytes.
std::uint64_t batch_bytes(const raft::Write& write);

// Replaces `out` by the batch of `write`, with `commit` in place of its own.
void encode_batch(std::uint64_t number, raft::Index commit, const raft::Write& write, std::uint64_t salt,
                  std::string& out);

// Walks through the batches of one segment. Borrows the bytes.
class SegmentReader {
 public:
  // Nothing but zeros up to the segment's end.
  struct End {};
  // A batch of which at least one sector never reached the disk, followed by nothing. `bytes` of it, from
  // offset() on, did: they are to be made zero again.
  struct Torn {
    std::uint64_t bytes = 0;
  };
  using Next = std::variant<Batch, End, Torn, Problem>;

  // `segment`: the whole file. `first_batch`: the number that its first batch must have; 0: any.
  SegmentReader(std::string_view segment, std::uint64_t first_batch);

  // What is at offset(). Goes on only past a batch: the other three are given again and again.
  Next next();

  // After a Problem, for who wants to know what else there is: goes on to the next place where a whole batch
  // begins, whatever its number. False: there is none up to the segment's end, and nothing has changed.
  bool skip_damage();

  std::uint64_t offset() const { return offset_; }
  std::uint64_t next_batch() const { return next_batch_; }  // the number due; 0: any

 private:
  std::string_view segment_;
  std::uint64_t salt_;
  std::uint64_t offset_ = sector_bytes;
  std::uint64_t next_batch_;
};

}  // namespace kv::wal
