// The one place that includes RapidJSON, so that its switches are the same everywhere. Private to common/.
//
// Besides: streams and a Writer for which a string with nothing to escape, as nearly all are, is one piece of
// memory: the reader hands it out where it stands, and the Writer copies it at once.
#pragma once

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "common/json_text.hpp"

namespace kv::json {

// A call that RapidJSON's rules forbid: a fault of ours, never of the input.
struct Misuse : std::logic_error {
  using std::logic_error::logic_error;
};

}  // namespace kv::json

#define RAPIDJSON_HAS_STDSTRING 1
#define RAPIDJSON_ASSERT(x) \
  ((x) ? static_cast<void>(0) : throw ::kv::json::Misuse("RapidJSON was used against its rules: " #x))
#include <rapidjson/error/en.h>
#include <rapidjson/reader.h>
#include <rapidjson/writer.h>

namespace kv::json {

// RapidJSON's input stream concept for in-situ parsing, but of text that is only read. RapidJSON takes each
// character of a string with Take() and gives it back, unescaped, with Put(). As long as what comes back is what
// was taken, nothing needs to be copied, and PutBegin() and Put() skip to the next character that may be special.
//
// So a handler must not use the pointers that RapidJSON gives it; it asks string() and number().
class ViewStream {
 public:
  using Ch = char;
  // A zero must follow the text.
  explicit ViewStream(std::string_view text) : begin_(text.data()), at_(begin_), end_(begin_ + text.size()) {}
  ViewStream(const ViewStream&) = delete;
  ViewStream& operator=(const ViewStream&) = delete;

  // The string that was read last: valid until the next one.
  std::string_view string() const {
    return changed_ ? std::string_view(unescaped_) : std::string_view(string_, string_end_);
  }
  bool string_had_escapes() const { return changed_; }
  // The number of that length that was read last.
  std::string_view number(std::size_t length) const { return {at_ - length, length}; }

  char Peek() const { return *at_; }
  char Take() { return *at_++; }
  std::size_t Tell() const { return static_cast<std::size_t>(at_ - begin_); }
  char* PutBegin() {
    string_ = at_;
    if (at_ != begin_ && at_[-1] == '"') skip_plain();  // else a number has been read
    string_end_ = at_;
    changed_ = false;
    return nullptr;
  }
  void Put(char c) {
    if (changed_ || at_ - 1 != string_end_) {
      put_changed(c);
    } else if (c != '\0') {  // which stands for the closing quote
      skip_plain();
      string_end_ = at_;
    }
  }
  std::size_t PutEnd(char*) { return 1; }  // the zero, which RapidJSON does not count
  void Flush() {}

 private:
  void put_changed(char c);

  // To the first character that is a quote, a backslash or a control character.
  void skip_plain() { at_ = first_special(at_, end_); }

  const char* begin_;
  const char* at_;
  const char* end_;
  const char* string_ = nullptr;      // where the last string begins
  const char* string_end_ = nullptr;  // up to where it is as it stands in the text
  bool changed_ = false;              // by escapes: then it is here
  std::string unescaped_;
};

// RapidJSON's output stream concept: text that is put together byte by byte. A std::string would look at its
// capacity and write its terminating zero for each.
class TextSink {
 public:
  using Ch = char;
  void Put(char c) {
    if (at_ == end_) grow(1);
    *at_++ = c;
  }
  void Flush() {}
  [[gnu::always_inline]] void put_quoted(std::string_view text) {
    if (static_cast<std::size_t>(end_ - at_) < text.size() + 2) grow(text.size() + 2);
    *at_++ = '"';
    at_ = std::copy(text.begin(), text.end(), at_);
    *at_++ = '"';
  }
  // False: nothing was written, since it is too long to find out on the way, is not ASCII, or needs escapes.
  bool put_plain_quoted(std::string_view text) {
    constexpr std::size_t longest = 4096;
    if (text.size() > longest) return false;
    if (static_cast<std::size_t>(end_ - at_) < text.size() + 2) grow(text.size() + 2);
    if (!copy_plain(text, at_ + 1)) return false;
    *at_ = '"';
    at_ += text.size() + 1;
    *at_++ = '"';
    return true;
  }
  void put_number(std::uint64_t number) {
    constexpr std::size_t most_digits = 20;
    if (static_cast<std::size_t>(end_ - at_) < most_digits) grow(most_digits);
    at_ = std::to_chars(at_, end_, number).ptr;
  }

  std::size_t size() const { return static_cast<std::size_t>(at_ - bytes_.get()); }
  void shrink_to(std::size_t size) { at_ = bytes_.get() + size; }
  std::string_view text() const { return {bytes_.get(), static_cast<std::size_t>(at_ - bytes_.get())}; }
  // Begins anew. Of what a long text took no more is kept than many short ones need.
  void clear() {
    if (static_cast<std::size_t>(end_ - bytes_.get()) > kept_bytes) {
      bytes_.reset();
      end_ = nullptr;
    }
    at_ = bytes_.get();
  }

 private:
  static constexpr std::size_t least_bytes = 512;
  static constexpr std::size_t kept_bytes = 64 << 10;

  // Rare, so that what calls it stays small enough to be a part of its own callers.
  [[gnu::noinline, gnu::cold]] void grow(std::size_t more) {
    const std::string_view so_far = text();
    const std::size_t size = std::max(least_bytes, 2 * (so_far.size() + more));
    auto bytes = std::make_unique_for_overwrite<char[]>(size);
    at_ = std::copy(so_far.begin(), so_far.end(), bytes.get());
    end_ = bytes.get() + size;
    bytes_ = std::move(bytes);
  }

  std::unique_ptr<char[]> bytes_;
  char* at_ = nullptr;
  char* end_ = nullptr;
};

// Puts the commas and colons between what it is given, which must be in an order that makes JSON: it does not look
// (RapidJSON's Writer does, with a stack of levels, and that costs more than the writing). Strings are valid UTF-8.
class Writer {
 public:
  explicit Writer(TextSink& sink) : sink_(sink) {}

  void start_object() { open('{'); }
  void end_object() { close('}'); }
  void start_array() { open('['); }
  void end_array() { close(']'); }

  // A member's; it needs no escapes.
  [[gnu::always_inline]] void name(std::string_view text) {
    separate();
    sink_.put_quoted(text);
    sink_.Put(':');
    follows_ = false;
  }
  // A member, if its text is short ASCII that needs no escapes; false: nothing was written.
  bool plain_member(std::string_view name_text, std::string_view text) {
    const std::size_t before = sink_.size();
    const bool followed = follows_;
    name(name_text);
    if (sink_.put_plain_quoted(text)) {
      follows_ = true;
      return true;
    }
    sink_.shrink_to(before);
    follows_ = followed;
    return false;
  }
  // `text` is known to need no escapes.
  void plain_string(std::string_view text) {
    separate();
    sink_.put_quoted(text);
  }
  void string(std::string_view text, const StringNeeds& needs) {
    if (needs.escape_bytes == 0) {
      plain_string(text);
    } else {
      escaped_string(text);
    }
  }
  void escaped_string(std::string_view text) {
    separate();
    rapidjson::Writer<TextSink>(sink_).String(text.data(), static_cast<rapidjson::SizeType>(text.size()));
  }
  void number(std::uint64_t number) {
    separate();
    sink_.put_number(number);
  }
  void boolean(bool yes) { word(yes ? "true" : "false"); }
  void null() { word("null"); }

 private:
  void separate() {
    if (follows_) sink_.Put(',');
    follows_ = true;
  }
  void open(char bracket) {
    separate();
    sink_.Put(bracket);
    follows_ = false;
  }
  void close(char bracket) {
    sink_.Put(bracket);
    follows_ = true;
  }
  void word(std::string_view text) {
    separate();
    for (const char c : text) sink_.Put(c);
  }

  TextSink& sink_;
  bool follows_ = false;  // whether what comes next stands behind something in its object or array
};

// Appends `text` as a JSON string, quotes included. Whatever is not valid UTF-8 shows as escape_control has it.
void append_string(std::string& out, std::string_view text);

}  // namespace kv::json
