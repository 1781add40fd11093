#include "server/translate.hpp"

#include <string_view>
#include <utility>

#include "common/overloaded.hpp"
#include "server/raft/invariant.hpp"

namespace kv {
namespace {

// The texts of what is converted stay where they are, or are copied, as the types of both sides say.

template <class Text>
std::optional<command::Session> to_session(const std::optional<message::WriteSessionOf<Text>>& session) {
  if (!session) return std::nullopt;
  return command::Session{session->session, session->seq, session->session_from};
}

template <class Text>
std::optional<message::WriteSessionOf<Text>> from_session(const std::optional<command::Session>& session) {
  if (!session) return std::nullopt;
  return message::WriteSessionOf<Text>{Text(session->id), session->seq, session->from};
}

static_assert(static_cast<int>(command::Operation::What::put) == static_cast<int>(message::Operation::put) + 1);
static_assert(static_cast<int>(command::Operation::What::erase) == static_cast<int>(message::Operation::erase) + 1);
static_assert(static_cast<int>(command::Operation::What::get) == static_cast<int>(message::Operation::get) + 1);

std::vector<command::Operation> to_operations(const std::vector<message::TxnOperation>& wire) {
  std::vector<command::Operation> operations;
  operations.reserve(wire.size());
  for (const message::TxnOperation& operation : wire) {
    const bool is_put = operation.op == message::Operation::put;
    operations.push_back({static_cast<command::Operation::What>(static_cast<int>(operation.op) + 1), operation.key,
                          is_put ? std::string_view(*operation.value) : std::string_view()});
  }
  return operations;
}

template <class Text>
std::vector<message::TxnOperationOf<Text>> from_operations(const std::vector<command::Operation>& operations) {
  std::vector<message::TxnOperationOf<Text>> wire;
  wire.reserve(operations.size());
  for (const command::Operation& operation : operations) {
    const bool is_put = operation.what == command::Operation::What::put;
    wire.push_back({to_wire(operation.what), Text(operation.key),
                    is_put ? std::optional(Text(operation.value)) : std::nullopt});
  }
  return wire;
}

template <class Text>
message::PutOf<Text> from_put(const command::Put& put) {
  return {Text(put.key), Text(put.value), put.if_ts, from_session<Text>(put.session)};
}

template <class Text>
message::DeleteOf<Text> from_delete(const command::Delete& erase) {
  return {Text(erase.key), erase.if_ts, from_session<Text>(erase.session)};
}

template <class Text>
message::TxnOf<Text> from_txn(const command::Txn& txn) {
  message::TxnOf<Text> wire{
      {}, from_operations<Text>(txn.then), from_operations<Text>(txn.otherwise), from_session<Text>(txn.session)};
  wire.conditions.reserve(txn.conditions.size());
  for (const command::Condition& condition : txn.conditions) {
    wire.conditions.push_back({Text(condition.key), condition.ts});
  }
  return wire;
}

message::Members from_members(const command::Members& members) {
  message::Members wire{members.cluster, {}};
  for (const command::Member& member : members.members) {
    wire.members.push_back({member.node, member.identity, member.peer_address, member.client_address});
  }
  return wire;
}

command::Members to_members(const message::Members& wire) {
  command::Members members{wire.cluster, {}};
  for (const message::ClusterMember& member : wire.members) {
    members.members.push_back({member.node, member.identity, member.peer_address, member.client_address});
  }
  return members;
}

using CommandView = decltype(message::LogEntryOf<std::string_view>::command);

CommandView view_of(const raft::Payload& payload) {
  using Text = std::string_view;
  if (!payload) return message::Noop{};
  const std::optional<command::Command> command = command::decode(*payload);
  invariant(command.has_value(), "the log holds only commands of a known version");
  return std::visit(
      Overloaded{[](const command::Put& put) -> CommandView { return from_put<Text>(put); },
                 [](const command::Delete& erase) -> CommandView { return from_delete<Text>(erase); },
                 [](const command::Txn& txn) -> CommandView { return from_txn<Text>(txn); },
                 [](const command::Members& members) -> CommandView { return from_members(members); }},
      *command);
}

raft::Payload payload_of(const decltype(message::LogEntry::command)& wire) {
  return std::visit(Overloaded{[](const message::Noop&) -> raft::Payload { return nullptr; },
                               [](const message::Members& members) { return to_payload(to_members(members)); },
                               [](const auto& write) { return to_payload(to_command(write)); }},
                    wire);
}

message::Peer to_wire(const raft::VoteRequest& m) {
  return message::Vote{m.term.value, m.candidate.name, m.last_index.value, m.last_term.value, m.pre, m.transfer};
}

message::Peer to_wire(const raft::VoteReply& m) {
  return message::VoteOk{m.term.value, m.granted, m.pre};
}

message::Peer to_wire(const raft::AppendReply& m) {
  return message::ReplicationOk{
      m.term.value,       m.success,         m.match.value,          m.round, m.rejected.value,
      m.hint_index.value, m.hint_term.value, m.wants_snapshot.value, m.full};
}

message::Peer to_wire(const raft::TimeoutNow& m) {
  return message::TimeoutNow{m.term.value, m.leader.name};
}

raft::VoteRequest to_core(const message::Vote& m) {
  return {raft::Term(m.term), raft::NodeId(m.candidate), raft::Index(m.last_index), raft::Term(m.last_term), m.pre,
          m.transfer};
}

raft::VoteReply to_core(const message::VoteOk& m) {
  return {raft::Term(m.term), m.granted, m.pre};
}

raft::AppendRequest to_core(const message::Replication& m) {
  raft::AppendRequest request{raft::Term(m.term),
                              raft::NodeId(m.leader),
                              raft::Index(m.prev_index),
                              raft::Term(m.prev_term),
                              {},
                              raft::Index(m.commit),
                              m.round};
  request.entries.reserve(m.entries.size());
  for (const message::LogEntry& entry : m.entries) {
    request.entries.push_back({raft::Term(entry.term), raft::Index(entry.index), payload_of(entry.command)});
  }
  return request;
}

raft::AppendReply to_core(const message::ReplicationOk& m) {
  return {raft::Term(m.term),
          m.success,
          raft::Index(m.match),
          m.round,
          raft::Index(m.rejected),
          raft::Index(m.hint_index),
          raft::Term(m.hint_term),
          raft::Index(m.wants_snapshot),
          m.full};
}

raft::TimeoutNow to_core(const message::TimeoutNow& m) {
  return {raft::Term(m.term), raft::NodeId(m.leader)};
}

}  // namespace

command::Put to_command(const message::Put& put) {
  return {put.key, put.value, put.if_ts, to_session(put.session)};
}

command::Delete to_command(const message::Delete& erase) {
  return {erase.key, erase.if_ts, to_session(erase.session)};
}

command::Txn to_command(const message::Txn& wire) {
  command::Txn txn{{}, to_operations(wire.then), to_operations(wire.otherwise), to_session(wire.session)};
  txn.conditions.reserve(wire.conditions.size());
  for (const message::TxnCondition& condition : wire.conditions) {
    txn.conditions.push_back({condition.key, condition.ts});
  }
  return txn;
}

raft::Payload to_payload(const command::Command& command) {
  constexpr std::size_t kept_bytes = 64 << 10;
  thread_local std::string bytes;  // kept for its memory
  bytes.clear();
  command::encode(command, bytes);
  raft::Payload payload(bytes);
  if (bytes.capacity() > kept_bytes) bytes = std::string();
  return payload;
}

ForwardedBody to_forward(const command::Command& command) {
  using Text = std::string;
  return std::visit(
      Overloaded{[](const command::Put& put) -> ForwardedBody { return from_put<Text>(put); },
                 [](const command::Delete& erase) -> ForwardedBody { return from_delete<Text>(erase); },
                 [](const command::Txn& txn) -> ForwardedBody { return from_txn<Text>(txn); },
                 [](const command::Members&) -> ForwardedBody {
                   invariant(false, "no client writes members");
                   return {};
                 }},
      command);
}

message::Operation to_wire(command::Operation::What what) {
  return static_cast<message::Operation>(static_cast<int>(what) - 1);
}

message::ReplicationView to_wire(const raft::AppendRequest& request) {
  message::ReplicationView wire{
      request.term.value,   request.leader.name, request.prev_index.value, request.prev_term.value, {},
      request.commit.value, request.round};
  wire.entries.reserve(request.entries.size());
  for (const raft::Entry& entry : request.entries) {
    wire.entries.push_back({entry.term.value, entry.index.value, view_of(entry.command)});
  }
  return wire;
}

std::variant<message::Peer, message::ReplicationView> to_wire(const raft::Message& message) {
  using Wire = std::variant<message::Peer, message::ReplicationView>;
  return std::visit([](const auto& m) { return Wire(to_wire(m)); }, message);
}

std::optional<raft::Message> from_wire(const message::Peer& message) {
  return std::visit(
      [](const auto& m) -> std::optional<raft::Message> {
        if constexpr (requires { to_core(m); }) {
          return to_core(m);
        } else {
          return std::nullopt;
        }
      },
      message);
}

}  // namespace kv
