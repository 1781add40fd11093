#include "client/words.hpp"

#include <algorithm>
#include <cctype>
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

// A word from `at` on. `end` is behind it, or npos where it is not finished: then `missing` says what is.
struct TakenWord {
  std::string word;
  std::size_t end = 0;
  const char* missing = nullptr;
};

TakenWord take_word(std::string_view line, std::size_t at) {
  TakenWord taken;
  std::size_t i = at;
  while (i < line.size() && !is_blank(line[i])) {
    if (line[i] == '\'' || line[i] == '"') {
      const bool single = line[i] == '\'';
      i = take_quoted(line, i, taken.word);
      if (i == std::string_view::npos) {
        taken.missing = single ? "the quote ' is not closed" : "the quote \" is not closed";
        break;
      }
    } else if (line[i] == '\\') {
      if (++i == line.size()) {
        taken.missing = "nothing follows the backslash at the end";
        i = std::string_view::npos;
        break;
      }
      taken.word += line[i++];
    } else {
      taken.word += line[i++];
    }
  }
  taken.end = i;
  return taken;
}

}  // namespace

std::variant<std::vector<std::string>, WordsError> split_words(std::string_view line) {
  std::vector<std::string> words;
  std::size_t i = 0;
  for (;;) {
    while (i < line.size() && is_blank(line[i])) ++i;
    if (i == line.size() || (words.empty() && line[i] == '#')) return words;
    TakenWord taken = take_word(line, i);
    if (taken.missing) return WordsError{taken.missing};
    words.push_back(std::move(taken.word));
    i = taken.end;
  }
}

UnfinishedLine split_unfinished(std::string_view line) {
  UnfinishedLine unfinished;
  for (std::size_t i = 0;;) {
    while (i < line.size() && is_blank(line[i])) ++i;
    unfinished.begin = i;
    if (i == line.size()) return unfinished;
    TakenWord taken = take_word(line, i);
    if (taken.missing || taken.end == line.size()) {
      unfinished.word = std::move(taken.word);
      unfinished.in_quotes = taken.missing != nullptr;
      return unfinished;
    }
    unfinished.words.push_back(std::move(taken.word));
    i = taken.end;
  }
}

std::string quoted_word(std::string_view word) {
  constexpr std::string_view plain_too = "_-+./:@,=%~^!?*()[]{}<>;&|$";
  const auto is_plain = [&](char c) {
    const auto byte = static_cast<unsigned char>(c);
    return byte >= 0x80 || (byte < 0x80 && std::isalnum(byte)) || plain_too.find(c) != std::string_view::npos;
  };
  if (!word.empty() && std::all_of(word.begin(), word.end(), is_plain)) return std::string(word);
  if (word.find('\'') == std::string_view::npos) return "'" + std::string(word) + "'";
  std::string quoted = "\"";
  for (const char c : word) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

}  // namespace kv::client
