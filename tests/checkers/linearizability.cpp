// Rule `linearizability`: runs the search for each key, and says of a key without an order where it gets stuck.
#include <algorithm>

#include "tests/checkers/key_search.hpp"

namespace kv::history {
namespace {

constexpr std::size_t most_named = 8;

// A write of a later position that was over when the blocked operation began.
Index overtaken_by(const Facts& facts, const KeyFacts& key, Index blocked) {
  const Operation& operation = facts[blocked];
  const std::uint64_t ts =
      is_write(operation) && !operation.conflict ? operation.ts : operation.conflict.value_or(operation.ts);
  for (const Index index : key.operations) {
    const bool acknowledged = is_write(facts[index]) && facts[index].outcome == Outcome::ok;
    if (acknowledged && ts != 0 && facts[index].ts > ts && facts.before(index, blocked)) return index;
  }
  return none;
}

std::string number_of(const Facts& facts, Index index) {
  return "#" + std::to_string(facts[index].number);
}

void report_blocked(const Facts& facts, const KeyFacts& key, const KeySearch::Blocked& blocked, Report& report) {
  std::vector<Index> operations{blocked.next};
  const auto name = [&](Index index) {
    const bool named = std::find(operations.begin(), operations.end(), index) != operations.end();
    if (index != none && !named && operations.size() < most_named) operations.push_back(index);
  };
  if (const Index later = overtaken_by(facts, key, blocked.next); later != none) {
    name(later);
    report.add(Rule::linearizability, std::move(operations),
               "an answer of the past: the second operation, of a later position, was over when it began");
    return;
  }
  name(blocked.last_write);
  name(blocked.next_write);
  for (const Index index : blocked.others) name(index);
  report.add(Rule::linearizability, std::move(operations),
             "no order of the key's operations explains all answers: in the longest one found " +
                 number_of(facts, blocked.next) + " can't follow, " +
                 (blocked.last_write == none ? "before any write"
                                             : "after the write " + number_of(facts, blocked.last_write)) +
                 (blocked.next_write == none ? " and with no other to come"
                                             : " and with the write " + number_of(facts, blocked.next_write) +
                                                   " of the next known position to come"));
}

void report_undecided(const KeyFacts& key, const KeySearch& search, Report& report) {
  const Index next = search.blocked().next;
  report.add(Rule::undecided, {next == none ? key.operations.front() : next},
             "no order of this key's " + std::to_string(key.operations.size()) + " operations found in " +
                 std::to_string(search.steps()) + " steps, and none excluded" +
                 (next == none ? "; its first operation" : "; the longest one tried did not get past this"));
}

}  // namespace

void check_linearizability(const Facts& facts, std::uint64_t steps_per_key, Report& report) {
  for (const KeyFacts& key : facts.keys()) {
    KeySearch search(facts, key);
    switch (search.run(steps_per_key)) {
      case KeySearch::Result::linearizable:
        break;
      case KeySearch::Result::not_linearizable:
        report_blocked(facts, key, search.blocked(), report);
        break;
      case KeySearch::Result::undecided:
        report_undecided(key, search, report);
        break;
    }
  }
}

}  // namespace kv::history
