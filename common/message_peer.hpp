// What servers say to each other (docs/protocol.md), as plain typed structs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/message_client.hpp"

namespace kv::message {

struct PeerInit {
  std::uint64_t protocol = protocol_version;
  std::string cluster;  // empty: this server has none yet
  std::string node;
  std::string identity;
  std::string to;
  std::string advertise;       // where clients reach `node`
  std::string peer_advertise;  // where servers reach `node`
  std::string seed = {};       // the backup that `node` was restored from; empty: none, or the cluster has begun
  bool operator==(const PeerInit&) const = default;
};

struct PeerInitOk {
  std::uint64_t protocol = protocol_version;
  std::string server;
  std::string cluster;
  std::string node;
  std::string identity;
  std::string advertise;
  std::string peer_advertise;
  std::string seed = {};
  bool operator==(const PeerInitOk&) const = default;
};

struct Vote {
  std::uint64_t term = 0;
  std::string candidate;
  std::uint64_t last_index = 0;
  std::uint64_t last_term = 0;
  bool pre = false;
  bool transfer = false;
  bool operator==(const Vote&) const = default;
};

struct VoteOk {
  std::uint64_t term = 0;
  bool granted = false;
  bool pre = false;
  bool operator==(const VoteOk&) const = default;
};

// The first entry of a term, which changes nothing.
struct Noop {
  bool operator==(const Noop&) const = default;
};

struct ClusterMember {
  std::string node;
  std::string identity;
  std::string peer_address;
  std::string client_address;
  bool operator==(const ClusterMember&) const = default;
};

// The cluster's id and everyone in it: the first entry of every log, and again when an address changes.
struct Members {
  std::string cluster;
  std::vector<ClusterMember> members;
  bool operator==(const Members&) const = default;
};

// A log entry as REPLICATION shows it: the command is the client's write itself, under a format version.
template <class Text>
struct LogEntryOf {
  std::uint64_t term = 0;
  std::uint64_t index = 0;
  std::variant<Noop, PutOf<Text>, DeleteOf<Text>, TxnOf<Text>, Members> command;
  bool operator==(const LogEntryOf&) const = default;
};
using LogEntry = LogEntryOf<std::string>;

template <class Text>
struct ReplicationOf {
  std::uint64_t term = 0;
  std::string leader;
  std::uint64_t prev_index = 0;
  std::uint64_t prev_term = 0;
  std::vector<LogEntryOf<Text>> entries;
  std::uint64_t commit = 0;
  std::uint64_t round = 0;
  bool operator==(const ReplicationOf&) const = default;
};
using Replication = ReplicationOf<std::string>;
// One whose writes show the texts of the log's commands.
using ReplicationView = ReplicationOf<std::string_view>;

struct ReplicationOk {
  std::uint64_t term = 0;
  bool success = false;
  std::uint64_t match = 0;
  std::uint64_t round = 0;
  // Where it does not match: the prev_index that was refused, and where the logs may still agree.
  std::uint64_t rejected = 0;
  std::uint64_t hint_index = 0;
  std::uint64_t hint_term = 0;
  // It lacks the state up to here; its disk is full.
  std::uint64_t wants_snapshot = 0;
  bool full = false;
  bool operator==(const ReplicationOk&) const = default;
};

// A part of a snapshot, in place of log entries that the leader no longer has. `index` and `index_term` are the
// position that the snapshot is of.
struct Snapshot {
  std::uint64_t term = 0;
  std::string leader;
  std::uint64_t index = 0;
  std::uint64_t index_term = 0;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;  // of the whole
  std::string bytes;
  bool operator==(const Snapshot&) const = default;
};

// Which byte is wanted next; all are there when it is `size`. `damaged`: what has come is no whole snapshot.
struct SnapshotOk {
  std::uint64_t term = 0;
  std::uint64_t index = 0;
  std::uint64_t offset = 0;
  bool damaged = false;
  bool operator==(const SnapshotOk&) const = default;
};

struct TimeoutNow {
  std::uint64_t term = 0;
  std::string leader;
  bool operator==(const TimeoutNow&) const = default;
};

// Asks the leader at which position a linearizable read that arrived before this message may be served.
struct ReadIndex {
  bool operator==(const ReadIndex&) const = default;
};

struct ReadIndexOk {
  std::uint64_t index = 0;
  bool operator==(const ReadIndexOk&) const = default;
};

// `number` is the sender's own; the answer carries it back.
// `term` is the one in which the sender believes the receiver to lead: it takes the write in no other, so that
// a write that was overtaken on its way cannot enter the log behind the client's back.
struct Forward {
  std::uint64_t number = 0;
  std::uint64_t term = 0;
  std::uint64_t timeout_ms = default_timeout_ms;
  std::variant<Put, Delete, Txn, ReadIndex> request;
  bool operator==(const Forward&) const = default;
};

// An Error with NO_LEADER says that the receiver does not lead and nothing has entered its log.
struct ForwardOk {
  std::uint64_t number = 0;
  std::variant<PutOk, DeleteOk, TxnOk, ReadIndexOk, Error> answer;
  bool operator==(const ForwardOk&) const = default;
};

using Peer = std::variant<PeerInit, PeerInitOk, Vote, VoteOk, Replication, ReplicationOk, TimeoutNow, Snapshot,
                          SnapshotOk, Forward, ForwardOk, Error>;

}  // namespace kv::message
