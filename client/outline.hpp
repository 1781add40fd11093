// The commands as they are defined, for what helps to type them.
#pragma once

#include <string>
#include <vector>

namespace kv::client {

struct FlagOutline {
  std::string name;    // "--if-ts"
  std::string letter;  // "-o", or empty
  std::string shape;   // "TS"; empty: it stands alone
  std::string description;
  std::string variable;                   // of the environment, or empty
  std::vector<std::string> choices = {};  // of its value, where there is nothing else
};

struct WordOutline {
  std::string name;  // "KEY"; in brackets where it may be left out
  std::string description;
  std::vector<std::string> choices = {};
};

struct CommandOutline {
  std::string name;
  std::vector<std::string> aliases;
  std::string description;
  std::string footer;  // examples, and what else there is to know
  std::vector<WordOutline> words;
  std::vector<FlagOutline> flags;  // its own
};

struct Outline {
  std::string description;
  std::vector<CommandOutline> commands;  // by name
  std::vector<FlagOutline> flags;        // of all commands
};

}  // namespace kv::client
