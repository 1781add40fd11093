// JSON -> messages, the usual way: a visitor of describe() (message_fields.hpp) that expects the text to be just
// what the encoder would have written, member after member, and reads each where it stands. Private to
// common/message_decode.cpp.
//
// It takes nothing that the Decoder would not, and makes the same of it. Anything else it leaves to that: other
// orders, more spaces, escapes, values in base64, members that it does not know, and all that is wrong. So it says
// no more than that a text is not usual.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/json_text.hpp"
#include "common/message.hpp"
#include "common/message_fields.hpp"
#include "common/text.hpp"

namespace kv::message {

class UsualReader {
 public:
  // `frame` is valid UTF-8, and outlives the reader.
  UsualReader(std::string_view frame, std::size_t max_value)
      : at_(frame.data()), end_(at_ + frame.size()), max_value_(max_value) {}

  // Fills the message, of which `body` is the part that depends on the type. False: the text is not usual, and the
  // message is to be made anew.
  template <class Message, class Body>
  bool read(Message& message, Body& body, std::optional<std::uint64_t>& id) {
    begin_object();
    begin_type(body);
    if (usual_ && member("id")) read_value(id.emplace(), Rule::none);
    describe(*this, message);
    end_object();
    return usual_ && at_ == end_;
  }

  [[gnu::always_inline]] void required(std::string_view name, auto& field, Rule rule = Rule::none) {
    if (!usual_) return;
    if (member(name)) return read_value(field, rule);
    if (!in_group_) return fail();
    group_lacks_ = true;
  }
  void standard(std::string_view name, auto& field, Rule rule = Rule::none) { optional(name, field, rule); }
  [[gnu::always_inline]] void optional(std::string_view name, auto& field, Rule rule = Rule::none) {
    if (usual_ && member(name)) read_value(field, rule);
  }
  void constant(std::string_view name, std::string_view text, std::string_view) {
    if (!usual_ || !member(name) || string() != text) fail();
  }
  void constant(std::string_view name, std::uint64_t number, std::string_view) {
    std::uint64_t there = 0;
    required(name, there);
    if (there != number) fail();
  }
  void refused(std::string_view name, std::string_view, std::string_view) {
    if (usual_ && member(name)) fail();
  }
  void value(auto& bytes) {
    if (!usual_) return;
    if (!member("value")) return fail();
    read_bytes(bytes);
  }
  void value_if_any(std::optional<std::string>& bytes) {
    if (usual_ && member("value")) read_bytes(bytes);
  }
  void demand(bool holds, std::string_view) {
    if (!holds) fail();
  }

  template <class T>
  void group(std::optional<T>& members) {
    if (!usual_) return;
    const char* const before = at_;
    in_group_ = true;
    group_lacks_ = false;
    describe(*this, members.emplace());
    in_group_ = false;
    if (at_ == before) {
      members.reset();
    } else if (group_lacks_) {
      fail();
    }
  }

 private:
  void fail() { usual_ = false; }

  // ---- What is between values

  void take(char c) {
    if (at_ == end_ || *at_ != c) return fail();
    ++at_;
  }
  void begin_object() {
    take('{');
    follows_ = false;
  }
  void end_object() {
    if (usual_) take('}');
    follows_ = true;
  }
  // Whether the next member is this one; then its value comes next. Many a language writes a space behind commas
  // and colons.
  [[gnu::always_inline]] bool member(std::string_view name) {
    const char* at = at_;
    if (static_cast<std::size_t>(end_ - at) < name.size() + 6) return false;
    if (follows_ && *at++ != ',') return false;
    if (follows_ && *at == ' ') ++at;
    if (*at++ != '"' || std::memcmp(at, name.data(), name.size()) != 0) return false;
    at += name.size();
    if (at[0] != '"' || at[1] != ':') return false;
    at_ = at[2] == ' ' ? at + 3 : at + 2;
    follows_ = true;
    return true;
  }
  // The "type", with which an object begins.
  template <class Variant>
  void begin_type(Variant& body) {
    if (!usual_ || !member("type") || !emplace_named(string(), body)) fail();
  }

