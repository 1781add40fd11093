// How a scenario shows what the core says: messages by their names on the wire, positions as index/term.
#pragma once

#include <string>
#include <variant>
#include <vector>

#include "server/raft/raft.hpp"

namespace kv::scenario {

inline std::string text_of(raft::Index index, raft::Term term) {
  return std::to_string(index.value) + "/" + std::to_string(term.value);
}

// 4/2 "x", of a leader's opening entry 4/2 no-op, and 4/2 alone where the script gave the entry no command.
inline std::string text_of(const raft::Entry& entry) {
  const std::string place = text_of(entry.index, entry.term);
  if (!entry.command) return place + " no-op";
  return entry.command.size() == 0 ? place : place + " \"" + std::string(*entry.command) + "\"";
}

inline std::string text_of(const std::vector<raft::Entry>& entries) {
  std::string out;
  for (const raft::Entry& entry : entries) out += (out.empty() ? "" : " ") + text_of(entry);
  return out;
}

inline std::string round_text(std::uint64_t round) {
  return round == 0 ? "" : ", round " + std::to_string(round);
}

inline std::string text_of(const raft::VoteRequest& request) {
  return std::string("VOTE ") + (request.pre ? "pre, " : "") + (request.transfer ? "transfer, " : "") + "term " +
         std::to_string(request.term.value) + ", last " + text_of(request.last_index, request.last_term);
}

inline std::string text_of(const raft::VoteReply& reply) {
  return std::string("VOTE_OK ") + (reply.pre ? "pre, " : "") + "term " + std::to_string(reply.term.value) +
         (reply.granted ? ", granted" : ", not granted");
}

inline std::string text_of(const raft::AppendRequest& request) {
  return "REPLICATION term " + std::to_string(request.term.value) + ", prev " +
         text_of(request.prev_index, request.prev_term) +
         (request.entries.empty() ? "" : ", entries " + text_of(request.entries)) + ", commit " +
         std::to_string(request.commit.value) + round_text(request.round);
}

inline std::string text_of(const raft::AppendReply& reply) {
  const std::string out = "REPLICATION_OK term " + std::to_string(reply.term.value);
  if (reply.success) return out + ", match " + std::to_string(reply.match.value) + round_text(reply.round);
  // Without a position: the leader's term is over, and that is all there is to say.
  if (reply.rejected == raft::Index{}) return out + ", no success";
  return out + ", rejected " + std::to_string(reply.rejected.value) + ", hint " +
         text_of(reply.hint_index, reply.hint_term) + round_text(reply.round);
}

inline std::string text_of(const raft::TimeoutNow& request) {
  return "TIMEOUT_NOW term " + std::to_string(request.term.value);
}

inline std::string text_of(const raft::Message& message) {
  return std::visit([](const auto& m) { return text_of(m); }, message);
}

inline std::string text_of(raft::Role role) {
  switch (role) {
    case raft::Role::follower:
      return "follower";
    case raft::Role::pre_candidate:
      return "pre-candidate";
    case raft::Role::candidate:
      return "candidate";
    case raft::Role::leader:
      return "leader";
  }
  return "?";
}

inline std::string text_of(const raft::Output::Changed& changed) {
  const bool follows = changed.role == raft::Role::follower && !changed.leader.empty();
  return text_of(changed.role) + (follows ? " of " + changed.leader.name : "") + ", term " +
         std::to_string(changed.term.value);
}

inline std::string text_of(const raft::Write& write) {
  std::string out;
  if (write.hard_state) {
    const raft::NodeId& vote = write.hard_state->vote;
    out = "term " + std::to_string(write.hard_state->term.value) + ", " +
          (vote.empty() ? "no vote" : "vote " + vote.name);
  }
  if (!write.entries.empty()) out += (out.empty() ? "entries " : ", entries ") + text_of(write.entries);
  return out;
}

}  // namespace kv::scenario
