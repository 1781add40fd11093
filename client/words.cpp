#include "client/words.hpp"

#include <cstddef>
#include <utility>

namespace kv::client {
namespace {

bool is_blank(char c) {
  return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\v' || c == '\f';
}

// Appends what stands between the quote at `at` and its partner; returns where it goes on behind that, or npos.
std::size_t take_quoted(std::string_view line, std::size_t at, std::string& word) {
  const char quote = line[at];
  for (std::size_t i = at + 1; i < line.size(); ++i) {
    const char c = line[i];
    if (c == quote) return i + 1;
    const bool escapes = quote == '"' && c == '\\' && i + 1 < line.size();
    if (escapes && (line[i + 1] == '"' || line[i + 1] == '\\')) {
      word += line[++i];
    } else {
      word += c;
    }
  }
  return std::string_view::npos;
}

}  // namespace

std::variant<std::vector<std::string>, WordsError> split_words(std::string_view line) {
  std::vector<std::string> words;
  std::size_t i = 0;
  for (;;) {
    while (i < line.size() && is_blank(line[i])) ++i;
    if (i == line.size() || (words.empty() && line[i] == '#')) return words;
    std::string word;
    while (i < line.size() && !is_blank(line[i])) {
      if (line[i] == '\'' || line[i] == '"') {
        const bool single = line[i] == '\'';
        i = take_quoted(line, i, word);
        if (i == std::string_view::npos) {
          return WordsError{single ? "the quote ' is not closed" : "the quote \" is not closed"};
        }
      } else if (line[i] == '\\') {
        if (++i == line.size()) return WordsError{"nothing follows the backslash at the end"};
        word += line[i++];
      } else {
        word += line[i++];
      }
    }
    words.push_back(std::move(word));
  }
}

}  // namespace kv::client
