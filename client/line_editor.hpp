// Reads lines from a terminal, with editing and a history that outlives the process (libedit).
//
// While it waits for a key the io_context runs, so connections are served and answers that come late can be
// printed. It handles the signals that matter to a terminal (SIGINT, SIGWINCH, SIGCONT) as events of that loop.
// One at a time: it owns the terminal's mode from construction to destruction.
#pragma once

#include <asio/io_context.hpp>
#include <filesystem>
#include <memory>
#include <string>

namespace kv::client {

class LineEditor {
 public:
  // `history` may be empty or not writable: then there is a history for this run alone.
  LineEditor(asio::io_context& io, std::filesystem::path history);
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
  // A line that begins with a blank is not kept, nor is one that repeats the last.
  void remember(const std::string& line);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace kv::client
