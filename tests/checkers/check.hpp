// The checkers: whether a history is one that the store's promises allow (docs/protocol.md).
//
// check() is a function of its arguments, so equal histories give equal answers, in the same order. It reports
// nothing on a history that a right store could have produced, whatever the operations' intervals, and each
// rule below is decided completely as far as it is stated. It keeps nothing and owns nothing.
//
// It takes the history's facts for true: that values are unique, that a `fail` is a `fail`. Where an operation
// contradicts itself, or two puts write one value, rule `answers` says so, and no other rule is looked at.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "tests/checkers/history.hpp"

namespace kv::history {

enum class Rule {
  // One final answer per operation, none without an invoke, times that do not go back, members that belong.
  answers,
  // A position is of one write, a value of one position and one key; nothing is read that was not written, or
  // before it was written; a write's position is above all that was known before it began, and a linearizable
  // read's `applied` is not below; a value's ts is not above the read's `applied`.
  positions,
  // A session read's `applied` is not below the position it asked for.
  freshness,
  // The session guarantees: per session, of what ended before the operation began.
  read_your_writes,
  monotonic_reads,
  monotonic_writes,
  writes_follow_reads,
  // What any read returned is the key's state at position `applied`, as far as the known writes tell.
  snapshot,
  // Writes, conflicts and linearizable reads of a key have one order that explains all answers, in which the
  // writes' positions grow.
  linearizability,
  // The end state shows each key's last acknowledged write, unless a write of unknown outcome explains it.
  lost,
  // Linearizability could not be decided within Limits::steps: neither shown nor refuted.
  undecided,
};
std::string_view to_string(Rule rule);

struct Violation {
  Rule rule = Rule::answers;
  std::vector<std::uint64_t> operations;  // their numbers, first the one that shows it
  std::string message;                    // a sentence, with the operations spelled out
};

struct Limits {
  std::size_t violations_per_rule = 5;    // the first ones; the others are not reported
  std::uint64_t steps_per_key = 500'000;  // of the search for an order: about a second
};

// What the store holds at the end, after all operations: a key that is not listed is absent.
struct Item {
  std::string value;
  std::uint64_t ts = 0;
};
using Contents = std::map<std::string, Item>;

// Empty: no rule is broken. Ordered by rule, in the order above, then by operation.
// The contents count as linearizable reads of all keys after the history's end; a Violation numbers them from
// the history's size on, in the order of the keys.
std::vector<Violation> check(const History& history, const Limits& limits = {});
std::vector<Violation> check(const History& history, const Contents& contents, const Limits& limits = {});

}  // namespace kv::history
