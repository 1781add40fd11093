// Random numbers, and what is drawn with them. Own generator (xoshiro256**, Blackman & Vigna) and own
// distributions, in whole numbers only: the standard distributions differ between libraries, and a seed has to
// mean the same run everywhere.
//
// Never draw twice in one expression: the order of evaluation differs between compilers.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace kv::sim {

class Random {
 public:
  explicit Random(std::uint64_t seed) {
    for (std::uint64_t& word : state_) word = split_mix(seed);
  }

  std::uint64_t next() {
    const std::uint64_t result = rotate(state_[1] * 5, 7) * 9;
    const std::uint64_t shifted = state_[1] << 17;
    state_[2] ^= state_[0];
    state_[3] ^= state_[1];
    state_[1] ^= state_[2];
    state_[0] ^= state_[3];
    state_[2] ^= shifted;
    state_[3] = rotate(state_[3], 45);
    return result;
  }

  // 0 … limit-1. The bias is below 2^-32 for the limits that are used here.
  std::uint64_t below(std::uint64_t limit) { return next() % limit; }
  // low … high, both included.
  std::uint64_t between(std::uint64_t low, std::uint64_t high) { return low + below(high - low + 1); }
  bool percent(std::uint64_t chance) { return below(100) < chance; }
  bool one_in(std::uint64_t n) { return below(n) == 0; }
  // About `usual`, seldom many times as much: each doubling is four times rarer.
  std::uint64_t skewed(std::uint64_t usual) {
    std::uint64_t most = usual;
    while (one_in(4) && most < 64 * usual) most *= 2;
    return most / 2 + below(most / 2 + 1);
  }
  template <class T>
  const T& pick(const std::vector<T>& items) {
    return items[below(items.size())];
  }

 private:
  static std::uint64_t rotate(std::uint64_t x, int bits) { return (x << bits) | (x >> (64 - bits)); }
  static std::uint64_t split_mix(std::uint64_t& seed) {
    std::uint64_t z = (seed += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  std::array<std::uint64_t, 4> state_{};
};

}  // namespace kv::sim
