// What helps to type a line of the shell: Tab completes commands, flags, keys and files, and a hint says what comes
// next.
#pragma once

#include <functional>
#include <string>

#include "client/line_editor.hpp"
#include "client/outline.hpp"

namespace kv::client {

// Keys that begin with `prefix`; `more`: there are others. May take a moment, and is to give up soon.
struct FoundKeys {
  std::vector<std::string> keys;
  bool more = false;
};
using FindKeys = std::function<FoundKeys(const std::string& prefix)>;

// For the text before the cursor.
Completions complete_line(const Outline& outline, const FindKeys& find_keys, const std::string& before_cursor);
// "KEY VALUE" behind "put ", "VALUE" behind "put colour "; empty where there is nothing to say.
std::string hint_for(const Outline& outline, const std::string& line);

}  // namespace kv::client
