// What kvctl remembers while it runs and, through a SessionFile, between runs: the cluster and the timestamps.
//
// Three ways: a file for each cluster in the state directory (the default; it follows whichever cluster answers),
// one file that the user named and that belongs to one cluster, or nothing beyond this process. A file that
// can't be used is a warning, told once, and never a failure of the command.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "client/session_file.hpp"
#include "client/timestamps.hpp"

namespace kv::client {

class Session {
 public:
  using Warn = std::function<void(const std::string&)>;

  static Session per_cluster(std::filesystem::path directory, Warn warn);
  static Session in_file(std::filesystem::path file, Warn warn);
  static Session in_memory(Warn warn);

  // The cluster that a named file belongs to, before any server has been asked; empty: none.
  std::string remembered_cluster();
  // A server of this cluster has answered: from now on the timestamps are this cluster's.
  void attach(const std::string& cluster);
  const std::string& cluster() const { return cluster_; }

  // What the next GET of the key has to send. Looks whether another kvctl has seen more meanwhile.
  std::uint64_t position_of(std::string_view key);
  // The highest of all keys: what has this has every write of this user.
  std::uint64_t highest_position();
  // Remembers, in the file too.
  void learn(std::string_view key, std::uint64_t ts);
  // For many keys at once: every later GET, of whichever key, waits for this.
  void learn_for_all(std::uint64_t ts);

 private:
  explicit Session(Warn warn) : warn_(std::move(warn)) {}
  void load();
  void look_again();
  void keep();
  void warn_once(const std::string& text);

  Warn warn_;
  std::filesystem::path directory_;  // per_cluster
  std::optional<SessionFile> file_;
  std::string cluster_;
  Timestamps timestamps_;
  std::string last_warning_;
};

}  // namespace kv::client
