#include "common/json.hpp"

#include <cstdint>
#include <cstring>

#include "common/text.hpp"

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

void ViewStream::put_changed(char c) {
  if (!changed_) unescaped_.assign(string_, string_end_);
  changed_ = true;
  if (c != '\0' || *(at_ - 1) != '"') unescaped_.push_back(c);
}

StringNeeds needs_of(std::string_view text) {
  StringNeeds needs;
  const auto look_at = [&needs](std::string_view some) {
    for (const char c : some) {
      const auto byte = static_cast<unsigned char>(c);
      needs.escape_bytes += escape_bytes(byte);
      needs.not_ascii |= byte >= 0x80;
    }
  };
  std::size_t i = 0;
  std::uint64_t word;
  for (; i + sizeof word <= text.size(); i += sizeof word) {
    std::memcpy(&word, text.data() + i, sizeof word);
    if (special_bytes(word) != 0) look_at(text.substr(i, sizeof word));
    needs.not_ascii |= (word & high_bits) != 0;
  }
  look_at(text.substr(i));
  return needs;
}

void append_string(std::string& out, std::string_view text) {
  const StringNeeds needs = needs_of(text);
  StringSink sink(out);
  Writer writer(sink);
  if (needs.not_ascii && !is_valid_utf8(text)) {
    const std::string escaped = escape_control(text, text.size());
    writer.string(escaped, needs_of(escaped));
  } else {
    writer.string(text, needs);
  }
}

}  // namespace kv::json
