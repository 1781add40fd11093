#include "client/value_source.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "common/message.hpp"
#include "common/text.hpp"

namespace kv::client {
namespace {

ValueProblem too_large() {
  return {"TOO_LARGE: the value is too long: at most " + format_size(max_value_bytes), true};
}

std::variant<std::string, ValueProblem> read_all(int fd, const std::string& name) {
  std::string value;
  char block[64 << 10];
  for (;;) {
    const ssize_t count = ::read(fd, block, sizeof block);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ValueProblem{"cannot read " + name + ": " + std::generic_category().message(errno)};
    if (count == 0) return value;
    value.append(block, static_cast<std::size_t>(count));
    if (value.size() > max_value_bytes) return too_large();
  }
}

}  // namespace

std::variant<std::string, ValueProblem> read_value(const PutCommand& command) {
  const std::string& word = command.value;
  if (!command.literal && word == "-") return read_all(STDIN_FILENO, "standard input");
  if (!command.literal && word.starts_with("@")) {
    const std::string path = word.substr(1);
    if (path.empty()) return ValueProblem{"@ is followed by a file's name; --literal takes it as a value"};
    const std::string name = "\"" + escape_control(path) + "\"";
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      return ValueProblem{"cannot read the file " + name + ": " + std::generic_category().message(errno) +
                          "; --literal takes @… as a value"};
    }
    auto value = read_all(fd, name);
    ::close(fd);
    return value;
  }
  if (word.size() > max_value_bytes) return too_large();
  return word;
}

}  // namespace kv::client
