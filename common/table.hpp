// Tables of text, and JSON objects: how results are laid out, without knowing what they mean.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace kv {

// Columns under their headings, each as wide as its widest cell. With `frame` (for a terminal) lines are drawn
// around them; without, two blanks part them, so that a script can split the rows.
class Table {
 public:
  explicit Table(std::vector<std::string> headings) { rows_.push_back(std::move(headings)); }
  void add(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  // Numbers stand at the right edge of their column.
  void align_right(std::size_t column) { right_.push_back(column); }
  std::string text(bool frame) const;

 private:
  std::vector<std::vector<std::string>> rows_;
  std::vector<std::size_t> right_;
};

// Characters of UTF-8 text, colour sequences not counted.
std::size_t width_of(std::string_view text);

// One JSON object on one line, written member by member.
class JsonLine {
 public:
  JsonLine& add(std::string_view name, std::string_view text);
  JsonLine& add(std::string_view name, const char* text) { return add(name, std::string_view(text)); }
  JsonLine& add(std::string_view name, const std::string& text) { return add(name, std::string_view(text)); }
  JsonLine& add(std::string_view name, std::uint64_t number);
  JsonLine& add(std::string_view name, bool truth);
  JsonLine& add_null(std::string_view name);
  // "value" if it is valid UTF-8, else "value_base64".
  JsonLine& add_value(std::string_view value);
  // Text that is JSON already.
  JsonLine& add_json(std::string_view name, std::string_view json);
  std::string text() const { return "{" + members_ + "}"; }

 private:
  void begin(std::string_view name);

  std::string members_;
};

}  // namespace kv
