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
  // Nearly always nothing is found, and all is said. The last piece may overlap the one before.
  std::uint64_t special = 1;
  std::uint64_t any = 0;
  if (text.size() >= sizeof(Bytes16)) {
    const std::size_t last = text.size() - sizeof(Bytes16);
    Bytes16 all = bytes_at(text.data() + last);
    Bytes16 specials = special_bytes(all);
    for (std::size_t i = 0; i < last; i += sizeof(Bytes16)) {
      const Bytes16 bytes = bytes_at(text.data() + i);
      all |= bytes;
      specials |= special_bytes(bytes);
    }
    any = folded(all);
    special = folded(specials);
  } else if (text.size() >= sizeof any) {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
    std::memcpy(&first, text.data(), sizeof first);
    std::memcpy(&last, text.data() + text.size() - sizeof last, sizeof last);
    any = first | last;
    special = special_bytes(first) | special_bytes(last);
  }
  needs.not_ascii = (any & high_bits) != 0;
  if (special == 0) return needs;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    needs.escape_bytes += escape_bytes(byte);
    needs.not_ascii |= byte >= 0x80;
  }
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
