// What a load asks for: which keys in which order, and the values that belong to them. Knows neither sockets nor
// time.
#pragma once

#include <absl/random/zipf_distribution.h>

#include <cstdint>
#include <random>
#include <string>
#include <string_view>

#include "client/options.hpp"

namespace kv::client {

// Keys are numbers here; their text is a prefix and ten digits.
class Keys {
 public:
  // 1 to 4,000,000,000 of them.
  Keys(std::string prefix, std::uint64_t count, Distribution distribution, std::uint64_t seed);

  std::uint64_t count() const { return count_; }
  // By the distribution. Those that zipf favours lie anywhere among the keys.
  std::uint64_t next();
  // Replaces what is in `text`.
  void write_name(std::uint64_t key, std::string& text) const;

 private:
  std::string prefix_;
  std::uint64_t count_;
  Distribution distribution_;
  std::mt19937_64 random_;
  std::uniform_int_distribution<std::uint64_t> uniform_;
  absl::zipf_distribution<std::uint64_t> zipf_;
  std::uint64_t step_;  // from one rank's key to the next one's
};

// Values of one size that tell which key they are of, and differ from write to write: printable text.
class Values {
 public:
  explicit Values(std::size_t size) : size_(size) {}

  // Replaces what is in `text`.
  void write(std::uint64_t key, std::string& text);
  bool belongs_to(std::uint64_t key, std::string_view value) const;

 private:
  std::size_t size_;
  std::uint64_t writes_ = 0;
};

}  // namespace kv::client
