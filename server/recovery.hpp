// What a server begins with: the newest whole snapshot of its data directory, and the log behind it.
//
// The two are made durable one after the other, so a crash may leave a snapshot that the log has not been told of;
// and either may be damaged later. What fits is put together here, and what does not is refused with a remedy
// (docs/formats.md, "Recovery").
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/file.hpp"
#include "server/replica.hpp"
#include "server/snapshots.hpp"
#include "server/wal.hpp"

namespace kv {

struct Recovered {
  std::unique_ptr<Wal> wal;
  std::unique_ptr<Snapshots> snapshots;
  ReplicaRestored replica;

  // For the log and for tests.
  std::string identity;
  bool fresh = false;  // there was nothing: it has just been created
  Wal::Recovered log;  // its entries moved into `replica`
  std::uint64_t snapshot_bytes = 0;
  std::vector<std::string> warnings;
};

// Puts the state of a backup into a data directory that is empty, as what a new cluster begins with; or in which an
// earlier call is all that has ever been done, whatever cut that off. Throws std::runtime_error if the backup is
// damaged, FileError, and std::invalid_argument if there is something else in the directory.
void restore_backup(Directory& directory, File& backup, const std::string& backup_name, SnapshotOptions options);

// Opens the data directory, or creates what is in it with `new_identity`. Throws WalCorruption or FileError.
// `is_restored`: restore_backup() has just been there, and the log begins behind what it has left.
Recovered recover(Directory& directory, const WalOptions& log_options, const SnapshotOptions& snapshot_options,
                  const std::string& new_identity, bool is_restored = false);

// The members that are known: as the log names them last, of what is known to be committed, or first, or as the
// snapshot has them; nullopt if the cluster has not begun.
std::optional<command::Members> members_of(const ReplicaRestored& restored);

}  // namespace kv
