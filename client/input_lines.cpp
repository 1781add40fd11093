#include "client/input_lines.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

namespace kv::client {
namespace {

constexpr std::size_t block_bytes = 256 << 10;

}  // namespace

// Waits in the loop for something to read. Asio makes the descriptor non-blocking for that, and whoever shares it
// (the terminal, the shell that started us) gets it back as it was.
struct InputLines::Watch {
  Watch(asio::io_context& io, int fd) : flags(::fcntl(fd, F_GETFL)), descriptor(io, fd) {}
  ~Watch() {
    const int fd = descriptor.release();
    ::fcntl(fd, F_SETFL, flags);
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  int flags;
  asio::posix::stream_descriptor descriptor;
  bool waits = false;
};

std::variant<InputLines, FileProblem> InputLines::open(const std::string& path) {
  if (path == "-") return InputLines(STDIN_FILENO, false, "standard input");
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const std::string name = name_of_file(path);
  if (fd < 0) return FileProblem{"cannot read the file " + name + ": " + std::generic_category().message(errno)};
  return InputLines(fd, true, name);
}

InputLines::InputLines(int fd, bool owned, std::string name) : fd_(fd), owned_(owned), name_(std::move(name)) {
  struct stat info {};
  may_block_ = ::fstat(fd, &info) != 0 || !S_ISREG(info.st_mode);
}

InputLines::InputLines(InputLines&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      owned_(other.owned_),
      may_block_(other.may_block_),
      name_(std::move(other.name_)),
      buffer_(std::move(other.buffer_)),
      consumed_(other.consumed_),
      searched_(other.searched_),
      ended_(other.ended_),
      line_number_(other.line_number_),
      problem_(std::move(other.problem_)),
      watch_(std::move(other.watch_)) {}

InputLines::~InputLines() {
  watch_.reset();
  if (owned_ && fd_ >= 0) ::close(fd_);
}

InputLines::Next InputLines::next(std::string& line, const std::shared_ptr<Call>& call, asio::io_context& io) {
  for (;;) {
    if (take_line(line)) return Next::line;
    if (buffer_.size() - consumed_ > max_line_bytes) {
      ++line_number_;
      return Next::too_long;
    }
    if (ended_) return Next::end;
    const Next more = read_more(call, io);
    if (more != Next::line) return more;
  }
}

bool InputLines::take_line(std::string& line) {
  const std::size_t end = buffer_.find('\n', std::max(searched_, consumed_));
  searched_ = buffer_.size();
  if (end == std::string::npos && (!ended_ || consumed_ == buffer_.size())) return false;
  const std::size_t size = (end == std::string::npos ? buffer_.size() : end) - consumed_;
  if (size > max_line_bytes) return false;
  line.assign(buffer_, consumed_, size);
  consumed_ = std::min(consumed_ + size + 1, buffer_.size());
  searched_ = consumed_;
  ++line_number_;
  return true;
}

// `line`: something has come, or the end.
InputLines::Next InputLines::read_more(const std::shared_ptr<Call>& call, asio::io_context& io) {
  if (may_block_ && !is_readable(call, io)) return Next::not_yet;
  buffer_.erase(0, consumed_);
  searched_ -= consumed_;
  consumed_ = 0;
  const std::size_t before = buffer_.size();
  buffer_.resize(before + block_bytes);
  const ssize_t count = ::read(fd_, buffer_.data() + before, block_bytes);
  const int error = errno;
  buffer_.resize(before + static_cast<std::size_t>(std::max<ssize_t>(count, 0)));
  if (count < 0 && (error == EINTR || error == EAGAIN)) return Next::line;
  if (count < 0) {
    problem_ = "cannot read " + name_ + ": " + std::generic_category().message(error);
    return Next::failed;
  }
  ended_ = count == 0;
  return Next::line;
}

// False: `call` is woken as soon as there is something.
bool InputLines::is_readable(const std::shared_ptr<Call>& call, asio::io_context& io) {
  pollfd ready{fd_, POLLIN, 0};
  if (::poll(&ready, 1, 0) != 0) return true;
  if (!watch_) watch_ = std::make_shared<Watch>(io, fd_);
  if (watch_->waits) return false;
  watch_->waits = true;
  watch_->descriptor.async_wait(asio::posix::stream_descriptor::wait_read,
                                [weak = std::weak_ptr(watch_), call](std::error_code) {
                                  if (const auto watch = weak.lock()) watch->waits = false;
                                  call->wake();
                                });
  return false;
}

}  // namespace kv::client
