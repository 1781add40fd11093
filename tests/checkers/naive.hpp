// Linearizability of one key by trying everything, for the tests of the search: for very small histories only.
//
// The specification is that of key_search.hpp, but nothing is deduced: each order that time allows is tried, each
// subset of the writes of unknown outcome, and each position that they could have.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "tests/checkers/history.hpp"

namespace kv::history {

class NaiveSearch {
 public:
  explicit NaiveSearch(const History& history) : history_(history), placed_(history.size(), false) {
    for (const Operation& operation : history) {
      highest_ = std::max({highest_, operation.ts, operation.conflict.value_or(0), operation.if_ts.value_or(0)});
    }
    highest_ += history.size();
  }

  bool linearizable() { return go_on({}); }

 private:
  struct State {
    std::optional<std::string> value;
    std::uint64_t ts = 0;
    std::uint64_t last_position = 0;
  };

  static bool is_write(const Operation& operation) { return operation.function != Function::get; }

  // Whether it must be in the order, may be, or is not looked at.
  enum class Part { must, may, neither };
  static Part part_of(const Operation& operation) {
    if (is_write(operation)) {
      if (operation.outcome == Outcome::info) return Part::may;
      return operation.outcome == Outcome::ok || operation.conflict ? Part::must : Part::neither;
    }
    const bool counts = operation.outcome == Outcome::ok && operation.consistency == Consistency::linearizable;
    return counts ? Part::must : Part::neither;
  }

  static bool before(const Operation& a, const Operation& b) {
    return part_of(a) == Part::must && a.ended <= b.invoked && b.ended > a.invoked;
  }

  bool may_be_next(std::size_t candidate) const {
    for (std::size_t i = 0; i < history_.size(); ++i) {
      if (!placed_[i] && i != candidate && before(history_[i], history_[candidate])) return false;
    }
    return true;
  }

  bool go_on(const State& state) {
    bool complete = true;
    for (std::size_t i = 0; i < history_.size(); ++i) {
      if (!placed_[i] && part_of(history_[i]) == Part::must) complete = false;
    }
    if (complete) return true;
    for (std::size_t i = 0; i < history_.size(); ++i) {
      if (placed_[i] || part_of(history_[i]) == Part::neither || !may_be_next(i)) continue;
      placed_[i] = true;
      const bool found = place(history_[i], state);
      placed_[i] = false;
      if (found) return true;
    }
    return false;
  }

  bool place(const Operation& operation, const State& state) {
    if (!is_write(operation)) return operation.read == state.value && operation.ts == state.ts && go_on(state);
    if (operation.conflict) {
      return operation.if_ts && operation.if_ts != state.ts && operation.conflict == state.ts && go_on(state);
    }
    if (operation.if_ts && operation.if_ts != state.ts) return false;
    if (operation.outcome == Outcome::ok) return write(operation, state, operation.ts);
    for (std::uint64_t ts = state.last_position + 1; ts <= highest_; ++ts) {
      if (write(operation, state, ts)) return true;
    }
    return false;
  }

  bool write(const Operation& operation, const State& state, std::uint64_t ts) {
    if (ts <= state.last_position) return false;
    if (operation.function == Function::put) return go_on({operation.value, ts, ts});
    if (operation.outcome == Outcome::ok && operation.found != state.value.has_value()) return false;
    return go_on({std::nullopt, 0, ts});
  }

  const History& history_;
  std::vector<bool> placed_;
  std::uint64_t highest_ = 0;
};

}  // namespace kv::history
