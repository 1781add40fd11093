// The commands as they are defined, for what helps to type them.
#pragma once

#include <string>
#include <vector>

namespace kv::client {

struct FlagOutline {
  std::string name;   // "--if-ts"
  std::string shape;  // "TS"; empty: it stands alone
  std::string description;
};

struct CommandOutline {
  std::string name;
  std::string description;
  std::vector<std::string> words;  // "KEY", "VALUE"; in brackets where it may be left out
  std::vector<FlagOutline> flags;  // its own
};

struct Outline {
  std::vector<CommandOutline> commands;  // by name
  std::vector<FlagOutline> flags;        // of all commands
};

}  // namespace kv::client
