#include "common/json_text.hpp"

#include <cstring>

#include "common/utf8.hpp"

namespace kv::json {
namespace {

// By how many bytes RapidJSON's Writer makes this one longer.
std::size_t escape_bytes(unsigned char byte) {
  switch (byte) {
    case '"':
    case '\\':
    case '\b':
    case '\f':
    case '\n':
    case '\r':
    case '\t':
      return 1;
    default:
      return byte < 0x20 ? 5 : 0;
  }
}

}  // namespace

StringNeeds needs_of(std::string_view text) {
  StringNeeds needs;
  const auto look_at = [&needs](std::string_view some) {
    for (const char c : some) {
      const auto byte = static_cast<unsigned char>(c);
      needs.escape_bytes += escape_bytes(byte);
      needs.not_ascii |= byte >= 0x80;
    }
  };
  if (text.size() < sizeof(std::uint64_t)) {
    look_at(text);
    return needs;
  }
  // Nearly always nothing is found, and all is said: the last word may overlap the one before.
  const auto word_at = [text](std::size_t i) {
    std::uint64_t word;
    std::memcpy(&word, text.data() + i, sizeof word);
    return word;
  };
  const std::size_t last = text.size() - sizeof(std::uint64_t);
  std::uint64_t any = word_at(last);
  std::uint64_t special = special_bytes(any);
  for (std::size_t i = 0; i < last; i += sizeof(std::uint64_t)) {
    const std::uint64_t word = word_at(i);
    any |= word;
    special |= special_bytes(word);
  }
  needs.not_ascii = (any & high_bits) != 0;
  if (special != 0) look_at(text);
  return needs;
}

ValueForm form_of_value(std::string_view bytes) {
  constexpr std::string_view text_name = "value";
  constexpr std::string_view base64_name = "value_base64";
  const StringNeeds needs = needs_of(bytes);
  const std::size_t text_bytes = text_name.size() + bytes.size() + needs.escape_bytes;
  const std::size_t base64_bytes = base64_name.size() + (bytes.size() + 2) / 3 * 4;
  const bool is_text = text_bytes <= base64_bytes && (!needs.not_ascii || is_valid_utf8(bytes));
  return {is_text, needs, is_text ? text_bytes : base64_bytes};
}

}  // namespace kv::json
