// What can be read off a history before any rule is looked at: the order of its events, which positions are known
// of which writes, and what was known when. Private to the checkers, which all work on one Facts.
//
// Operations are named by their index in the history here, not by their number. The history must outlive it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "tests/checkers/check.hpp"
#include "tests/checkers/history.hpp"

namespace kv::history {

using Index = std::uint32_t;
inline constexpr Index none = std::numeric_limits<Index>::max();

inline bool is_write(const Operation& operation) {
  return operation.function != Function::get;
}
inline bool is_ok_read(const Operation& operation) {
  return operation.function == Function::get && operation.outcome == Outcome::ok;
}

// A position at which the key is known to have been written.
struct Change {
  std::uint64_t ts = 0;
  bool is_delete = false;
  Index writer = none;    // nobody is known if only a condition or a conflict told the position
  Index shown_by = none;  // the writer itself, or who was answered with its position
};

struct KeyFacts {
  std::string_view key;
  std::vector<Index> operations;  // in the order in which they began
  std::vector<Change> changes;    // by position; where several claim one, one of them

  // The last change at or before the position; nullptr: none.
  const Change* last_change(std::uint64_t position) const;
};

class Facts {
 public:
  explicit Facts(const History& history);

  const History& history() const { return *history_; }
  const Operation& operator[](Index index) const { return (*history_)[index]; }
  const std::vector<KeyFacts>& keys() const { return keys_; }  // in byte order
  // All operations, in the order in which they began.
  const std::vector<Index>& by_begin() const { return by_begin_; }

  // Places in the one order of all begins and ends; an operation that never ended has end_of() == none.
  Index begin_of(Index index) const { return begin_[index]; }
  Index end_of(Index index) const { return end_[index]; }
  bool before(Index a, Index b) const { return end_[a] < begin_[b]; }

  // The put that writes the value; none: nobody.
  Index writer_of(std::string_view value) const;
  // The write's position: it was answered, or its value was read. 0: not known, so it may never have been applied.
  std::uint64_t position_of(Index write) const { return position_[write]; }
  Index position_shown_by(Index write) const { return shown_by_[write]; }

  // The highest position that any operation had told before this one began; `known_by`: which (none: 0).
  std::uint64_t known_before(Index index) const { return known_before_[index]; }
  Index known_by(Index index) const { return known_by_[index]; }

  // The positions that are certainly of some write, ascending.
  const std::vector<std::uint64_t>& taken_positions() const { return taken_; }

 private:
  void order_events();
  void find_positions();
  void collect_keys();
  void add_changes(KeyFacts& key, Index index) const;

  const History* history_;
  std::vector<Index> by_begin_;
  std::vector<Index> begin_, end_;
  std::vector<std::uint64_t> position_;
  std::vector<Index> shown_by_;
  std::vector<std::uint64_t> known_before_;
  std::vector<Index> known_by_;
  std::unordered_map<std::string_view, Index> puts_;  // by value; only looked up
  std::vector<KeyFacts> keys_;
  std::vector<std::uint64_t> taken_;
};

// Collects violations, then hands out the first ones of each rule in a fixed order.
class Report {
 public:
  explicit Report(const Facts& facts) : facts_(&facts) {}

  // `operations`: of which the message is about, first the one that shows it; never none. Each is spelled out
  // behind the text.
  void add(Rule rule, std::vector<Index> operations, std::string text);
  std::vector<Violation> take(std::size_t limit_per_rule);

 private:
  struct Found {
    Rule rule;
    std::size_t order;  // in which it was added
    std::vector<Index> operations;
    std::string text;
  };
  const Facts* facts_;
  std::vector<Found> found_;
};

// The rules, a file each. `answers` here is what a list of operations can show of it.
void check_operations(const Facts& facts, Report& report);
void check_positions(const Facts& facts, Report& report);
void check_sessions(const Facts& facts, Report& report);
void check_snapshots(const Facts& facts, Report& report);
void check_linearizability(const Facts& facts, std::uint64_t steps_per_key, Report& report);
// `contents_from`: from this operation on they are reads of the final contents.
void check_lost(const Facts& facts, Index contents_from, Report& report);

}  // namespace kv::history
