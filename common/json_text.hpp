// How long strings and values are in JSON, and which form a value takes. Knows no JSON library: the replicated
// state depends on it (a TXN whose answer would be too long for a frame is refused by all servers alike).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace kv::json {

inline constexpr std::uint64_t every_byte = 0x0101010101010101u;
inline constexpr std::uint64_t high_bits = 0x80 * every_byte;

// Not 0 if a byte of the word is below 0x20, '"' or '\\'. (Which one can be seen of the lowest alone.)
constexpr std::uint64_t special_bytes(std::uint64_t word) {
  const auto below = [](std::uint64_t w, std::uint64_t limit) { return (w - limit * every_byte) & ~w; };
  return (below(word, 0x20) | below(word ^ ('"' * every_byte), 1) | below(word ^ ('\\' * every_byte), 1)) &
         high_bits;
}

// Sixteen bytes at once, on whatever the processor has for that.
using Bytes16 [[gnu::vector_size(16)]] = unsigned char;

inline Bytes16 bytes_at(const char* at) {
  Bytes16 bytes;
  std::memcpy(&bytes, at, sizeof bytes);
  return bytes;
}
// In each place not 0 if the byte there is one of those.
inline Bytes16 special_bytes(Bytes16 bytes) {
  return Bytes16(bytes < 0x20) | Bytes16(bytes == '"') | Bytes16(bytes == '\\');
}
// The two halves in one.
inline std::uint64_t folded(Bytes16 bytes) {
  std::uint64_t halves[2];
  std::memcpy(halves, &bytes, sizeof halves);
  return halves[0] | halves[1];
}

// The first of these, or `end`.
inline const char* first_special(const char* at, const char* end) {
  static_assert(std::endian::native == std::endian::little);
  while (end - at >= 16 && folded(special_bytes(bytes_at(at))) == 0) at += 16;
  std::uint64_t word = 0;
  for (; static_cast<std::size_t>(end - at) >= sizeof word; at += sizeof word) {
    std::memcpy(&word, at, sizeof word);
    if (const std::uint64_t special = special_bytes(word); special != 0) return at + std::countr_zero(special) / 8;
  }
  while (at != end && static_cast<unsigned char>(*at) >= 0x20 && *at != '"' && *at != '\\') ++at;
  return at;
}

// Copies `text` to where there is room for it. True: it is ASCII with nothing to be escaped, as nearly all is.
inline bool copy_plain(std::string_view text, char* to) {
  const char* const from = text.data();
  if (text.size() >= sizeof(Bytes16)) {
    const std::size_t last = text.size() - sizeof(Bytes16);
    Bytes16 all{};
    Bytes16 specials{};
    const auto copy = [&](std::size_t at) {
      const Bytes16 bytes = bytes_at(from + at);
      std::memcpy(to + at, &bytes, sizeof bytes);
      all |= bytes;
      specials |= special_bytes(bytes);
    };
    for (std::size_t at = 0; at < last; at += sizeof(Bytes16)) copy(at);
    copy(last);  // which may overlap the one before
    return folded(specials) == 0 && (folded(all) & high_bits) == 0;
  }
  if (text.size() >= sizeof(std::uint64_t)) {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    const std::size_t last_at = text.size() - sizeof last;
    std::memcpy(&first, from, sizeof first);
    std::memcpy(&last, from + last_at, sizeof last);
    std::memcpy(to, &first, sizeof first);
    std::memcpy(to + last_at, &last, sizeof last);
    return (special_bytes(first) | special_bytes(last) | ((first | last) & high_bits)) == 0;
  }
  bool is_plain = true;
  for (std::size_t at = 0; at < text.size(); ++at) {
    const auto byte = static_cast<unsigned char>(from[at]);
    to[at] = from[at];
    is_plain &= byte >= 0x20 && byte < 0x80 && byte != '"' && byte != '\\';
  }
  return is_plain;
}

// What a string needs before it can stand in JSON.
struct StringNeeds {
  std::size_t escape_bytes = 0;  // by how many bytes escaping makes it longer
  bool not_ascii = false;        // so that it has to be looked at as UTF-8
};
StringNeeds needs_of(std::string_view text);

// "value" or "value_base64" (docs/protocol.md): base64 for what is not valid UTF-8, and where it is shorter.
struct ValueForm {
  bool is_text = false;
  StringNeeds needs;      // of the text
  std::size_t bytes = 0;  // of the member's name and the string, without quotes
};
ValueForm form_of_value(std::string_view bytes);

}  // namespace kv::json
