// Numbers in the formats of files: their bytes with the lowest first, whatever the machine. Depends on nothing.
#pragma once

#include <bit>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>

namespace kv {

// Appends `value`, which an Unsigned can hold.
template <class Unsigned>
void append_number(std::string& out, std::uint64_t value) {
  assert(value <= std::numeric_limits<Unsigned>::max());
  char bytes[sizeof(Unsigned)];
  if constexpr (std::endian::native == std::endian::little) {
    const auto number = static_cast<Unsigned>(value);
    std::memcpy(bytes, &number, sizeof number);
  } else {
    for (std::size_t i = 0; i < sizeof bytes; ++i) bytes[i] = static_cast<char>(value >> (8 * i));
  }
  out.append(bytes, sizeof bytes);
}

// The Unsigned with which `bytes` begins; 0 if there are too few.
template <class Unsigned>
Unsigned read_number(std::string_view bytes) {
  Unsigned value = 0;
  if (bytes.size() < sizeof value) return 0;
  if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(&value, bytes.data(), sizeof value);
  } else {
    for (std::size_t i = 0; i < sizeof value; ++i) {
      value |= static_cast<Unsigned>(static_cast<Unsigned>(static_cast<unsigned char>(bytes[i])) << (8 * i));
    }
  }
  return value;
}

}  // namespace kv
