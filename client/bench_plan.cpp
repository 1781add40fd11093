#include "client/bench_plan.hpp"

#include <algorithm>
#include <utility>

namespace kv::client {
namespace {

// The same for each load of the same shape, so that two runs ask the same.
constexpr std::uint64_t seed = 1;

std::vector<std::string> series_of(BenchWork work) {
  if (work == BenchWork::follow) return {"put", "get after put", "get again"};
  return {"put", "get"};
}

}  // namespace

BenchPlan::BenchPlan(const BenchCommand& what, message::Consistency how, std::shared_ptr<Call> caller)
    : command(what),
      consistency(how),
      call(std::move(caller)),
      seen(what.keys, 0),
      keys(what.prefix, what.keys, what.distribution, seed),
      values(what.value_bytes),
      tally(series_of(what.work), what.count > 0),
      random_(seed),
      left_(what.count) {}

std::optional<BenchPlan::Step> BenchPlan::next(Clock::time_point due) {
  if (over_ || has_asked_all()) return std::nullopt;
  if (left_ > 0 && tally.is_measured(due)) --left_;
  Step step;
  step.is_put =
      command.work == BenchWork::put || (command.work == BenchWork::mixed && random_() % 100 >= command.reads);
  step.key = keys.next();
  return step;
}

void BenchPlan::finish(Clock::time_point now) {
  over_ = true;
  tally.end(now);
}

void BenchPlan::done() {
  --under_way_;
  if (under_way_ == 0 && (over_ || has_asked_all())) call->wake();
}

std::uint64_t BenchPlan::version_of(std::uint64_t key) const {
  return consistency == message::Consistency::local ? 0 : seen[key];
}

void BenchPlan::learn(std::uint64_t key, std::uint64_t ts) {
  seen[key] = std::max(seen[key], ts);
}

}  // namespace kv::client
