// The snapshots in a data directory: whole states of the store, each in a file of its own (docs/formats.md). The
// two newest are kept, so that one that turns out to be damaged has another behind it.
//
// A Snapshots owns the files that it has open: the one being written, the one being received, and those that others
// read. It performs what the replica asks for, in the order in which it is asked; it belongs to one thread at a
// time. A file gets its name when all of it is durable: so one with a snapshot's name is whole, or was damaged
// later. Any FileError that gets out is final, as for the log.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "server/file.hpp"
#include "server/gentle_writer.hpp"
#include "server/snapshot_task.hpp"

namespace kv {

// What is wrong with a snapshot's file, for a person.
struct SnapshotProblem {
  std::uint64_t offset = 0;
  std::string what;
};

struct SnapshotOptions {
  std::size_t max_sessions = sessions_kept;
  std::size_t piece_bytes = 128 << 10;       // for a client, at once
  std::size_t peer_piece_bytes = 512 << 10;  // the next is asked for when one is on the other's disk
  std::size_t part_bytes = 64 << 10;         // to the disk, at once: whole blocks
};

struct LoadedSnapshot {
  raft::Position position;
  std::unique_ptr<Store> store;
  std::uint64_t bytes = 0;  // of the file
};

// Reads all of the file. Throws FileError if it cannot.
std::variant<LoadedSnapshot, SnapshotProblem> load_snapshot(File& file, std::size_t max_sessions);

// "0000000000000123-0000000000000007.snap": position, then term, in decimal.
std::string snapshot_file_name(raft::Position position);
// The snapshots that there are, by their names, the newest first.
std::vector<raft::Position> list_snapshots(Directory& directory);

class Snapshots {
 public:
  // Removes what was left unfinished. `directory` must outlive it.
  Snapshots(Directory& directory, SnapshotOptions options);
  ~Snapshots();

  // The newest that is whole, nullopt if there is none. `damaged` gets a text for each newer one, with its name.
  struct Damaged {
    std::string name;
    std::string text;
  };
  std::optional<LoadedSnapshot> load_newest(std::vector<Damaged>& damaged);
  // It is no snapshot any more, and is kept as NAME.damaged for whoever wants to know.
  void set_aside(const std::string& name);

  // nullopt: this task has no result.
  std::optional<SnapshotResult> perform(SnapshotTask task);
  // Of the files that are gone, for whoever can give back their room beside all else: that takes a while. What
  // nobody takes goes before the next task.
  std::vector<std::unique_ptr<Remains>> take_remains();

 private:
  struct Saving;
  struct Receiving;
  struct Reading {
    raft::Position position;
    std::unique_ptr<File> file;
  };
  // Keeps its bytes as long as somebody reads it.
  struct Gone {
    raft::Position position;
    std::unique_ptr<Remains> remains;  // null: there are none
  };

  std::optional<SnapshotResult> carry_out(snapshot_task::Save& task);
  std::optional<SnapshotResult> carry_out(snapshot_task::Read& task);
  std::optional<SnapshotResult> carry_out(snapshot_task::Release& task);
  std::optional<SnapshotResult> carry_out(snapshot_task::Receive& task);
  std::optional<SnapshotResult> carry_out(snapshot_task::Discard& task);
  std::optional<SnapshotResult> carry_out(snapshot_task::MakeRoom& task);

  snapshot_result::Saved save(snapshot_task::Save& task);
  snapshot_result::Received receive(snapshot_task::Receive& task);
  void give_name(GentleWriter& file, const std::string& temporary, raft::Position position);
  raft::Index keep_newest(std::size_t count);
  void remove_unfinished(const std::string& name);
  bool is_read(raft::Position position) const;
  void let_go();

  Directory& directory_;
  SnapshotOptions options_;
  std::unique_ptr<Saving> saving_;
  std::unique_ptr<Receiving> receiving_;
  std::map<SnapshotReader, Reading> reading_;
  std::vector<Gone> gone_;
  std::vector<std::unique_ptr<Remains>> remains_;
};

}  // namespace kv
