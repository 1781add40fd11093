// The file in which timestamps outlive a kvctl process, so that one-shot commands read their own writes too.
//
// Several processes may use one file at the same time: add() merges under a lock (flock on a file beside it) and
// replaces the file by rename, so a reader needs no lock and sees either the old one or the new one, whole.
// Nothing here is fatal: problems come back as text, for a warning.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <variant>

#include "client/timestamps.hpp"

namespace kv::client {

class SessionFile {
 public:
  explicit SessionFile(std::filesystem::path path, std::size_t limit = Timestamps::max_keys);

  struct Content {
    std::string cluster;  // empty: there is no file yet
    Timestamps timestamps;
  };
  struct Problem {
    std::string text;
    bool begun_anew = false;  // the file was damaged and is out of the way: add() begins a new one
  };
  // A damaged file is moved aside (to `<path>.damaged`), so that it is told once and can be looked at. A file
  // that is no session file of this version is left alone: it may be something else that is dear to someone.
  std::variant<Content, Problem> load();

  // Adds what `seen` holds to the file, keeping the highest of each key, and returns the sum. `warning` is set
  // when the file was damaged and has been started anew. A file of another cluster is left as it is: Problem.
  struct Added {
    Timestamps timestamps;
    std::string warning;
  };
  std::variant<Added, Problem> add(const std::string& cluster, const Timestamps& seen);

  // Whether another process has replaced the file since load() or add().
  bool changed() const;
  const std::filesystem::path& path() const { return path_; }

 private:
  // Which file it was, as far as that can be seen from outside.
  struct Stamp {
    std::uint64_t inode = 0;
    std::int64_t seconds = 0;
    std::int64_t nanoseconds = 0;
    std::int64_t size = 0;
    bool operator==(const Stamp&) const = default;
  };
  static std::optional<Stamp> stamp_of(const std::filesystem::path& path);
  std::variant<Content, Problem> read(bool locked);
  Problem move_aside(const std::string& damage);
  std::optional<Problem> replace(const std::string& text);

  std::filesystem::path path_;
  std::size_t limit_;
  std::optional<Stamp> stamp_;
};

// $XDG_STATE_HOME/kvctl, or ~/.local/state/kvctl; empty if there is no home directory.
std::filesystem::path state_directory();

}  // namespace kv::client
