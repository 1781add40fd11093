// Counts of durations, in buckets whose width is less than a hundredth of what they hold: enough for percentiles of
// any number of samples in a few KiB, whatever their range.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace kv::client {

class Histogram {
 public:
  using Duration = std::chrono::nanoseconds;

  Histogram();
  // What is negative counts as 0, what is longer than an hour as an hour.
  void record(Duration duration);

  std::uint64_t count() const { return count_; }
  // The shortest duration that so large a part of the samples does not exceed: 0.5 is the median. Rounded up to the
  // end of its bucket, but never above max(). 0 without samples.
  Duration percentile(double part) const;
  Duration mean() const;
  Duration max() const { return Duration(max_); }

 private:
  std::vector<std::uint64_t> counts_;
  std::uint64_t count_ = 0;
  std::uint64_t sum_ = 0;
  std::uint64_t max_ = 0;
};

}  // namespace kv::client
