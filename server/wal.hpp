// The write-ahead log: what Raft must not forget, in segment files of one Directory (format: docs/formats.md).
//
// One call of append() is one batch: one write, one checksum, one fdatasync. Or the caller has the batch's bytes
// written by other means, which must do as much: prepare(), wrote(). A Wal owns its open segment and the spare one;
// it belongs to one thread at a time. Any FileError is final: the object must not be used again.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "server/file.hpp"
#include "server/raft/types.hpp"

namespace kv {

// What is wrong where, for a person.
struct WalDamage {
  std::string file;  // empty: it is not about one file
  std::uint64_t offset = 0;
  std::string what;
  std::string remedy;
  bool operator==(const WalDamage&) const = default;
};

inline constexpr const char* damaged_log_remedy =
    "The log is damaged, and the server must not start on it. Restore this server's data directory from a backup "
    "of "
    "it; or, while a majority of the cluster works without this server, leave it off";

// A damaged log: the text names file, offset, what is wrong and the remedy.
class WalCorruption : public std::runtime_error {
 public:
  WalCorruption(const std::string& directory, WalDamage damage);
  const WalDamage& damage() const { return damage_; }

 private:
  WalDamage damage_;
};

// The disk had no room for the segment that a batch needs, and nothing was written: this is no disk error, and the
// same append may be tried again.
class WalFull : public std::runtime_error {
  using runtime_error::runtime_error;
};

struct WalOptions {
  // At least 1 KiB, rounded up to whole sectors; a batch that needs more gets a segment of its own size, in
  // whole blocks of 4 KiB.
  // Recovery holds one segment at a time in memory.
  std::uint64_t segment_bytes = 2ull << 20;
  // A log that is long has longer segments, up to this; 0: all are alike.
  std::uint64_t max_segment_bytes = 0;
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
    std::vector<raft::Entry> entries;            // one after the other; the first is at `first`
    raft::Index first{1};                        // where the log begins, whether there is an entry or not
    std::optional<raft::SnapshotMark> snapshot;  // the last that the log was told of
    raft::Index commit;                          // the highest recorded
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
  // Whether there is a log in `directory`.
  static bool exists(Directory& directory);
  Wal(const Wal&) = delete;
  Wal& operator=(const Wal&) = delete;

  // Returns when the batch is durable. Its entries must follow each other and what the log holds, or replace
  // what is not committed; a commit position beyond the last entry is recorded as the last entry's. Throws
  // FileError, and std::logic_error if an earlier call has thrown; or WalFull, after which it can be tried again.
  // What nobody needs to wait for comes after `on_durable`: tidy().
  void append(const raft::Write& write, const std::function<void()>& on_durable = {});

  // A batch and what is beside it in the same blocks of the disk (4 KiB): what is before it there is written again
  // as it is, and so are the zeros behind it. The pieces follow each other from `offset` on. Valid until the next
  // call.
  struct Batch {
    File& file;
    std::uint64_t offset;
    std::array<std::string_view, 3> pieces;
  };
  // Changes nothing yet: append() may be called instead. nullopt: it has to be, since a new segment is needed, or
  // the batch would end in a segment's last block that is none, or there was an error.
  std::optional<Batch> prepare(const raft::Write& write);
  // The batch that was prepared for this write is durable at its place.
  void wrote(const raft::Write& write);
  // It could not be written, for that errno: throws the FileError that append() would have.
  [[noreturn]] void fail(int error);

  // Drops a segment, if the oldest holds nothing but what is at or before the last write.droppable or was replaced,
  // and gets ready for the next batch. Throws FileError.
  void tidy();
  bool is_tidy() const;

  // Of the segment that was dropped last; null: there is none. If it is not taken, it goes with the next one, or
  // when there is no room for a new segment. Whoever has taken it may try again when it has gone, before the disk
  // is called full.
  std::unique_ptr<Remains> take_remains();

  // False while no spare segment could be allocated, because the disk is full: there is room left for
  // little more than votes and deletes. Asked again after each append.
  bool has_spare() const;

  // Asks again without an append, for a server that refuses all writes while there is no spare; a segment that can
  // be dropped makes room for it. Returns has_spare(). Throws as append() does.
  bool try_spare();

 private:
  struct Segment;
  class Recovery;
  // Of a segment with batches: which of its entries are still the log's, and so whether it can be dropped.
  struct Span {
    std::uint64_t number = 0;
    std::uint64_t bytes = 0;  // of the file
    raft::Index last;         // the last entry that no later batch has replaced
  };

  void recover(const std::vector<std::string>& names, Recovered& recovered);
  std::unique_ptr<Segment> create_segment(std::uint64_t number, std::uint64_t bytes);
  std::unique_ptr<Segment> try_to_create_segment(std::uint64_t number, std::uint64_t bytes);
  void make_spare();
  void rotate(std::uint64_t batch_bytes);
  raft::Write with_preface(const raft::Write& write) const;
  void lay_out(const raft::Write& write);
  // The log's last entry, and the commit position that is recorded, when this has been written.
  raft::Index last_after(const raft::Write& write) const;
  raft::Index commit_after(const raft::Write& write) const;
  // What of the log is left after them.
  void note(const raft::SnapshotMark& mark);
  void note(raft::Index entry);
  bool can_drop_oldest() const;
  void drop_oldest();
  std::uint64_t next_segment_bytes() const;
  std::unique_ptr<Segment> create_segment_for(std::uint64_t least_bytes);
  bool has_zeros_ahead() const;
  void write_zeros_ahead();
  void check_usable() const;
  void check_order(const raft::Write& write) const;

  Directory& directory_;
  WalOptions options_;
  std::string identity_;
  std::unique_ptr<Segment> current_;  // where the next batch goes, if it fits
  std::unique_ptr<Segment> spare_;    // the one after it, or null
  std::deque<Span> spans_;            // the last is of the current segment
  std::uint64_t next_batch_ = 1;
  raft::HardState hard_state_;                  // the last recorded
  std::optional<raft::SnapshotMark> snapshot_;  // likewise
  raft::Index last_;                            // of the entries
  raft::Index droppable_;                       // what is at or before it is needed no more
  raft::Index commit_;                          // the highest recorded
  bool failed_ = false;
  std::string buffer_;  // the batch that is being written
  std::unique_ptr<Remains> remains_;
};

}  // namespace kv
