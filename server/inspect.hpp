// What is in a data directory, and what is wrong with it: for `kvd inspect`. Reads only, and goes on after damage.
//
// Each file is read by itself, as far as it can be. What a server would begin with is not judged a second time:
// recover() is asked, on a directory that forgets what is changed in it (server/dry_directory.hpp).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "server/command.hpp"
#include "server/file.hpp"
#include "server/raft/types.hpp"
#include "server/wal.hpp"

namespace kv::inspect {

using Problem = WalDamage;

struct Segment {
  std::string name;
  std::uint64_t number = 0;
  std::uint64_t bytes = 0;  // of the file
  bool is_whole = true;     // nothing is wrong in it
  bool is_spare = false;
  std::uint64_t batches = 0;
  std::uint64_t first_batch = 0;
  std::uint64_t last_batch = 0;
  std::uint64_t entries = 0;  // how many were written, also such as were replaced later
  raft::Index first;          // the lowest and the highest of their positions
  raft::Index last;
  raft::Index commit;                       // the highest recorded in it
  std::optional<std::uint64_t> free_bytes;  // nothing: not known, because of damage
};

struct Snapshot {
  std::string name;
  raft::Position position;
  std::uint64_t bytes = 0;            // of the file
  std::optional<std::string> damage;  // what is wrong with it; then the rest is not known
  std::uint64_t damage_offset = 0;
  std::uint64_t keys = 0;
  std::uint64_t data_bytes = 0;  // of keys and values
  std::uint64_t sessions = 0;
  std::uint64_t digest = 0;
};

// A file that is neither a segment nor a snapshot.
struct Leftover {
  std::string name;
  std::uint64_t bytes = 0;
  std::string what;
};

enum class RecordKind { vote, snapshot, put, del, txn, no_op, members, unknown };

// One record of the log.
struct Record {
  RecordKind kind = RecordKind::no_op;
  raft::Term term;
  raft::Index index;              // 0 for a vote
  std::string text;               // the key; whom the vote was for; the members' names; what a txn does, printable
  std::uint64_t value_bytes = 0;  // that are put
  bool is_replaced = false;       // a later one is in its place
};

struct Key {
  std::string key;
  std::uint64_t ts = 0;
  std::uint64_t value_bytes = 0;
};

// What a server that starts here begins with.
struct Start {
  raft::Position snapshot;   // 0: none
  bool lacks_state = false;  // the state before the log is neither in a snapshot nor in the log
  raft::Index first;         // of the log's entries behind it; 0: none
  raft::Index last;
  raft::Index commit;
};

struct Findings {
  std::string path;
  std::string identity;  // empty: no segment says it
  raft::HardState hard_state;
  std::optional<command::Members> members;
  std::vector<Segment> segments;
  std::vector<Snapshot> snapshots;  // the newest first
  std::vector<Leftover> leftovers;
  std::vector<Record> records;  // if asked for
  std::vector<Key> keys;        // if asked for: of the newest whole snapshot
  std::optional<Start> start;   // nothing: a server refuses to start
  std::vector<std::string> notes;
  std::vector<Problem> problems;
};

struct Options {
  bool records = false;
  bool keys = false;
  // A server is writing here. So what does not fit together is looked at again, a few times.
  bool is_in_use = false;
};

// Whether there is a log or a snapshot.
bool is_data_directory(Directory& directory);

// Throws FileError if the directory cannot be listed.
Findings look_at(Directory& directory, const Options& options);

}  // namespace kv::inspect
