// The write-ahead log: what Raft must not forget, in segment files of one Directory (format: docs/formats.md).
//
// One call of append() is one batch: one write, one checksum, one fdatasync. A Wal owns its open segment and
// the spare one; it belongs to one thread at a time (the disk thread, once recovery is over). Any FileError
// out of append() is final: the object must not be used again.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "server/file.hpp"
#include "server/raft/types.hpp"

namespace kv {

// A damaged log: the text names file, offset, what is wrong and the remedy.
class WalCorruption : public std::runtime_error {
  using runtime_error::runtime_error;
};

struct WalOptions {
  // At least 1 KiB, rounded up to whole sectors; a batch that needs more gets a segment of its own size.
  // Recovery holds one segment at a time in memory.
  std::uint64_t segment_bytes = 64ull << 20;
  // At least a sector: how much of a segment is filled with zeros at once, and kept at least half of ahead.
  std::uint64_t zeros_ahead_bytes = 1 << 20;
};

class Wal {
 public:
  // What the log holds, after every record of every segment has been replayed in order.
  struct Recovered {
    std::string identity;  // the data directory's own, made when it was created
    bool fresh = false;    // there was no log: it has just been created
    raft::HardState hard_state;
    std::vector<raft::Entry> entries;  // positions 1, 2, 3 …
    raft::Index commit;                // the highest recorded; at most the last entry's
    std::uint64_t batches = 0;
    std::uint64_t segments = 0;    // files that were read
    std::uint64_t bytes = 0;       // of batches
    std::uint64_t torn_bytes = 0;  // cut off at the end: a write nobody was told of
    std::string torn_where;        // "FILE at offset N", when torn_bytes is not 0
  };

  // Opens the log of `directory`, or creates it with `new_identity` (a UUID's 36 characters) where there is
  // none. When this returns, all of what it has recovered is durable, whatever made the last process end,
  // and a torn end is cut off. Throws WalCorruption or FileError. `directory` must outlive the Wal; files in
  // it that are not named like segments are left alone.
  Wal(Directory& directory, WalOptions options, const std::string& new_identity, Recovered& recovered);
  ~Wal();
  Wal(const Wal&) = delete;
  Wal& operator=(const Wal&) = delete;

  // Returns when the batch is durable. Its entries must follow each other and what the log holds, or replace
  // what is not committed; a commit position beyond the last entry is recorded as the last entry's. Throws
  // FileError, and std::logic_error if an earlier call has thrown.
  void append(const raft::Write& write);

  // False while no spare segment could be allocated, because the disk is full: there is room left for
  // little more than votes and deletes. Asked again after each append.
  bool has_spare() const;

  // Asks again without an append, for a server that refuses all writes while there is no spare. Returns
  // has_spare(). Throws as append() does.
  bool try_spare();

 private:
  struct Segment;
  class Recovery;

  std::unique_ptr<Segment> create_segment(std::uint64_t number, std::uint64_t bytes);
  void make_spare();
  void rotate(std::uint64_t batch_bytes);
  void write_zeros_ahead();
  void check_usable() const;
  void check_order(const raft::Write& write) const;

  Directory& directory_;
  WalOptions options_;
  std::string identity_;
  std::unique_ptr<Segment> current_;  // where the next batch goes, if it fits
  std::unique_ptr<Segment> spare_;    // the one after it, or null
  std::uint64_t next_batch_ = 1;
  raft::Index last_;    // of the entries
  raft::Index commit_;  // the highest recorded
  bool failed_ = false;
  std::string buffer_;
};

}  // namespace kv
