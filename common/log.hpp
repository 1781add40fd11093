// The logs of both programs: spdlog's default logger, a line a message, written before the call returns.
//
// Texts from outside (keys, names, addresses) go through escape_control first; a control character that was
// overlooked still can't forge a line, since the formatters let none through.
#pragma once

#include <string>

namespace kv {

struct LogOptions {
  std::string level = "info";   // trace, debug, info, warn, error
  std::string format = "text";  // text: for reading; json: an object a line
  std::string file;             // appended to; empty: stderr
  std::string name;             // of the node, in every line
};

// Sets up spdlog's default logger. Throws std::runtime_error, with a text for a person, for an unknown level or
// format and for a file that can't be opened.
//   text: 2026-01-02 12:00:00.123 info  n1  message                                        (local time)
//   json: {"time":"2026-01-02T12:00:00.123Z","level":"info","node":"n1","message":"…"}     (UTC)
void set_up_logging(const LogOptions& options);

}  // namespace kv
