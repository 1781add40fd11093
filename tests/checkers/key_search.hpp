// The search for one order of a key's operations that explains all answers: after Wing & Gong ("Testing and
// verifying concurrent objects") and Lowe ("Testing for linearizability"), with what positions tell.
//
// The specification: a key is absent, or holds a value and the position (ts) of the put that wrote it. Each write
// that is applied gets a position, an integer greater than that of every write before it on the key. A condition
// compares the key's ts, 0 if it is absent. A write of unknown outcome may be applied at any time from its
// beginning on, or never; it must have been where its value was read.
//
// What makes it fast. Writes with known positions have one order. A read or a conflict changes nothing, so it is
// placed as soon as it fits. What is left to choose is when, if ever, a write of unknown position is applied; those
// of one kind are alike, and one is of use only where it enables what follows at once. On a history whose writes
// are all known the search never goes back further than operations overlap.
//
// A value: give it the facts, call run() once, then ask.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_set>
#include <vector>

#include "tests/checkers/facts.hpp"

namespace kv::history {

class KeySearch {
 public:
  enum class Result { linearizable, not_linearizable, undecided };

  KeySearch(const Facts& facts, const KeyFacts& key);

  // `most_steps`: how many choices are tried; with more needed it is undecided.
  Result run(std::uint64_t most_steps);

  std::uint64_t steps() const { return steps_; }  // that were needed
  // Of the longest order that was found, where none is complete. The operation that had to come next, but could
  // not; the last write of known position that had been applied (none: no write yet); the write whose position
  // comes next (none: no more); and the others that might have come next.
  struct Blocked {
    Index next = none;
    Index last_write = none;
    Index next_write = none;
    std::vector<Index> others;
  };
  const Blocked& blocked() const { return blocked_; }

 private:
  static constexpr std::uint64_t absent = 0;
  static constexpr std::uint64_t unseen = never;  // the ts of a put that no answer has told so far

  struct State {
    std::uint64_t ts = absent;
    Index writer = none;       // of the value, if anybody read it
    std::uint64_t lowest = 0;  // the last write's position; if it is not known, the lowest that it may have
  };

  // What certainly is in the order: a write of known position, an answered linearizable read, a conflict.
  struct Step {
    Index operation = none;
    Index begin = 0, end = none;
    bool is_write = false;
    std::uint64_t ts = 0;  // of the write, or what is observed
    Index writer = none;   // of the value that is observed
    bool possible = true;  // false: no state is as is observed
  };
  using Place = std::uint32_t;  // in steps_in_order_

  // Writes of unknown position that differ in nothing but their beginning. Any that is there will do, so the
  // earliest are used first.
  struct Kind {
    Function function = Function::put;
    std::optional<std::uint64_t> if_ts;
    std::vector<Index> begins;
    std::size_t used = 0;
  };

  struct Option {
    enum class What : std::uint8_t { known_write, unknown_write, resolve } what;
    std::uint64_t argument;  // the kind's place, or the ts of the put that was unseen
  };

  // A configuration with choices, to come back to.
  struct Frame {
    std::size_t trail;  // how much of trail_ belongs to it
    State state;
    Place highest_removed;
    std::size_t options, next, end;  // in options_
  };

  // Either a step was placed or a kind used: to be undone.
  struct Undo {
    bool is_kind;
    Place place;
  };

  void add_step(const Facts& facts, Index index);
  void add_unknown(const Facts& facts, Index index);
  void link();

  bool holds(const std::optional<std::uint64_t>& if_ts, const State& state) const;
  bool allows(const Step& write, const State& state) const;
  bool matches(const Step& step, const State& state) const;
  State after(const Step& write) const;
  State after(const Kind& kind, const State& state) const;

  bool leaves_nothing_behind(std::size_t write) const;
  Index find_candidates();
  bool place_observations();
  void add_options();
  bool is_of_use(const State& before);
  bool apply(const Option& option);
  void remove(Place place);
  void go_back(const Frame& frame);
  bool try_next_option();
  std::string configuration() const;
  void note_blocked();

  const Facts* facts_;
  std::vector<Step> steps_in_order_;  // by their beginning
  std::vector<Place> writes_;         // in the order of their positions
  // For each of writes_: the observations of positions from the write before it on, up to its own.
  std::vector<std::vector<Place>> observed_before_;
  std::vector<Kind> kinds_;
  std::vector<Place> next_, previous_;  // the list of those not placed; the last place is its head and its end
  std::vector<bool> removed_;
  State state_;
  std::size_t next_write_ = 0;  // in writes_
  std::size_t placed_ = 0;
  Place highest_removed_ = 0;
  std::vector<Place> candidates_;  // may come next, as far as time goes
  Index deadline_ = none;          // when the first of them ends: what began before it may come next

  std::vector<Undo> trail_;
  std::vector<Option> options_;
  std::vector<Frame> frames_;
  std::unordered_set<std::string> dead_;  // configurations that lead nowhere
  std::uint64_t steps_ = 0, most_steps_ = 0;
  std::size_t most_placed_ = 0;
  Blocked blocked_;
};

}  // namespace kv::history
