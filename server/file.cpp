#include "server/file.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <system_error>
#include <utility>

namespace kv {
namespace {

constexpr const char* lock_name = "LOCK";
constexpr std::size_t zeros_bytes = 1 << 20;
constexpr std::uint64_t page_bytes = 64 << 10;  // the largest that Linux has, or a multiple of it
constexpr off_t given_back_at_once = 1 << 20;

// The data is a database's: nobody but its user has any business with it.
constexpr mode_t directory_mode = 0700;
constexpr mode_t file_mode = 0600;

[[noreturn]] void fail(std::string_view action, std::string_view path, int error = errno) {
  throw FileError(action, path, error);
}

// Repeats a system call that a signal has interrupted before it did anything.
template <class Call>
auto uninterrupted(Call call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

// Owns a file descriptor.
class Handle {
 public:
  explicit Handle(int fd) : fd_(fd) {}
  Handle(Handle&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Handle& operator=(Handle other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~Handle() {
    if (fd_ >= 0) ::close(fd_);
  }
  int fd() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }

 private:
  int fd_;
};

Handle open_at(int directory, const std::string& name, int flags, std::string_view action,
               const std::string& full_path) {
  const int fd = uninterrupted([&] { return ::openat(directory, name.c_str(), flags | O_CLOEXEC, file_mode); });
  if (fd < 0) fail(action, full_path);
  return Handle(fd);
}

class PosixFile final : public File {
 public:
  PosixFile(Handle handle, std::string path) : handle_(std::move(handle)), path_(std::move(path)) {}

  std::uint64_t size() override {
    struct stat status {};
    if (::fstat(handle_.fd(), &status) < 0) fail("look at", path_);
    return static_cast<std::uint64_t>(status.st_size);
  }

  std::size_t read_at(std::uint64_t offset, std::span<char> out) override {
    std::size_t done = 0;
    while (done < out.size()) {
      const ssize_t n = uninterrupted([&] {
        return ::pread(handle_.fd(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
      });
      if (n < 0) fail("read", path_);
      if (n == 0) break;
      done += static_cast<std::size_t>(n);
    }
    return done;
  }

  void write_at(std::uint64_t offset, std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t n = uninterrupted(
          [&] { return ::pwrite(handle_.fd(), bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
      if (n < 0) fail("write", path_);
      if (n == 0) fail("write", path_, EIO);
      bytes.remove_prefix(static_cast<std::size_t>(n));
      offset += static_cast<std::uint64_t>(n);
    }
  }

  void allocate(std::uint64_t new_size) override {
    const std::uint64_t old_size = size();
    if (new_size <= old_size) return;
    const int result = uninterrupted([&] {
      return ::fallocate(handle_.fd(), 0, static_cast<off_t>(old_size), static_cast<off_t>(new_size - old_size));
    });
    if (result == 0) return;
    if (errno != EOPNOTSUPP && errno != ENOSYS) fail("make room for", path_);
    // A file system that cannot reserve: bytes that have been written have their room.
    const std::string zeros(zeros_bytes, '\0');
    for (std::uint64_t at = old_size; at < new_size; at += zeros.size()) {
      write_at(at, std::string_view(zeros).substr(0, std::min<std::uint64_t>(zeros.size(), new_size - at)));
    }
  }

  // Not repeated after EINTR either: what an interrupted sync has reported to nobody is not known.
  void sync() override {
    if (::fdatasync(handle_.fd()) < 0) fail("sync", path_);
  }

  bool write_past_pages(std::uint64_t offset, std::string_view bytes) override {
    if (!asked_for_past_pages_) past_pages_ = open_past_pages(0);
    asked_for_past_pages_ = true;
    if (!past_pages_) return false;
    const ssize_t n = uninterrupted(
        [&] { return ::pwrite(past_pages_->fd(), bytes.data(), bytes.size(), static_cast<off_t>(offset)); });
    if (n < 0 && (errno == EINVAL || errno == EOPNOTSUPP)) return false;
    if (n < 0) fail("write", path_);
    // Of one that was cut short, the other way goes on or tells why.
    write_at(offset + static_cast<std::uint64_t>(n), bytes.substr(static_cast<std::size_t>(n)));
    return true;
  }

  // A write past pages that are there would have to wait for them, so there should be none: those that were read or
  // written before go now, and write_durably() leaves none.
  std::optional<int> direct() override {
    if (!asked_for_direct_) {
      asked_for_direct_ = true;
      direct_ = open_past_pages(O_DSYNC);
      if (direct_) forget_pages(0);
    }
    if (!direct_) return std::nullopt;
    return direct_->fd();
  }

  void write_durably(std::uint64_t offset, std::string_view bytes) override {
    File::write_durably(offset, bytes);
    if (direct_) forget_pages(offset / page_bytes * page_bytes);
  }

 private:
  std::optional<Handle> open_past_pages(int how) {
    const std::string same_file = "/proc/self/fd/" + std::to_string(handle_.fd());
    Handle handle(uninterrupted([&] { return ::open(same_file.c_str(), O_WRONLY | O_DIRECT | O_CLOEXEC | how); }));
    if (handle.fd() < 0) return std::nullopt;
    return handle;
  }

  // All from the offset on, also those that others have read. Where it does not succeed nothing is lost but time.
  void forget_pages(std::uint64_t offset) {
    ::posix_fadvise(handle_.fd(), static_cast<off_t>(offset), 0, POSIX_FADV_DONTNEED);
  }

  Handle handle_;
  std::string path_;
  bool asked_for_direct_ = false;
  std::optional<Handle> direct_;
  bool asked_for_past_pages_ = false;
  std::optional<Handle> past_pages_;
};

// Of a file without a name, which goes when its last handle is closed, also if this process does not live to do so.
class PosixRemains final : public Remains {
 public:
  PosixRemains(Handle handle, off_t size) : handle_(std::move(handle)), size_(size) {}

  ~PosixRemains() override {
    while (size_ > 0) {
      size_ = std::max<off_t>(0, size_ - given_back_at_once);
      if (::ftruncate(handle_.fd(), size_) < 0) break;  // then all that is left goes at once
    }
  }

 private:
  Handle handle_;
  off_t size_;
};

class PosixDirectory : public Directory {
 public:
  PosixDirectory(Handle handle, Handle lock, std::string path)
      : handle_(std::move(handle)), lock_(std::move(lock)), path_(std::move(path)) {}

  std::string path() const override { return path_; }

  std::vector<std::string> list() override {
    // An own descriptor: fdopendir takes it over, and its reading position with it.
    Handle handle = open_at(handle_.fd(), ".", O_RDONLY | O_DIRECTORY, "list", path_);
    std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(handle.fd()), &::closedir);
    if (!stream) fail("list", path_);
    handle.release();

    std::vector<std::string> names;
    for (;;) {
      errno = 0;
      const dirent* entry = ::readdir(stream.get());
      if (!entry && errno != 0) fail("list", path_);
      if (!entry) break;
      std::string name = entry->d_name;
      if (name != lock_name && is_plain_file(*entry)) names.push_back(std::move(name));
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  std::unique_ptr<File> create(const std::string& name) override {
    return file(open_at(handle_.fd(), name, O_RDWR | O_CREAT | O_EXCL, "create", full(name)), name);
  }

  std::unique_ptr<File> open(const std::string& name) override { return open(name, O_RDWR); }

  void rename(const std::string& from, const std::string& to) override {
    if (::renameat(handle_.fd(), from.c_str(), handle_.fd(), to.c_str()) < 0) fail("rename", full(from));
  }

  void remove(const std::string& name) override {
    if (::unlinkat(handle_.fd(), name.c_str(), 0) < 0) fail("remove", full(name));
  }

  std::unique_ptr<Remains> remove_gently(const std::string& name) override {
    Handle handle(
        uninterrupted([&] { return ::openat(handle_.fd(), name.c_str(), O_WRONLY | O_CLOEXEC, file_mode); }));
    remove(name);
    // That it goes little by little is not worth an error: there may be no descriptor to spare. And what has
    // another name, as in a copy by links, stays whole.
    struct stat status {};
    if (handle.fd() < 0 || ::fstat(handle.fd(), &status) < 0 || status.st_nlink > 0) return nullptr;
    return std::make_unique<PosixRemains>(std::move(handle), status.st_size);
  }

  void sync() override {
    if (::fsync(handle_.fd()) < 0) fail("sync", path_);
  }

  std::uint64_t free_bytes() override {
    struct statvfs status {};
    if (::fstatvfs(handle_.fd(), &status) < 0) return UINT64_MAX;
    return std::uint64_t{status.f_bfree} * status.f_frsize;
  }

 protected:
  std::unique_ptr<File> open(const std::string& name, int flags) const {
    return file(open_at(handle_.fd(), name, flags, "open", full(name)), name);
  }

  std::string full(const std::string& name) const { return path_ + '/' + name; }

 private:
  std::unique_ptr<File> file(Handle handle, const std::string& name) const {
    return std::make_unique<PosixFile>(std::move(handle), full(name));
  }

  // Some file systems do not tell the type along with the name.
  bool is_plain_file(const dirent& entry) {
    if (entry.d_type != DT_UNKNOWN) return entry.d_type == DT_REG;
    struct stat status {};
    if (::fstatat(handle_.fd(), entry.d_name, &status, AT_SYMLINK_NOFOLLOW) < 0) {
      fail("look at", full(entry.d_name));
    }
    return S_ISREG(status.st_mode);
  }

  Handle handle_;
  Handle lock_;
  std::string path_;
};

class ReadOnlyDirectory final : public PosixDirectory {
 public:
  ReadOnlyDirectory(Handle handle, std::string path)
      : PosixDirectory(std::move(handle), Handle(-1), std::move(path)) {}

  std::unique_ptr<File> create(const std::string& name) override { fail("create", full(name), EROFS); }
  std::unique_ptr<File> open(const std::string& name) override { return PosixDirectory::open(name, O_RDONLY); }
  void rename(const std::string& from, const std::string&) override { fail("rename", full(from), EROFS); }
  void remove(const std::string& name) override { fail("remove", full(name), EROFS); }
  void sync() override { fail("sync", path(), EROFS); }
};

Handle open_folder(const std::string& path) {
  return open_at(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, "open directory", path);
}

std::string without_trailing_slashes(std::string path) {
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  return path;
}

// mkdir -p. A new folder is durable only when the one it is in has been synced.
void create_folders(const std::string& path) {
  for (std::size_t end = 0; end != std::string::npos;) {
    end = path.find('/', end + 1);
    const std::string folder = path.substr(0, end);
    if (::mkdir(folder.c_str(), directory_mode) < 0) {
      if (errno != EEXIST) fail("create directory", folder);
      continue;
    }
    const std::size_t slash = folder.find_last_of('/');
    const std::string parent = slash == std::string::npos ? "." : folder.substr(0, slash + 1);
    if (::fsync(open_folder(parent).fd()) < 0) fail("sync", parent);
  }
}

}  // namespace

FileError::FileError(std::string_view action, std::string_view path, int error)
    : std::runtime_error("cannot " + std::string(action) + ' ' + std::string(path) + ": " +
                         std::generic_category().message(error)),
      error_(error) {}

bool FileError::no_space() const {
  return error_ == ENOSPC || error_ == EDQUOT;
}

std::unique_ptr<File> open_file_to_read(const std::string& path) {
  return std::make_unique<PosixFile>(open_at(AT_FDCWD, path, O_RDONLY, "open", path), path);
}

std::unique_ptr<Directory> open_directory(const std::string& path) {
  std::string folder = without_trailing_slashes(path);
  create_folders(folder);
  Handle handle = open_folder(folder);
  const std::string lock_path = folder + '/' + lock_name;
  Handle lock = open_at(handle.fd(), lock_name, O_RDWR | O_CREAT, "create", lock_path);
  if (uninterrupted([&] { return ::flock(lock.fd(), LOCK_EX | LOCK_NB); }) < 0) {
    fail(errno == EWOULDBLOCK ? "lock (another process has it open)" : "lock", lock_path);
  }
  return std::make_unique<PosixDirectory>(std::move(handle), std::move(lock), std::move(folder));
}

std::unique_ptr<Directory> open_directory_to_read(const std::string& path) {
  std::string folder = without_trailing_slashes(path);
  Handle handle = open_folder(folder);
  return std::make_unique<ReadOnlyDirectory>(std::move(handle), std::move(folder));
}

}  // namespace kv
