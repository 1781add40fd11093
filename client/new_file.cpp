#include "client/new_file.hpp"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <system_error>

#include "common/text.hpp"

namespace kv::client {
namespace {

constexpr const char* pattern = ".XXXXXX.tmp";
constexpr int suffix_bytes = 4;

std::string reason() {
  return std::generic_category().message(errno);
}

FileProblem exists_already(const std::filesystem::path& path) {
  return {name_of_file(path) + " exists already: choose another name, or say --force"};
}

// What is wrong with writing to this name, before anything is done for it.
std::optional<FileProblem> refuse_name(const std::filesystem::path& path, bool may_replace) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return std::nullopt;  // whatever else is wrong shows when it is opened
  if (!S_ISREG(info.st_mode)) {
    return FileProblem{name_of_file(path) + " is not a regular file: name another, or - for standard output"};
  }
  if (!may_replace) return exists_already(path);
  return std::nullopt;
}

}  // namespace

std::string name_of_file(const std::filesystem::path& path) {
  return "\"" + escape_control(path.string()) + "\"";
}

std::variant<NewFile, FileProblem> NewFile::beside(std::filesystem::path path, bool may_replace) {
  if (auto refused = refuse_name(path, may_replace)) return *std::move(refused);
  std::string written_as = path.string() + pattern;
  const int fd = ::mkostemps(written_as.data(), suffix_bytes, O_CLOEXEC);  // for this user alone
  if (fd < 0) return FileProblem{"cannot write the file " + name_of_file(path) + ": " + reason()};
  return NewFile(fd, std::move(path), std::move(written_as), may_replace);
}

std::variant<NewFile, FileProblem> NewFile::unnamed() {
  std::error_code error;
  const std::filesystem::path directory = std::filesystem::temp_directory_path(error);
  std::string written_as = (directory / "kvctl").string() + pattern;
  const int fd = error ? -1 : ::mkostemps(written_as.data(), suffix_bytes, O_CLOEXEC);
  if (fd < 0) {
    return FileProblem{"cannot write a temporary file in " + name_of_file(directory) + ": " +
                       (error ? error.message() : reason()) + "; name another directory with TMPDIR"};
  }
  ::unlink(written_as.c_str());
  return NewFile(fd, {}, "", false);
}

NewFile::~NewFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  if (!written_as_.empty()) ::unlink(written_as_.c_str());
}

NewFile::NewFile(NewFile&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      path_(std::move(other.path_)),
      written_as_(std::exchange(other.written_as_, {})),
      may_replace_(other.may_replace_) {}

FileProblem NewFile::problem(const char* what) const {
  const std::string name = path_.empty() ? "a temporary file" : "the file " + name_of_file(path_);
  const std::string where = path_.empty() ? "; name another directory with TMPDIR" : "";
  return {std::string("cannot ") + what + " " + name + ": " + reason() + where};
}

std::optional<FileProblem> NewFile::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::write(fd_, bytes.data(), bytes.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return problem("write");
    bytes.remove_prefix(static_cast<std::size_t>(count));
  }
  return std::nullopt;
}

std::optional<FileProblem> NewFile::clear() {
  if (::ftruncate(fd_, 0) != 0 || ::lseek(fd_, 0, SEEK_SET) != 0) return problem("write");
  return std::nullopt;
}

std::variant<std::string, FileProblem> NewFile::read(std::uint64_t offset, std::size_t count) const {
  std::string bytes(count, '\0');
  ssize_t got = 0;
  do {
    got = ::pread(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
  } while (got < 0 && errno == EINTR);
  if (got < 0) return problem("read");
  bytes.resize(static_cast<std::size_t>(got));
  return bytes;
}

// Without --force the name must be free now as well; file systems that cannot see to it are believed.
bool NewFile::take_name() const {
  if (may_replace_) return ::rename(written_as_.c_str(), path_.c_str()) == 0;
  if (::renameat2(AT_FDCWD, written_as_.c_str(), AT_FDCWD, path_.c_str(), RENAME_NOREPLACE) == 0) return true;
  if (errno != EINVAL && errno != ENOSYS) return false;
  return ::rename(written_as_.c_str(), path_.c_str()) == 0;
}

std::optional<FileProblem> NewFile::publish() {
  if (::fsync(fd_) != 0) return problem("write");
  if (!take_name()) return errno == EEXIST ? exists_already(path_) : problem("give its name to");
  written_as_.clear();
  const std::filesystem::path parent = path_.parent_path();
  const int directory = ::open(parent.empty() ? "." : parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool durable = directory >= 0 && ::fsync(directory) == 0;
  const int error = errno;
  if (directory >= 0) ::close(directory);
  errno = error;
  // Some file systems have nothing to sync there.
  if (!durable && errno != EINVAL) return problem("make durable the name of");
  return std::nullopt;
}

}  // namespace kv::client
