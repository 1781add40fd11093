// Rule `answers`, as far as it shows in a list of operations: what an operation says of itself must fit together.
#include "tests/checkers/facts.hpp"

namespace kv::history {
namespace {

// Why the operation can't be what a client saw; nullptr: it can.
const char* impossible(const Operation& operation) {
  const bool ok = operation.outcome == Outcome::ok;
  const bool read = operation.function == Function::get;
  if (operation.ended == never && operation.outcome != Outcome::info) return "an answer that never came";
  if (operation.ended < operation.invoked) return "ended before it began";
  if (operation.conflict && (read || operation.outcome != Outcome::fail))
    return "a conflict that is no failed write";
  if (operation.conflict && !operation.if_ts) return "a conflict with no condition";
  if (operation.if_ts && read) return "a read with a condition";
  if (operation.read && !(ok && read)) return "a value read by what is no answered read";
  if (operation.found && !(ok && operation.function == Function::del)) return "found by what is no answered delete";
  return nullptr;
}

}  // namespace

void check_operations(const Facts& facts, Report& report) {
  for (const Index index : facts.by_begin()) {
    const Operation& operation = facts[index];
    if (const char* problem = impossible(operation)) report.add(Rule::answers, {index}, problem);
    if (operation.function != Function::put) continue;
    if (const Index first = facts.writer_of(operation.value); first != index) {
      report.add(Rule::answers, {index, first}, "two puts write one value, so a read of it tells nothing");
    }
  }
}

}  // namespace kv::history
