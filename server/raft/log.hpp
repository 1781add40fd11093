// The log in memory: positions base+1 … last, each with its entry. What came before `base` is known only by
// its last position and term (Raft §7). Knows nothing of disks, commits or peers.
#pragma once

#include <cstddef>
#include <deque>
#include <optional>
#include <vector>

#include "server/raft/types.hpp"

namespace kv::raft {

// What an entry takes in memory, about.
std::size_t bytes_of(const Entry& entry);
std::size_t bytes_of(const Payload& command);  // of an entry with it

class Log {
 public:
  // `entries` follow `base` without a gap.
  Log(Position base, const std::vector<Entry>& entries);

  Index base_index() const { return base_.index; }
  Index first_index() const { return base_.index.next(); }
  Index last_index() const { return base_.index + entries_.size(); }
  Term last_term() const { return entries_.empty() ? base_.term : entries_.back().term; }

  // nullopt: before `base` or behind the end.
  std::optional<Term> term_at(Index index) const;
  // An entry with this position and this term is here: by the log matching property everything before it
  // equals the sender's log too (Raft §5.3).
  bool matches(Position position) const { return term_at(position.index) == position.term; }
  // Whether a log that ends at `other` has at least all that this one can have committed (Raft §5.4.1).
  bool is_up_to_date(Position other) const;
  // The last position at or before `limit.index` whose term is at most `limit.term`: where two logs that differ
  // at `limit` may still agree. It skips a whole term a round trip (Raft §5.3, end).
  Position last_at_most(Position limit) const;

  const Entry& at(Index index) const;
  // The sum of theirs.
  std::size_t bytes() const { return bytes_; }
  // Entries from `first` on, up to `max_bytes` of commands, but at least one where there is one.
  std::vector<Entry> slice(Index first, Index last, std::size_t max_bytes) const;

  // `entry.index` must be the next position.
  void append(Entry entry);
  // Drops `first` and everything behind it.
  void truncate_from(Index first);
  // Forgets everything up to `last`, which is in the log or before its base, and becomes the base.
  void compact(Index last);
  // Forgets everything: the log goes on behind `base`.
  void reset(Position base);

 private:
  Position base_;
  std::deque<Entry> entries_;
  std::size_t bytes_ = 0;
};

}  // namespace kv::raft
