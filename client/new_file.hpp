// A file that is being written, and that nobody shall take for a whole one before it is: it has another name beside
// the one that it will get, or none at all. What is not published is gone when the NewFile is.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace kv::client {

// For a person: what could not be done with which file, and why.
struct FileProblem {
  std::string text;
};

class NewFile {
 public:
  // `path` appears with publish(). One that exists is refused, at once and again by publish(), unless it may be
  // replaced; something else than a regular file always is.
  static std::variant<NewFile, FileProblem> beside(std::filesystem::path path, bool may_replace);
  // For what is read again from here alone; in the directory for temporary files.
  static std::variant<NewFile, FileProblem> unnamed();

  ~NewFile();
  NewFile(NewFile&& other) noexcept;
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  std::optional<FileProblem> append(std::string_view bytes);
  // Begins again.
  std::optional<FileProblem> clear();
  // The bytes from there on, at most `count`; none at the end.
  std::variant<std::string, FileProblem> read(std::uint64_t offset, std::size_t count) const;
  // Durable, and then under its name. Nothing but destruction after this.
  std::optional<FileProblem> publish();

 private:
  NewFile(int fd, std::filesystem::path path, std::string written_as, bool may_replace)
      : fd_(fd), path_(std::move(path)), written_as_(std::move(written_as)), may_replace_(may_replace) {}

  FileProblem problem(const char* what) const;
  bool take_name() const;

  int fd_;
  std::filesystem::path path_;  // the name that it will get; empty: none
  std::string written_as_;      // the name that it has; empty: none, or published
  bool may_replace_;
};

// "\"a b.backup\"": a file's name as messages have it.
std::string name_of_file(const std::filesystem::path& path);

}  // namespace kv::client
