// The lines of a file or of standard input, for a coroutine: it never blocks on a pipe or a terminal, but says that
// there is nothing yet and wakes the Call when there is.
#pragma once

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "client/call.hpp"
#include "client/new_file.hpp"

namespace kv::client {

class InputLines {
 public:
  static constexpr std::size_t max_line_bytes = 16 << 20;

  // `path` "-": standard input.
  static std::variant<InputLines, FileProblem> open(const std::string& path);
  InputLines(InputLines&&) noexcept;
  ~InputLines();

  enum class Next {
    line,
    not_yet,   // `call` will be woken
    end,       // for good
    too_long,  // the line has more than max_line_bytes: nothing follows
    failed,    // see problem(): nothing follows
  };
  // `line` gets the next one, without its end.
  Next next(std::string& line, const std::shared_ptr<Call>& call, asio::io_context& io);
  std::uint64_t line_number() const { return line_number_; }  // of the one that next() gave last, from 1
  const std::string& name() const { return name_; }           // for messages
  const std::string& problem() const { return problem_; }

 private:
  struct Watch;

  InputLines(int fd, bool owned, std::string name);
  bool take_line(std::string& line);
  Next read_more(const std::shared_ptr<Call>& call, asio::io_context& io);
  bool is_readable(const std::shared_ptr<Call>& call, asio::io_context& io);

  int fd_;
  bool owned_;
  bool may_block_;  // not a regular file
  std::string name_;
  std::string buffer_;
  std::size_t consumed_ = 0;  // of buffer_
  std::size_t searched_ = 0;  // up to there is no end of a line
  bool ended_ = false;
  std::uint64_t line_number_ = 0;
  std::string problem_;
  std::shared_ptr<Watch> watch_;  // where fd_ may block, from the first wait on
};

}  // namespace kv::client
