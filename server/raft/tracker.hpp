// What a leader knows of its peers, what a candidate knows of its votes, and what a majority is.
#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <set>
#include <vector>

#include "server/raft/types.hpp"

namespace kv::raft {

// How far one peer is (Raft figure 2, nextIndex and matchIndex), and how it is fed.
struct Progress {
  // probe: where the logs agree is not known, so one message at a time; replicate: messages follow each other
  // without waiting for the answers; snapshot: it needs entries that the log no longer has, and gets a snapshot in
  // their place, which the core does not see (dissertation §5.1). Until it has it, it gets heartbeats.
  enum class Mode { probe, replicate, snapshot };

  Mode mode = Mode::probe;
  Index match;              // durable there, and equal to ours
  Index next{1};            // the first entry of the next message
  bool probe_sent = false;  // in Mode::probe: an answer or a heartbeat is awaited
  struct Sent {
    Index last;  // entry of the message
    std::size_t bytes = 0;
  };
  std::deque<Sent> in_flight;  // unanswered messages with entries
  std::size_t in_flight_bytes = 0;
  Index commit_sent;  // the commit position it has been told
  std::uint64_t round_sent = 0;
  std::uint64_t round_acked = 0;
  bool heartbeat_due = false;
  bool active = true;  // heard from since the last check of the quorum
  std::uint64_t ticks_since_contact = 0;
  Index wants_snapshot;  // see AppendReply
  bool full = false;     // likewise

  // Whether a snapshot is the next thing that it must get.
  bool needs_snapshot() const { return mode == Mode::snapshot || wants_snapshot != Index{}; }
  // The messages on their way may be lost: start again from what is certain, or, where nothing is yet, from the end
  // of the log.
  void restart(Index last);
  void acknowledge(Index matched);
  void note_sent(Sent sent);
};

// The ids of those that vote. A quorum is any majority of them.
class Quorum {
 public:
  explicit Quorum(std::vector<NodeId> voters);

  const std::vector<NodeId>& voters() const { return voters_; }
  std::size_t majority() const { return voters_.size() / 2 + 1; }
  bool contains(const NodeId& id) const;
  // The highest position that a majority of the given ones (one a voter, any order) has reached.
  Index reached(std::vector<Index> positions) const;

 private:
  std::vector<NodeId> voters_;
};

// The answers to one election.
class Votes {
 public:
  void record(const NodeId& from, bool granted);
  bool won(const Quorum& quorum) const { return granted_.size() >= quorum.majority(); }
  bool unanimous(const Quorum& quorum) const { return granted_.size() == quorum.voters().size(); }

 private:
  std::set<NodeId> granted_;
};

}  // namespace kv::raft
