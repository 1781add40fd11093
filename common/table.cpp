#include "common/table.hpp"

#include <algorithm>

#include "common/text.hpp"

namespace kv {
namespace {

// Also DEL and the C1 controls, which JSON would let pass and a terminal would obey.
void append_json_string(std::string& out, std::string_view text) {
  static constexpr char digits[] = "0123456789abcdef";
  const auto append_code = [&out](unsigned char code) {
    out += "\\u00";
    out += digits[code >> 4];
    out += digits[code & 15];
  };
  out += '"';
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte == '"' || byte == '\\') {
      out += '\\';
      out += text[i];
    } else if (byte == '\n') {
      out += "\\n";
    } else if (byte == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7f) {
      append_code(byte);
    } else if (byte == 0xc2 && i + 1 < text.size() && static_cast<unsigned char>(text[i + 1]) < 0xa0) {
      append_code(static_cast<unsigned char>(text[++i]));
    } else {
      out += text[i];
    }
  }
  out += '"';
}

std::string repeat(std::string_view piece, std::size_t times) {
  std::string text;
  for (std::size_t i = 0; i < times; ++i) text += piece;
  return text;
}

std::string rule(const std::vector<std::size_t>& widths, const char* left, const char* middle, const char* right) {
  std::string line = left;
  for (std::size_t i = 0; i < widths.size(); ++i) line += (i == 0 ? "" : middle) + repeat("─", widths[i] + 2);
  return line + right + "\n";
}

}  // namespace

std::size_t width_of(std::string_view text) {
  std::size_t width = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\x1b') {
      while (i < text.size() && text[i] != 'm') ++i;
    } else if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) {
      ++width;
    }
  }
  return width;
}

std::string Table::text(bool frame) const {
  std::vector<std::size_t> widths(rows_.front().size(), 0);
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < widths.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
  }
  const auto cell = [&](const std::vector<std::string>& row, std::size_t column) {
    const std::string padding(widths[column] - width_of(row[column]), ' ');
    const bool right = std::find(right_.begin(), right_.end(), column) != right_.end();
    return right ? padding + row[column] : row[column] + padding;
  };
  std::string text = frame ? rule(widths, "┌", "┬", "┐") : "";
  for (std::size_t number = 0; number < rows_.size(); ++number) {
    std::string line = frame ? "│ " : "";
    for (std::size_t i = 0; i < widths.size(); ++i) {
      if (i > 0) line += frame ? " │ " : "  ";
      line += cell(rows_[number], i);
    }
    if (frame) {
      line += " │";
    } else {
      line.erase(line.find_last_not_of(' ') + 1);
    }
    text += line + "\n";
    if (frame && number == 0) text += rule(widths, "├", "┼", "┤");
  }
  return frame ? text + rule(widths, "└", "┴", "┘") : text;
}

void JsonLine::begin(std::string_view name) {
  if (!members_.empty()) members_ += ',';
  append_json_string(members_, name);
  members_ += ':';
}

JsonLine& JsonLine::add(std::string_view name, std::string_view text) {
  begin(name);
  append_json_string(members_, text);
  return *this;
}

JsonLine& JsonLine::add(std::string_view name, std::uint64_t number) {
  return add_json(name, std::to_string(number));
}

JsonLine& JsonLine::add(std::string_view name, bool truth) {
  return add_json(name, truth ? "true" : "false");
}

JsonLine& JsonLine::add_null(std::string_view name) {
  return add_json(name, "null");
}

JsonLine& JsonLine::add_value(std::string_view value) {
  if (is_valid_utf8(value)) return add("value", value);
  return add("value_base64", std::string_view(base64_encode(value)));
}

JsonLine& JsonLine::add_json(std::string_view name, std::string_view json) {
  begin(name);
  members_ += json;
  return *this;
}

}  // namespace kv
