// Reads lines from a terminal, with editing and a history that outlives the process (libedit).
//
// While it waits for a key the io_context runs, so connections are served, and what comes late is printed above the
// line that is being typed. It handles the signals that matter to a terminal (SIGINT, SIGWINCH, SIGCONT) as events
// of that loop. One at a time: it owns the terminal's mode from construction to destruction.
#pragma once

#include <asio/io_context.hpp>
#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace kv::client {

// What may stand where a word begins or has begun.
struct Completions {
  std::size_t begin = 0;  // where that word begins in the line, in bytes
  std::vector<std::string>
      words;          // as they would be typed; each with a blank behind it if nothing may follow in it
  bool more = false;  // there are others
};

// Both may be empty. They may run the io_context.
struct LineHelp {
  std::function<Completions(const std::string& before_cursor)> complete;  // for Tab
  std::function<std::string(const std::string& line)> hint;               // shown behind the line, not part of it
};

class LineEditor {
 public:
  // `history` may be empty or not writable: then there is a history for this run alone.
  LineEditor(asio::io_context& io, std::filesystem::path history, LineHelp help = {});
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  enum class Event {
    line,
    interrupted,  // Ctrl-C: what was typed is dropped
    end,          // Ctrl-D, or the terminal is gone
    terminated,   // SIGTERM or SIGHUP
  };
  Event read(const std::string& prompt, std::string& line);
  // Shows whole lines above the one that is being typed; at once where none is.
  void print_above(const std::string& lines);
  // A line that begins with a blank is not kept, nor is one that repeats the last.
  void remember(const std::string& line);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kv::client
