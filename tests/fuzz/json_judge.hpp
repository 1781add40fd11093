// A second opinion on JSON, to hold the decoders against: RFC 8259 read by the letter, one character after the
// other, with nothing in common with RapidJSON or the code under test.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace kv::fuzz {

inline void append_utf8(std::string& out, std::uint32_t c) {
  const auto put = [&out](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (c < 0x80) return put(c);
  if (c < 0x800) return put(0xc0 | c >> 6), put(0x80 | (c & 63));
  if (c < 0x10000) return put(0xe0 | c >> 12), put(0x80 | (c >> 6 & 63)), put(0x80 | (c & 63));
  put(0xf0 | c >> 18), put(0x80 | (c >> 12 & 63)), put(0x80 | (c >> 6 & 63)), put(0x80 | (c & 63));
}

// RFC 3629: each character is what encoding it gives.
inline bool is_utf8(std::string_view text) {
  while (!text.empty()) {
    const unsigned lead = static_cast<unsigned char>(text[0]);
    const std::size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    std::uint32_t c = length == 1 ? lead : lead & (0xffu >> (length + 1));
    for (const char next : text.substr(1, length - 1)) c = c << 6 | (static_cast<unsigned char>(next) & 63u);
    std::string again;
    append_utf8(again, c);
    if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff) || again != text.substr(0, length)) return false;
    text.remove_prefix(length);
  }
  return true;
}

// What a text is as JSON. It is looked at as bytes: whether it is UTF-8 is another question.
struct Judgement {
  bool sound = false;           // one JSON value and blanks, nothing else, and no half of a surrogate pair before
  bool object = false;          // it is an object
  bool repeats = false;         // some object has a name twice
  bool half_surrogate = false;  // an escape is the second half of a surrogate pair, without the first
  bool huge_number = false;     // some number is beyond what a double can hold, or may be
  bool inexact = false;         // some number is no plain integer from 0 to 2^53-1
  std::size_t depth = 0;        // of objects and arrays
  std::optional<std::uint64_t> id;  // the first "id" of the outermost object, if it is a number that may be one
  bool has_type = false;            // the outermost object has a "type"
};

class JsonJudge {
 public:
  static constexpr std::size_t max_depth = 900;  // it is recursive; what is deeper is not sound

  static Judgement judge(std::string_view text) { return JsonJudge(text).run(); }

 private:
  explicit JsonJudge(std::string_view text) : rest_(text) {}

  Judgement run() {
    blanks();
    result_.object = next() == '{';
    result_.sound = value(0);
    blanks();
    result_.sound = result_.sound && rest_.empty();
    return result_;
  }

  int next() const { return rest_.empty() ? -1 : static_cast<unsigned char>(rest_[0]); }
  bool take(std::string_view token) {
    if (!rest_.starts_with(token)) return false;
    rest_.remove_prefix(token.size());
    return true;
  }
  void blanks() {
    while (next() == ' ' || next() == '\t' || next() == '\r' || next() == '\n') rest_.remove_prefix(1);
  }

  bool value(std::size_t depth) {
    blanks();
    if (next() == '{' || next() == '[') {
      result_.depth = std::max(result_.depth, depth + 1);
      if (depth == max_depth) return false;
      return next() == '{' ? object(depth + 1) : array(depth + 1);
    }
    std::string ignored;
    if (next() == '"') return string(ignored);
    return take("true") || take("false") || take("null") || number();
  }

  bool array(std::size_t depth) {
    take("[");
    blanks();
    if (take("]")) return true;
    do {
      if (!value(depth)) return false;
      blanks();
    } while (take(","));
    return take("]");
  }

  bool object(std::size_t depth) {
    take("{");
    std::set<std::string> names;
    blanks();
    if (take("}")) return true;
    do {
      std::string name;
      blanks();
      if (!string(name)) return false;
      blanks();
      if (!take(":")) return false;
      const std::string_view before = rest_;
      if (!value(depth)) return false;
      const bool first = names.insert(name).second;
      result_.repeats = result_.repeats || !first;
      if (depth == 1 && first && name == "id") note_id(before.substr(0, before.size() - rest_.size()));
      if (depth == 1 && name == "type") result_.has_type = true;
      blanks();
    } while (take(","));
    return take("}");
  }

  void note_id(std::string_view text) {
    text.remove_prefix(std::min(text.find_first_not_of(" \t\r\n"), text.size()));
    result_.id = plain(text);
  }

  // 2^53-1 has 16 digits.
  static std::optional<std::uint64_t> plain(std::string_view number) {
    if (number.empty() || number.size() > 16) return std::nullopt;
    std::uint64_t value = 0;
    for (const char c : number) {
      if (c < '0' || c > '9') return std::nullopt;
      value = value * 10 + static_cast<std::uint64_t>(c - '0');
    }
    return value < std::uint64_t{1} << 53 ? std::optional(value) : std::nullopt;
  }

  std::size_t digits() {
    std::size_t count = 0;
    for (; next() >= '0' && next() <= '9'; ++count) rest_.remove_prefix(1);
    return count;
  }

  bool number() {
    const std::string_view before = rest_;
    if (!number_grammar()) return false;
    if (!plain(before.substr(0, before.size() - rest_.size()))) result_.inexact = true;
    return true;
  }

  bool number_grammar() {
    take("-");
    const bool zero = take("0");
    const std::size_t whole = zero ? 0 : digits();
    if (!zero && whole == 0) return false;
    if (take(".") && digits() == 0) return false;
    if (whole > 300) result_.huge_number = true;
    if (!take("e") && !take("E")) return true;
    if (!take("-")) take("+");
    const std::size_t exponent = digits();
    if (exponent > 2) result_.huge_number = true;
    return exponent > 0;
  }

  // `out` is the string without its escapes.
  bool string(std::string& out) {
    if (!take("\"")) return false;
    for (;;) {
      const int c = next();
      if (c < 0x20) return false;  // also at the end
      rest_.remove_prefix(1);
      if (c == '"') return true;
      if (c != '\\') {
        out += static_cast<char>(c);
      } else if (!escape(out)) {
        return false;
      }
    }
  }

  bool escape(std::string& out) {
    static constexpr std::string_view letters = "\"\\/bfnrt";
    static constexpr std::string_view meanings = "\"\\/\b\f\n\r\t";
    if (const std::size_t which = letters.find(static_cast<char>(next())); next() >= 0 && which != letters.npos) {
      rest_.remove_prefix(1);
      out += meanings[which];
      return true;
    }
    std::uint32_t c = 0;
    if (!take("u") || !hex(c)) return false;
    if (c >= 0xd800 && c < 0xdc00) {
      std::uint32_t low = 0;
      if (!take("\\u") || !hex(low) || low < 0xdc00 || low > 0xdfff) return false;
      c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
    } else if (c >= 0xdc00 && c < 0xe000) {
      result_.half_surrogate = true;
    }
    append_utf8(out, c);
    return true;
  }

  bool hex(std::uint32_t& value) {
    for (int i = 0; i < 4; ++i) {
      const int c = next();
      if (c >= '0' && c <= '9') {
        value = value * 16 + static_cast<std::uint32_t>(c - '0');
      } else if ((c | 32) >= 'a' && (c | 32) <= 'f') {
        value = value * 16 + static_cast<std::uint32_t>((c | 32) - 'a' + 10);
      } else {
        return false;
      }
      rest_.remove_prefix(1);
    }
    return true;
  }

  std::string_view rest_;
  Judgement result_;
};

}  // namespace kv::fuzz
