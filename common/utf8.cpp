#include "common/utf8.hpp"

#include <cstdint>
#include <cstring>

namespace kv {
namespace {

bool is_continuation(unsigned char byte) {
  return (byte & 0xc0) == 0x80;
}

}  // namespace

std::size_t utf8_length(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = at(0);
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  const std::size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  if (text.size() < length) return 0;
  // The second byte alone decides about overlong forms, surrogates and the upper end.
  const unsigned char low = lead == 0xe0 ? 0xa0 : lead == 0xf0 ? 0x90 : 0x80;
  const unsigned char high = lead == 0xed ? 0x9f : lead == 0xf4 ? 0x8f : 0xbf;
  if (at(1) < low || at(1) > high) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if (!is_continuation(at(i))) return 0;
  }
  return length;
}

// Of the ASCII with which the text begins: all of it, or what is in whole words.
std::size_t ascii_length(std::string_view text) {
  std::uint64_t words[2] = {};
  std::size_t i = 0;
  const auto is_ascii = [&] { return ((words[0] | words[1]) & 0x8080808080808080u) == 0; };
  for (; i + sizeof words <= text.size(); i += sizeof words) {
    std::memcpy(words, text.data() + i, sizeof words);
    if (!is_ascii()) return i;
  }
  words[0] = words[1] = 0;
  if (i != text.size()) std::memcpy(words, text.data() + i, text.size() - i);
  return is_ascii() ? text.size() : i;
}

bool is_valid_utf8(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    i += ascii_length(text.substr(i));  // nearly all text is
    if (i == text.size()) break;
    const std::size_t length = utf8_length(text.substr(i));
    if (length == 0) return false;
    i += length;
  }
  return true;
}

}  // namespace kv
