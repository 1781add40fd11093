// The script of a transaction, as `txn` reads it: see `help txn`.
#pragma once

#include <string>
#include <string_view>
#include <variant>

#include "common/message.hpp"

namespace kv::client {

// What is wrong, and in which line (or part between ;) of the script.
struct ScriptProblem {
  std::string text;
};

std::variant<message::Txn, ScriptProblem> parse_txn(std::string_view script);

}  // namespace kv::client
