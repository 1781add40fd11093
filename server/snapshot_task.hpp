// What a replica wants done with snapshots, and what came of it, as values: the replica has no files. Tasks are
// performed in their order, away from the event loop (server/snapshots.hpp), and each but Discard and Release has
// one result.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "common/snapshot_format.hpp"
#include "server/raft/types.hpp"
#include "server/store.hpp"

namespace kv {

// Who reads a snapshot: a peer, by its name, or a client of this server.
struct SnapshotReader {
  std::string peer;  // empty: it is a client
  std::uint64_t client = 0;
  auto operator<=>(const SnapshotReader&) const = default;
};

namespace snapshot_task {

// Another part of a snapshot of this server's own state. The first one begins it, in place of one that is not
// finished.
struct Save {
  raft::Position position;
  bool first = false;
  std::uint64_t needs_bytes = 0;           // the first: it is not begun where there are fewer
  std::string records;                     // may be empty
  std::optional<snapshot::Totals> totals;  // with the last part: it becomes durable, and older ones may go
};

// Some bytes of a durable snapshot from `offset` on. What a reader has begun to read is kept for it.
struct Read {
  SnapshotReader reader;
  raft::Position position;
  std::uint64_t offset = 0;
  std::uint64_t request = 0;  // a client's id of it
};

// The reader needs no more.
struct Release {
  SnapshotReader reader;
};

// A part of a snapshot that comes from `from`, its leader.
struct Receive {
  raft::NodeId from;
  raft::Position position;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  std::string bytes;
};

// Nobody needs this state any more; to free it takes a while.
struct Discard {
  std::unique_ptr<Store> store;
};

// There is no room on the disk: all but the newest snapshot may go.
struct MakeRoom {};

}  // namespace snapshot_task

using SnapshotTask = std::variant<snapshot_task::Save, snapshot_task::Read, snapshot_task::Release,
                                  snapshot_task::Receive, snapshot_task::Discard, snapshot_task::MakeRoom>;

namespace snapshot_result {

// Of a Save: the part is taken.
struct Saved {
  raft::Position position;
  bool whole = false;  // and all of it durable
  raft::Index older;   // then: the one that is kept beside it; 0: none
  std::uint64_t bytes = 0;
};

// Of a Save: the disk has no room for it, and it was given up.
struct NotSaved {
  raft::Position position;
};

// Of a Read.
struct Piece {
  SnapshotReader reader;
  raft::Position position;
  std::uint64_t offset = 0;
  std::uint64_t request = 0;
  std::uint64_t size = 0;  // of the whole; 0: it is gone
  std::string bytes;
};

// Of a Receive: what is wanted next.
struct Received {
  raft::NodeId from;
  raft::Position position;
  std::uint64_t offset = 0;
  std::unique_ptr<Store> store;  // all has come, is whole and durable, and this is it
  raft::Index older;             // then: as above
  std::string problem;           // else: why nothing was kept, for a person
  bool damaged = false;          // because of what has come
};

// Of a MakeRoom: which snapshot is left.
struct MadeRoom {
  raft::Index newest;
};

}  // namespace snapshot_result

using SnapshotResult = std::variant<snapshot_result::Saved, snapshot_result::NotSaved, snapshot_result::Piece,
                                    snapshot_result::Received, snapshot_result::MadeRoom>;

}  // namespace kv
