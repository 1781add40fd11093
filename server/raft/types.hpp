// The vocabulary of the consensus core: terms, positions, entries and the messages of Raft, as values.
// Everything in server/raft/ uses the standard library, and shared bytes, only.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/shared_bytes.hpp"

namespace kv::raft {

// An unsigned number that cannot be mistaken for another kind of number.
template <class Tag>
struct Number {
  std::uint64_t value = 0;

  constexpr Number() = default;
  constexpr explicit Number(std::uint64_t v) : value(v) {}
  constexpr auto operator<=>(const Number&) const = default;
  constexpr Number next() const { return Number(value + 1); }
  constexpr Number previous() const { return Number(value - 1); }  // of a value above 0
};

using Term = Number<struct TermTag>;    // 0: before any election
using Index = Number<struct IndexTag>;  // a position in the log, the first is 1; 0: before the log

constexpr Index operator+(Index index, std::uint64_t count) {
  return Index(index.value + count);
}
constexpr std::uint64_t operator-(Index a, Index b) {
  return a.value - b.value;
}

// A server's name. Empty: nobody.
struct NodeId {
  std::string name;

  NodeId() = default;
  explicit NodeId(std::string n) : name(std::move(n)) {}
  auto operator<=>(const NodeId&) const = default;
  bool empty() const { return name.empty(); }
};

using Payload = SharedBytes;

struct Entry {
  Term term;
  Index index;
  Payload command;  // its bytes mean nothing to the core; null for the no-op at the start of a term

  std::size_t bytes() const { return command.size(); }
  bool operator==(const Entry&) const = default;
};

// A place in the log, as the two sides of a comparison name it.
struct Position {
  Index index;
  Term term;
  auto operator<=>(const Position&) const = default;
};

// Says of the disk that it holds a snapshot of the state at `position`, and of the log how it goes on from there.
struct SnapshotMark {
  Position position;
  Payload context;          // what has to be known without reading the snapshot; means nothing to the core
  bool resets_log = false;  // what the log had is not what the snapshot stands for: it begins anew behind it
};

// What must be durable before any promise of this term is given (Raft figure 2, "persistent state").
struct HardState {
  Term term;
  NodeId vote;  // empty: none in this term
  bool operator==(const HardState&) const = default;
};

// RequestVote (Raft §5.2, §5.4); with `pre` the question only (dissertation §9.6), with `transfer` a
// hand-over of leadership (dissertation §3.10), which passes by PreVote and the lease.
struct VoteRequest {
  Term term;
  NodeId candidate;
  Index last_index;
  Term last_term;
  bool pre = false;
  bool transfer = false;
};

struct VoteReply {
  Term term;
  bool granted = false;
  bool pre = false;
};

// AppendEntries (Raft §5.3). `round` numbers the leader's questions to all: an answer that carries it back
// confirms the leader's linearizable reads of this round and earlier ones (dissertation §6.4).
struct AppendRequest {
  Term term;
  NodeId leader;
  Index prev_index;
  Term prev_term;
  std::vector<Entry> entries;
  Index commit;
  std::uint64_t round = 0;
  bool operator==(const AppendRequest&) const = default;
};

struct AppendReply {
  Term term;
  bool success = false;
  Index match;  // success: everything up to here is durable and equals the leader's log
  std::uint64_t round = 0;
  // Without success: the prev_index that was refused, and the last place where the logs may still agree.
  Index rejected;
  Index hint_index;
  Term hint_term;
  // Of the server that answers, whatever the question was.
  Index wants_snapshot = {};  // it lacks the state up to here, and needs a snapshot of this position or a later one
  bool full = false;          // its disk has no room for more than what must not fail
};

// Stand for election at once (dissertation §3.10).
struct TimeoutNow {
  Term term;
  NodeId leader;
};

using Message = std::variant<VoteRequest, VoteReply, AppendRequest, AppendReply, TimeoutNow>;

struct Envelope {
  NodeId peer;  // to whom, or from whom
  Message message;
};

enum class Role { follower, pre_candidate, candidate, leader };

// What to make durable, in one batch. Entries at or before a position that is already on disk replace it
// and everything after it. A mark comes before the entries of the same write.
struct Write {
  std::uint64_t id = 0;
  std::optional<HardState> hard_state;  // when it changed
  std::vector<Entry> entries;
  Index commit;  // the commit position known now; recovery may apply up to it
  std::optional<SnapshotMark> snapshot = std::nullopt;
  Index droppable = {};  // what is at or before it is in durable snapshots, and the disk may forget it
};

// All that the outside must do, in this order of meaning: `send` may leave at once; `write` goes to the
// disk; `send_after` may leave when that same write is durable.
struct Output {
  std::optional<Write> write;
  std::vector<Envelope> send;
  std::vector<Envelope> send_after;
  std::vector<Entry> committed;  // to apply, in order

  struct SafeRead {
    std::uint64_t id = 0;
    Index index;  // may be served once everything up to here is applied
  };
  std::vector<SafeRead> reads;
  std::vector<std::uint64_t> dropped_reads;  // leadership was lost before they were confirmed: ask again

  struct Changed {
    Role role = Role::follower;
    Term term;
    NodeId leader;  // empty: none known
    bool operator==(const Changed&) const = default;
  };
  std::optional<Changed> changed;
};

}  // namespace kv::raft
