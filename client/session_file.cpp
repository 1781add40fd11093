#include "client/session_file.hpp"

#include <fcntl.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <system_error>
#include <thread>
#include <utility>

namespace kv::client {
namespace {

// Whoever holds the lock needs a few milliseconds; one that was stopped meanwhile must not stop us.
constexpr std::chrono::milliseconds lock_patience{2000};
constexpr std::chrono::milliseconds lock_step{2};
constexpr std::size_t max_file_bytes = 256 << 20;  // 10,000 keys of 4,096 bytes, all escaped, and some

std::string reason() {
  return std::generic_category().message(errno);
}

// A descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }

 private:
  int fd_;
};

// nullopt: could not be read, errno says why.
std::optional<std::string> read_file(const std::filesystem::path& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file.valid()) return std::nullopt;
  std::string text;
  char block[64 << 10];
  for (;;) {
    const ssize_t count = ::read(file.get(), block, sizeof block);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return std::nullopt;
    if (count == 0) return text;
    text.append(block, static_cast<std::size_t>(count));
    if (text.size() > max_file_bytes) {
      errno = EFBIG;
      return std::nullopt;
    }
  }
}

bool write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return false;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return true;
}

// The lock is on a file of its own, since the session file itself is replaced.
std::variant<Descriptor, SessionFile::Problem> lock(const std::filesystem::path& path) {
  std::filesystem::path lock_path = path;
  lock_path += ".lock";
  Descriptor file(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  const auto failed = [&path](const std::string& why) {
    return SessionFile::Problem{"cannot write the session file " + path.string() + ": " + why +
                                "; later commands will not know what this one has seen"};
  };
  if (!file.valid()) return failed(reason());
  const auto give_up_at = std::chrono::steady_clock::now() + lock_patience;
  while (::flock(file.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) {
      return failed(reason());
    }
    if (std::chrono::steady_clock::now() >= give_up_at) {
      return failed("another kvctl holds " + lock_path.string());
    }
    std::this_thread::sleep_for(lock_step);
  }
  return file;
}

void make_directory_of(const std::filesystem::path& path) {
  const std::filesystem::path directory = path.parent_path();
  if (directory.empty()) return;
  std::error_code ignored;  // the open that follows tells it better
  std::filesystem::path so_far;
  for (const std::filesystem::path& part : directory) {
    so_far /= part;
    // As the XDG specification asks: for this user only. Those that exist stay as they are.
    ::mkdir(so_far.c_str(), 0700);
  }
}

}  // namespace

SessionFile::SessionFile(std::filesystem::path path, std::size_t limit) : path_(std::move(path)), limit_(limit) {}

std::optional<SessionFile::Stamp> SessionFile::stamp_of(const std::filesystem::path& path) {
  struct stat info {};
  if (::stat(path.c_str(), &info) != 0) return std::nullopt;
  return Stamp{info.st_ino, info.st_mtim.tv_sec, info.st_mtim.tv_nsec, info.st_size};
}

bool SessionFile::changed() const {
  return stamp_of(path_) != stamp_;
}

std::variant<SessionFile::Content, SessionFile::Problem> SessionFile::load() {
  return read(false);
}

std::variant<SessionFile::Content, SessionFile::Problem> SessionFile::read(bool locked) {
  stamp_ = stamp_of(path_);
  if (!stamp_ && errno == ENOENT) return Content{"", Timestamps(limit_)};
  const std::string name = "the session file " + path_.string();
  std::error_code ignored;
  if (stamp_ && !std::filesystem::is_regular_file(path_, ignored)) return Problem{name + " is not a regular file"};
  const std::optional<std::string> text = read_file(path_);
  if (!text) return Problem{"cannot read " + name + ": " + reason()};
  if (text->empty()) return Problem{name + " was empty: a new one is begun", true};
  if (!Timestamps::has_header(*text)) {
    return Problem{name +
                   " is not one of this version of kvctl, and was left as it is: remove it, or name another "
                   "with --session"};
  }
  std::string damage;
  std::optional<Timestamps::Parsed> parsed = Timestamps::parse(*text, damage, limit_);
  if (parsed) return Content{std::move(parsed->cluster), std::move(parsed->timestamps)};
  if (locked) return move_aside(damage);
  // Look again under the lock: another process may have put things right meanwhile.
  std::variant<Descriptor, Problem> lock_held = lock(path_);
  if (auto* problem = std::get_if<Problem>(&lock_held)) return std::move(*problem);
  return read(true);
}

SessionFile::Problem SessionFile::move_aside(const std::string& damage) {
  std::filesystem::path aside = path_;
  aside += ".damaged";
  const std::string what = "the session file " + path_.string() + " is damaged (" + damage + ")";
  if (::rename(path_.c_str(), aside.c_str()) != 0) {
    return Problem{what + " and cannot be moved aside: " + reason() +
                   "; remove it, or name another with --session"};
  }
  stamp_.reset();
  return Problem{
      what + ": it was moved to " + aside.string() +
          " and a new one is begun; what it remembered is lost, so a get may not see your earlier writes",
      true};
}

std::variant<SessionFile::Added, SessionFile::Problem> SessionFile::add(const std::string& cluster,
                                                                        const Timestamps& seen) {
  make_directory_of(path_);
  std::variant<Descriptor, Problem> locked = lock(path_);
  if (auto* problem = std::get_if<Problem>(&locked)) return std::move(*problem);
  Added added{Timestamps(limit_), ""};
  std::variant<Content, Problem> loaded = read(true);
  if (auto* problem = std::get_if<Problem>(&loaded)) {
    if (!problem->begun_anew) return std::move(*problem);
    added.warning = std::move(problem->text);
    stamp_.reset();
  } else {
    Content& content = std::get<Content>(loaded);
    if (!content.cluster.empty() && content.cluster != cluster) {
      return Problem{"the session file " + path_.string() + " is of cluster " + content.cluster + ", not of " +
                     cluster + ": it was left as it is"};
    }
    added.timestamps = std::move(content.timestamps);
  }
  const Timestamps before = added.timestamps;
  added.timestamps.merge(seen);
  if (stamp_ && added.timestamps == before) return added;
  if (std::optional<Problem> problem = replace(added.timestamps.to_text(cluster))) return std::move(*problem);
  return added;
}

std::optional<SessionFile::Problem> SessionFile::replace(const std::string& text) {
  std::filesystem::path next = path_;
  next += ".new";  // under the lock there is one writer
  const auto failed = [&] {
    return Problem{"cannot write the session file " + next.string() + ": " + reason() +
                   "; later commands will not know what this one has seen"};
  };
  const Descriptor file(::open(next.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) return failed();
  if (!write_all(file.get(), text) || ::fsync(file.get()) != 0) return failed();
  if (::rename(next.c_str(), path_.c_str()) != 0) return failed();
  stamp_ = stamp_of(path_);
  return std::nullopt;
}

std::filesystem::path state_directory() {
  const char* state = std::getenv("XDG_STATE_HOME");
  // The specification: a path that is not absolute is to be ignored.
  if (state != nullptr && state[0] == '/') return std::filesystem::path(state) / "kvctl";
  const char* home = std::getenv("HOME");
  if (home == nullptr || home[0] != '/') {
    const passwd* user = ::getpwuid(::getuid());
    home = user != nullptr ? user->pw_dir : nullptr;
  }
  if (home == nullptr || home[0] != '/') return {};
  return std::filesystem::path(home) / ".local" / "state" / "kvctl";
}

}  // namespace kv::client