  // ---- Values

  // Of which nothing is an escape; empty after a failure.
  std::string_view string() {
    take('"');
    if (!usual_) return {};
    const char* const begin = at_;
    at_ = json::first_special(begin, end_);
    if (at_ == end_ || *at_ != '"') {
      fail();
      return {};
    }
    return {begin, static_cast<std::size_t>(at_++ - begin)};
  }

  void read_value(std::uint64_t& field, Rule rule) {
    constexpr std::ptrdiff_t most_digits = std::numeric_limits<std::uint64_t>::digits10;
    const char* const begin = at_;
    std::uint64_t number = 0;
    for (; at_ != end_ && *at_ >= '0' && *at_ <= '9' && at_ - begin < most_digits; ++at_) {
      number = 10 * number + static_cast<std::uint64_t>(*at_ - '0');
    }
    // What may follow, such as more digits, a point or an exponent, is not what may follow a member.
    const bool is_usual = at_ != begin && (*begin != '0' || at_ == begin + 1) && number <= max_integer;
    if (!is_usual || (rule == Rule::at_least_one && number == 0)) return fail();
    field = rule == Rule::timeout ? std::min(number, max_timeout_ms) : number;
  }
  void read_value(bool& field, Rule) {
    const std::string_view rest(at_, static_cast<std::size_t>(end_ - at_));
    const std::string_view word = rest.starts_with("true") ? "true" : "false";
    if (!rest.starts_with(word)) return fail();
    field = word == "true";
    at_ += word.size();
  }
  void read_value(std::string& field, Rule rule) {
    const std::string_view text = string();
    if (rule == Rule::key && (text.empty() || text.size() > max_key_bytes)) return fail();
    if (rule == Rule::prefix && text.size() > max_key_bytes) return fail();
    if (rule == Rule::uuid && !is_uuid(text)) return fail();
    field = text;
  }
  void read_value(Consistency& field, Rule) { read_name(field, consistency_named(string())); }
  void read_value(Operation& field, Rule) { read_name(field, operation_named(string())); }
  void read_value(Code& field, Rule) { read_name(field, code_named(string())); }
  template <class T>
  void read_name(T& field, const std::optional<T>& named) {
    if (!named) return fail();
    field = *named;
  }
  template <class T>
  void read_value(std::optional<T>& field, Rule rule) {
    read_value(field.emplace(), rule);
  }
  template <class T>
  void read_value(std::vector<T>& elements, Rule rule) {
    take('[');
    const std::size_t most =
        rule == Rule::operations ? max_txn_operations : std::numeric_limits<std::size_t>::max();
    while (usual_ && at_ != end_ && *at_ != ']') {
      if (elements.size() == most) return fail();
      if (!elements.empty()) {
        take(',');
        if (at_ != end_ && *at_ == ' ') ++at_;
      }
      begin_object();
      if (usual_) describe(*this, elements.emplace_back());
      end_object();
    }
    if (usual_) take(']');
    follows_ = true;
  }
  template <class... T>
  void read_value(std::variant<T...>& choice, Rule) {
    begin_object();
    begin_type(choice);
    if (usual_) describe(*this, choice);
    end_object();
  }

  void read_bytes(std::string& bytes) {
    const std::string_view text = string();
    if (text.size() > max_value_) return fail();
    bytes = text;
  }
  void read_bytes(std::optional<std::string>& bytes) {
    static constexpr std::string_view null = "null";
    if (std::string_view(at_, static_cast<std::size_t>(end_ - at_)).starts_with(null)) {
      bytes.reset();
      at_ += null.size();
    } else {
      read_bytes(bytes.emplace());
    }
  }

  const char* at_;
  const char* end_;
  std::size_t max_value_;
  bool usual_ = true;     // so far
  bool follows_ = false;  // whether the next member stands behind another one
  bool in_group_ = false;
  bool group_lacks_ = false;
};

}  // namespace kv::message
