#include "client/histogram.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

namespace kv::client {
namespace {

// Values below 2 x 128 have a bucket each; from there on every doubling has 128 of them.
constexpr unsigned half_bits = 7;
constexpr std::uint64_t longest = 3'600'000'000'000;  // ns

unsigned shift_of(std::uint64_t value) {
  const unsigned width = static_cast<unsigned>(std::bit_width(value));
  return width > half_bits + 1 ? width - (half_bits + 1) : 0;
}

std::size_t bucket_of(std::uint64_t value) {
  const unsigned shift = shift_of(value);
  return (static_cast<std::size_t>(shift) << half_bits) + static_cast<std::size_t>(value >> shift);
}

std::uint64_t last_of_bucket(std::size_t bucket) {
  if (bucket < (2u << half_bits)) return bucket;
  const std::size_t shift = (bucket >> half_bits) - 1;
  const std::uint64_t top = bucket - (shift << half_bits);
  return ((top + 1) << shift) - 1;
}

}  // namespace

Histogram::Histogram() : counts_(bucket_of(longest) + 1) {}

void Histogram::record(Duration duration) {
  const auto value =
      static_cast<std::uint64_t>(std::clamp<std::int64_t>(duration.count(), 0, static_cast<std::int64_t>(longest)));
  ++counts_[bucket_of(value)];
  ++count_;
  sum_ += value;
  max_ = std::max(max_, value);
}

Histogram::Duration Histogram::percentile(double part) const {
  if (count_ == 0) return Duration(0);
  const auto wanted = std::max<std::uint64_t>(
      1, static_cast<std::uint64_t>(std::ceil(std::clamp(part, 0.0, 1.0) * static_cast<double>(count_))));
  std::uint64_t passed = 0;
  std::size_t bucket = 0;
  while ((passed += counts_[bucket]) < std::min(wanted, count_)) ++bucket;
  return Duration(std::min(last_of_bucket(bucket), max_));
}

Histogram::Duration Histogram::mean() const {
  return Duration(count_ == 0 ? 0 : sum_ / count_);
}

}  // namespace kv::client
