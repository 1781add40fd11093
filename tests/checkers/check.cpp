#include "tests/checkers/check.hpp"

#include <algorithm>
#include <set>

#include "tests/checkers/facts.hpp"

namespace kv::history {
namespace {

std::vector<Violation> check_all(const History& history, Index contents_from, const Limits& limits) {
  const Facts facts(history);
  Report report(facts);
  check_operations(facts, report);
  // What follows would only repeat what a history that contradicts itself leads to.
  if (std::vector<Violation> violations = report.take(limits.violations_per_rule); !violations.empty()) {
    return violations;
  }
  check_positions(facts, report);
  check_sessions(facts, report);
  check_snapshots(facts, report);
  check_linearizability(facts, limits.steps_per_key, report);
  check_lost(facts, contents_from, report);
  return report.take(limits.violations_per_rule);
}

// A server that had applied everything reads the key after the end of all.
Operation read_of(const std::string& key, const Contents& contents, const Operation& pattern) {
  Operation read = pattern;
  read.key = key;
  if (const auto item = contents.find(key); item != contents.end()) {
    read.read = item->second.value;
    read.ts = item->second.ts;
  }
  return read;
}

}  // namespace

std::string_view to_string(Rule rule) {
  switch (rule) {
    case Rule::answers:
      return "answers";
    case Rule::positions:
      return "positions";
    case Rule::freshness:
      return "freshness";
    case Rule::read_your_writes:
      return "read-your-writes";
    case Rule::monotonic_reads:
      return "monotonic-reads";
    case Rule::monotonic_writes:
      return "monotonic-writes";
    case Rule::writes_follow_reads:
      return "writes-follow-reads";
    case Rule::snapshot:
      return "snapshot";
    case Rule::linearizability:
      return "linearizability";
    case Rule::lost:
      return "lost";
    case Rule::undecided:
      break;
  }
  return "undecided";
}

std::vector<Violation> check(const History& history, const Limits& limits) {
  return check_all(history, none, limits);
}

std::vector<Violation> check(const History& history, const Contents& contents, const Limits& limits) {
  Operation pattern;
  pattern.node = "final contents";
  pattern.outcome = Outcome::ok;
  pattern.consistency = Consistency::linearizable;
  std::set<std::string> keys;
  std::uint64_t last = 0;
  for (const Operation& operation : history) {
    keys.insert(operation.key);
    last = std::max(last, operation.ended == never ? operation.invoked : operation.ended);
    pattern.applied = std::max({pattern.applied, operation.ts, operation.applied, operation.conflict.value_or(0)});
  }
  for (const auto& [key, item] : contents) {
    keys.insert(key);
    pattern.applied = std::max(pattern.applied, item.ts);
  }
  // Room for the writes whose positions nobody was told.
  pattern.applied += std::min<std::uint64_t>(history.size() + 1, never - pattern.applied);
  pattern.invoked = last + 1;
  pattern.ended = last + 2;
  History all = history;
  for (const std::string& key : keys) {
    all.push_back(read_of(key, contents, pattern));
    all.back().number = all.size() - 1;
  }
  return check_all(all, static_cast<Index>(history.size()), limits);
}

}  // namespace kv::history
