#include "common/man_page.hpp"

#include <algorithm>
#include <cctype>
#include <sstream>
#include <string_view>

#include "common/text.hpp"

namespace kv {
namespace {

// As text, whatever the characters mean to roff.
std::string escaped(const std::string& line) {
  std::string out;
  if (line.starts_with(".") || line.starts_with("'")) out += "\\&";
  constexpr std::string_view ellipsis = "\xe2\x80\xa6";
  for (std::size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (std::string_view(line).substr(i).starts_with(ellipsis)) {
      out += "...";  // roff has a name for it, and leaves it out where a terminal has not
      i += ellipsis.size() - 1;
      continue;
    }
    if (c == '\\') {
      out += "\\e";
    } else if (c == '-') {
      out += "\\-";
    } else {
      out += c;
    }
  }
  return out;
}

// Lines stay as they are where they are set in by blanks, as examples are. `paragraph`: what begins one.
void append_text(std::string& out, const std::string& text, const std::string& paragraph) {
  std::istringstream lines(text);
  bool is_set_in = false;
  for (std::string line; std::getline(lines, line);) {
    const bool sets_in = line.starts_with("    ");
    if (sets_in != is_set_in) out += sets_in ? paragraph + ".nf\n" : ".fi\n";
    is_set_in = sets_in;
    out += line.empty() ? paragraph : escaped(line) + "\n";
  }
  if (is_set_in) out += ".fi\n";
}

std::string upper(std::string text) {
  std::transform(text.begin(), text.end(), text.begin(), [](unsigned char c) { return std::toupper(c); });
  return text;
}

}  // namespace

std::string to_roff(const ManPage& page) {
  std::string out = ".TH " + upper(page.name) + " 1 \"\" \"" + page.name + " " + version + "\"\n";
  out += ".SH NAME\n" + page.name + " \\- " + escaped(page.brief) + "\n";
  out += ".SH SYNOPSIS\n.B " + page.name + "\n" + escaped(page.synopsis) + "\n";
  for (const ManSection& section : page.sections) {
    out += ".SH " + upper(section.title) + "\n";
    append_text(out, section.text, ".PP\n");
    for (const auto& [term, meaning] : section.items) {
      out += ".TP\n.B " + escaped(term) + "\n";
      append_text(out, meaning, ".IP\n");
    }
  }
  return out;
}

}  // namespace kv
