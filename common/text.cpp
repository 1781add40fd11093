#include "common/text.hpp"

#include <absl/strings/escaping.h>
#include <uuid/uuid.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <limits>

namespace kv {
namespace {

// Debian's Abseil has a type of its own.
absl::string_view to_absl(std::string_view text) {
  return {text.data(), text.size()};
}

char32_t code_point(std::string_view character) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(character[i]); };
  if (character.size() == 1) return at(0);
  char32_t value = at(0) & (0xffu >> (character.size() + 1));
  for (std::size_t i = 1; i < character.size(); ++i) value = (value << 6) | (at(i) & 0x3f);
  return value;
}

// What a terminal or a log's reader would act upon instead of showing it: C0, DEL, C1, the line and paragraph
// separators, and the marks that reverse the direction of text.
bool must_be_escaped(char32_t c) {
  return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == '\\' || (c >= 0x2028 && c <= 0x202e) ||
         (c >= 0x2066 && c <= 0x2069);
}

void append_escape(std::string& out, char32_t c, bool is_byte) {
  static constexpr char digits[] = "0123456789abcdef";
  out += '\\';
  switch (c) {
    case '\\':
      out += '\\';
      return;
    case '\n':
      out += 'n';
      return;
    case '\r':
      out += 'r';
      return;
    case '\t':
      out += 't';
      return;
    default:
      break;
  }
  if (c < 0x80 || is_byte) {
    out += 'x';
  } else {
    out += 'u';
    out += digits[(c >> 12) & 15];
    out += digits[(c >> 8) & 15];
  }
  out += digits[(c >> 4) & 15];
  out += digits[c & 15];
}

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

// Splits "64MiB" into its number and the factor that the rest stands for.
template <std::size_t n>
std::optional<std::uint64_t> parse_with_unit(std::string_view text, const std::array<Unit, n>& units) {
  const std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  const auto number = parse_number(text.substr(0, digits));
  if (!number) return std::nullopt;
  for (const Unit& unit : units) {
    if (unit.name != text.substr(digits)) continue;
    if (*number > std::numeric_limits<std::uint64_t>::max() / unit.factor) return std::nullopt;
    return *number * unit.factor;
  }
  return std::nullopt;
}

// "1.5", "2": one decimal, cut off (what is shown is never more than there is), and none that is zero.
std::string with_one_decimal(std::uint64_t amount, std::uint64_t unit) {
  std::string text = std::to_string(amount / unit);
  const std::uint64_t tenths = amount % unit * 10 / unit;
  if (tenths != 0) text += '.' + std::to_string(tenths);
  return text;
}

}  // namespace

const char* const version = KV_VERSION;

std::string escape_control(std::string_view text, std::size_t max_bytes) {
  std::string out;
  std::size_t i = 0;
  while (i < text.size()) {
    const std::size_t length = utf8_length(text.substr(i));
    if (i + std::max<std::size_t>(length, 1) > max_bytes) {
      out += "…";
      break;
    }
    if (length == 0) {
      append_escape(out, static_cast<unsigned char>(text[i]), true);
      ++i;
      continue;
    }
    const std::string_view character = text.substr(i, length);
    if (const char32_t c = code_point(character); must_be_escaped(c)) {
      append_escape(out, c, false);
    } else {
      out += character;
    }
    i += length;
  }
  return out;
}

std::optional<std::chrono::milliseconds> parse_duration(std::string_view text) {
  static constexpr std::array<Unit, 4> units{{{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}}};
  const auto count = parse_with_unit(text, units);
  if (!count || *count > static_cast<std::uint64_t>(std::chrono::milliseconds::max().count())) return std::nullopt;
  return std::chrono::milliseconds(*count);
}

std::optional<std::uint64_t> parse_size(std::string_view text) {
  static constexpr std::array<Unit, 10> units{{{"", 1},
                                               {"B", 1},
                                               {"KiB", 1ull << 10},
                                               {"MiB", 1ull << 20},
                                               {"GiB", 1ull << 30},
                                               {"TiB", 1ull << 40},
                                               {"kB", 1000},
                                               {"MB", 1'000'000},
                                               {"GB", 1'000'000'000},
                                               {"TB", 1'000'000'000'000}}};
  return parse_with_unit(text, units);
}

std::optional<std::uint64_t> parse_number(std::string_view text) {
  if (text.empty() || (text.size() > 1 && text[0] == '0')) return std::nullopt;
  std::uint64_t number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, number);
  if (error != std::errc{} || stop != end) return std::nullopt;
  return number;
}

std::string format_size(std::uint64_t bytes) {
  static constexpr std::array<Unit, 5> units{
      {{" TiB", 1ull << 40}, {" GiB", 1ull << 30}, {" MiB", 1ull << 20}, {" KiB", 1ull << 10}, {" B", 1}}};
  for (const Unit& unit : units) {
    if (bytes >= unit.factor) return with_one_decimal(bytes, unit.factor).append(unit.name);
  }
  return "0 B";
}

std::string format_duration(std::chrono::milliseconds duration) {
  const auto ms = static_cast<std::uint64_t>(std::max<std::int64_t>(duration.count(), 0));
  const auto two = [](std::uint64_t big, const char* big_unit, std::uint64_t small, const char* small_unit) {
    std::string text = std::to_string(big) + big_unit;
    if (small != 0) text += ' ' + std::to_string(small) + small_unit;
    return text;
  };
  const std::uint64_t seconds = ms / 1000;
  const std::uint64_t minutes = seconds / 60;
  const std::uint64_t hours = minutes / 60;
  if (seconds == 0) return std::to_string(ms) + "ms";
  if (minutes == 0) return with_one_decimal(ms, 1000) + "s";
  if (hours == 0) return two(minutes, "m", seconds % 60, "s");
  if (hours < 24) return two(hours, "h", minutes % 60, "m");
  return two(hours / 24, "d", hours % 24, "h");
}

std::string new_uuid() {
  uuid_t uuid;
  uuid_generate_random(uuid);
  std::array<char, UUID_STR_LEN> text{};
  uuid_unparse_lower(uuid, text.data());
  return std::string(text.data());
}

// Not libuuid's parser, which takes 120 ns: every write of a session is asked this.
bool is_uuid(std::string_view text) {
  if (text.size() != UUID_STR_LEN - 1) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    const bool hex = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
    if (dash ? c != '-' : !hex) return false;
  }
  return true;
}

std::string base64_encode(std::string_view bytes) {
  return absl::Base64Escape(to_absl(bytes));
}

// Abseil passes over blanks and wants neither padding nor zeros in the bits that are left over: so the length must
// be that of all characters, and the last ones what they would be written as.
std::optional<std::string> base64_decode(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  if (text.empty()) return "";
  const std::size_t padding = text.ends_with("==") ? 2 : text.ends_with('=') ? 1 : 0;
  std::string out;
  if (!absl::Base64Unescape(to_absl(text), &out) || out.size() != text.size() / 4 * 3 - padding)
    return std::nullopt;
  const std::string_view last = std::string_view(out).substr(out.size() - (3 - padding));
  if (base64_encode(last) != text.substr(text.size() - 4)) return std::nullopt;
  return out;
}

}  // namespace kv
