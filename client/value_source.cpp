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

std::variant<std::string, ValueProblem> read_word(const std::string& word, const std::string& otherwise) {
  if (word == "-") return read_all(STDIN_FILENO, "standard input");
  if (word.starts_with("@")) {
    const std::string path = word.substr(1);
    if (path.empty()) return ValueProblem{"@ is followed by a file's name" + otherwise};
    const std::string name = "\"" + escape_control(path) + "\"";
    const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
      return ValueProblem{"cannot read the file " + name + ": " + std::generic_category().message(errno) +
                          otherwise};
    }
    auto value = read_all(fd, name);
    ::close(fd);
    return value;
  }
  if (word.size() > max_value_bytes) return too_large();
  return word;
}

std::variant<std::string, ValueProblem> read_value(const PutCommand& command) {
  if (!command.literal) return read_word(command.value, "; --literal takes @… as a value");
  if (command.value.size() > max_value_bytes) return too_large();
  return command.value;
}

}  // namespace kv::client
