// A typed line into words, as a shell would: blanks part them, '…' takes everything as it is, "…" lets a
// backslash escape " and \, and outside of quotes a backslash escapes any character. '' is an empty word. A line
// whose first word begins with # is a comment and has no words; further on # is a character as any other.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace kv::client {

struct WordsError {
  std::string text;
};

std::variant<std::vector<std::string>, WordsError> split_words(std::string_view line);

// A line that is still being typed.
struct UnfinishedLine {
  std::vector<std::string> words;  // those that are finished
  std::string word;                // what the last one says so far; empty behind a blank
  std::size_t begin = 0;           // where it begins in the line
  bool in_quotes = false;          // it has a quote that is not closed
};
UnfinishedLine split_unfinished(std::string_view line);

// The word as it can be typed: as it is, or in quotes where it needs them.
std::string quoted_word(std::string_view word);

}  // namespace kv::client
