// A typed line into words, as a shell would: blanks part them, '…' takes everything as it is, "…" lets a
// backslash escape " and \, and outside of quotes a backslash escapes any character. '' is an empty word. A line
// whose first word begins with # is a comment and has no words; further on # is a character as any other.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace kv::client {

struct WordsError {
  std::string text;
};

std::variant<std::vector<std::string>, WordsError> split_words(std::string_view line);

}  // namespace kv::client
