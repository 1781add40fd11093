#include <algorithm>
#include <tuple>

#include "tests/checkers/facts.hpp"

namespace kv::history {

void Report::add(Rule rule, std::vector<Index> operations, std::string text) {
  found_.push_back({rule, found_.size(), std::move(operations), std::move(text)});
}

std::vector<Violation> Report::take(std::size_t limit_per_rule) {
  const auto place = [this](const Found& found) {
    return std::make_tuple(found.rule, (*facts_)[found.operations.front()].number, found.order);
  };
  std::sort(found_.begin(), found_.end(), [&](const Found& a, const Found& b) { return place(a) < place(b); });
  std::vector<Violation> violations;
  std::size_t of_this_rule = 0;
  for (const Found& found : found_) {
    if (violations.empty() || violations.back().rule != found.rule) of_this_rule = 0;
    if (++of_this_rule > limit_per_rule) continue;
    Violation violation{found.rule, {}, found.text};
    for (const Index index : found.operations) {
      violation.operations.push_back((*facts_)[index].number);
      violation.message += (violation.operations.size() == 1 ? ": " : "; ") + spell((*facts_)[index]);
    }
    violations.push_back(std::move(violation));
  }
  return violations;
}

}  // namespace kv::history
