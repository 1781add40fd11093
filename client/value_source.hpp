// Where the value of a `put` comes from: the word itself, standard input (-) or a file (@name).
#pragma once

#include <string>
#include <variant>

#include "client/options.hpp"

namespace kv::client {

struct ValueProblem {
  std::string text;
  bool too_large = false;
};

// Byte for byte, and never more than a value may have: the word itself, or what - or @name stands for. `otherwise`:
// how the user can say that @… is meant as it is, for messages.
std::variant<std::string, ValueProblem> read_word(const std::string& word, const std::string& otherwise);
std::variant<std::string, ValueProblem> read_value(const PutCommand& command);

}  // namespace kv::client
