// What the fuzz targets share: taking decisions from the input, and saying which promise was broken.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

namespace kv::fuzz {

// A promise that must hold for every input. Says what was promised and aborts: libFuzzer keeps the input.
inline void require(bool holds, std::string_view promise) {
  if (holds) return;
  std::fprintf(stderr, "PROMISE BROKEN: %.*s\n", static_cast<int>(promise.size()), promise.data());
  std::abort();
}

// Takes the input apart from front to back, so that a seed can be written by hand. Behind its end there are zeros
// without number.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

  bool empty() const { return rest_.empty(); }
  std::uint8_t byte() { return static_cast<std::uint8_t>(number(1)); }
  // Two bytes, the lower first.
  std::uint16_t word() { return static_cast<std::uint16_t>(number(2)); }
  // 0 to bound - 1.
  std::uint64_t below(std::uint64_t bound) { return (bound <= 256 ? byte() : word()) % bound; }
  // At most `size` bytes: what is left.
  std::string_view bytes(std::size_t size) {
    const std::string_view piece = rest_.substr(0, size);
    rest_.remove_prefix(piece.size());
    return piece;
  }
  std::string_view all() { return bytes(rest_.size()); }

 private:
  unsigned number(std::size_t size) {
    unsigned value = 0;
    const std::string_view piece = bytes(size);
    for (std::size_t i = 0; i < piece.size(); ++i)
      value |= unsigned{static_cast<unsigned char>(piece[i])} << (8 * i);
    return value;
  }

  std::string_view rest_;
};

}  // namespace kv::fuzz
