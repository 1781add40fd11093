#include "client/bench_tally.hpp"

#include <algorithm>

namespace kv::client {

BenchTally::BenchTally(const std::vector<std::string>& series, bool by_due) : by_due_(by_due) {
  for (const std::string& name : series) series_.push_back({name, 0, Histogram()});
}

double BenchTally::seconds(Clock::time_point now) const {
  if (now <= began_) return 0;
  return std::chrono::duration<double>(std::min(now, ended_) - began_).count();
}

void BenchTally::right(std::size_t series, Clock::time_point due, Clock::time_point now) {
  if (is_measured(by_due_ ? due : now)) ++series_[series].right;
  if (is_measured(due) || is_measured(now)) series_[series].latency.record(now - due);
}

void BenchTally::other(std::string_view what, Clock::time_point when, std::uint64_t count) {
  if (!is_measured(when) || count == 0) return;
  const auto found = others_.find(what);
  if (found != others_.end()) {
    found->second += count;
  } else {
    others_.emplace(std::string(what), count);
  }
}

std::uint64_t BenchTally::total_right() const {
  std::uint64_t total = 0;
  for (const BenchSeries& series : series_) total += series.right;
  return total;
}

}  // namespace kv::client
