#include "server/translate.hpp"

#include <memory>
#include <string>
#include <utility>

#include "common/overloaded.hpp"
#include "server/raft/invariant.hpp"

namespace kv {
namespace {

std::optional<command::Session> to_session(std::optional<message::WriteSession> session) {
  if (!session) return std::nullopt;
  return command::Session{std::move(session->session), session->seq, session->session_from};
}

std::optional<message::WriteSession> from_session(std::optional<command::Session> session) {
  if (!session) return std::nullopt;
  return message::WriteSession{std::move(session->id), session->seq, session->from};
}

static_assert(static_cast<int>(command::Operation::What::put) == static_cast<int>(message::Operation::put) + 1);
static_assert(static_cast<int>(command::Operation::What::erase) == static_cast<int>(message::Operation::erase) + 1);
static_assert(static_cast<int>(command::Operation::What::get) == static_cast<int>(message::Operation::get) + 1);

std::vector<command::Operation> to_operations(std::vector<message::TxnOperation> wire) {
  std::vector<command::Operation> operations;
  operations.reserve(wire.size());
  for (message::TxnOperation& operation : wire) {
    const bool is_put = operation.op == message::Operation::put;
    operations.push_back({static_cast<command::Operation::What>(static_cast<int>(operation.op) + 1),
                          std::move(operation.key), is_put ? std::move(*operation.value) : std::string()});
  }
  return operations;
}

std::vector<message::TxnOperation> from_operations(std::vector<command::Operation> operations) {
  std::vector<message::TxnOperation> wire;
  wire.reserve(operations.size());
  for (command::Operation& operation : operations) {
    const bool is_put = operation.what == command::Operation::What::put;
    wire.push_back({to_wire(operation.what), std::move(operation.key),
                    is_put ? std::optional(std::move(operation.value)) : std::nullopt});
  }
  return wire;
}

command::Txn to_txn(message::Txn wire) {
  command::Txn txn{{},
                   to_operations(std::move(wire.then)),
                   to_operations(std::move(wire.otherwise)),
                   to_session(std::move(wire.session))};
  for (message::TxnCondition& condition : wire.conditions) {
    txn.conditions.push_back({std::move(condition.key), condition.ts});
  }
  return txn;
}

message::Txn from_txn(command::Txn txn) {
  message::Txn wire{{},
                    from_operations(std::move(txn.then)),
                    from_operations(std::move(txn.otherwise)),
                    from_session(std::move(txn.session))};
  for (command::Condition& condition : txn.conditions) {
    wire.conditions.push_back({std::move(condition.key), condition.ts});
  }
  return wire;
}

using WireCommand = decltype(message::LogEntry::command);

WireCommand to_wire_command(const raft::Payload& payload) {
  if (!payload) return message::Noop{};
  std::optional<command::Command> command = command::decode(*payload);
  invariant(command.has_value(), "the log holds only commands of a known version");
  return std::visit(
      Overloaded{[](command::Put& put) -> WireCommand {
                   return message::Put{std::move(put.key), std::move(put.value), put.if_ts,
                                       from_session(std::move(put.session))};
                 },
                 [](command::Delete& del) -> WireCommand {
                   return message::Delete{std::move(del.key), del.if_ts, from_session(std::move(del.session))};
                 },
                 [](command::Txn& txn) -> WireCommand { return from_txn(std::move(txn)); },
                 [](command::Members& members) -> WireCommand {
                   message::Members wire{std::move(members.cluster), {}};
                   for (auto& member : members.members) {
                     wire.members.push_back({std::move(member.node), std::move(member.identity),
                                             std::move(member.peer_address), std::move(member.client_address)});
                   }
                   return wire;
                 }},
      *command);
}

raft::Payload from_wire_command(WireCommand wire) {
  std::optional<command::Command> command = std::visit(
      Overloaded{[](message::Noop&) -> std::optional<command::Command> { return std::nullopt; },
                 [](message::Put& put) -> std::optional<command::Command> { return to_command(std::move(put)); },
                 [](message::Delete& del) -> std::optional<command::Command> { return to_command(std::move(del)); },
                 [](message::Txn& txn) -> std::optional<command::Command> { return to_command(std::move(txn)); },
                 [](message::Members& members) -> std::optional<command::Command> {
                   command::Members out{std::move(members.cluster), {}};
                   for (auto& member : members.members) {
                     out.members.push_back({std::move(member.node), std::move(member.identity),
                                            std::move(member.peer_address), std::move(member.client_address)});
                   }
                   return out;
                 }},
      wire);
  return command ? raft::Payload(command::encode(*command)) : nullptr;
}

}  // namespace

message::Operation to_wire(command::Operation::What what) {
  return static_cast<message::Operation>(static_cast<int>(what) - 1);
}

std::size_t bytes_of(const WriteBody& body) {
  if (const auto* put = std::get_if<message::Put>(&body)) return put->key.size() + put->value.size();
  if (const auto* del = std::get_if<message::Delete>(&body)) return del->key.size();
  std::size_t bytes = 0;
  const auto& txn = std::get<message::Txn>(body);
  for (const message::TxnCondition& condition : txn.conditions) bytes += condition.key.size();
  for (const auto* operations : {&txn.then, &txn.otherwise}) {
    for (const message::TxnOperation& operation : *operations) {
      bytes += operation.key.size() + (operation.value ? operation.value->size() : 0);
    }
  }
  return bytes;
}

command::Command to_command(WriteBody body) {
  if (auto* put = std::get_if<message::Put>(&body)) {
    return command::Put{std::move(put->key), std::move(put->value), put->if_ts,
                        to_session(std::move(put->session))};
  }
  if (auto* txn = std::get_if<message::Txn>(&body)) return to_txn(std::move(*txn));
  auto& del = std::get<message::Delete>(body);
  return command::Delete{std::move(del.key), del.if_ts, to_session(std::move(del.session))};
}

std::optional<WriteBody> to_write(command::Command command) {
  if (auto* put = std::get_if<command::Put>(&command)) {
    return message::Put{std::move(put->key), std::move(put->value), put->if_ts,
                        from_session(std::move(put->session))};
  }
  if (auto* del = std::get_if<command::Delete>(&command)) {
    return message::Delete{std::move(del->key), del->if_ts, from_session(std::move(del->session))};
  }
  if (auto* txn = std::get_if<command::Txn>(&command)) return from_txn(std::move(*txn));
  return std::nullopt;
}

message::Peer to_wire(const raft::Message& message) {
  return std::visit(
      Overloaded{[](const raft::VoteRequest& m) -> message::Peer {
                   return message::Vote{m.term.value, m.candidate.name, m.last_index.value, m.last_term.value,
                                        m.pre,        m.transfer};
                 },
                 [](const raft::VoteReply& m) -> message::Peer {
                   return message::VoteOk{m.term.value, m.granted, m.pre};
                 },
                 [](const raft::AppendRequest& m) -> message::Peer {
                   message::Replication wire{
                       m.term.value,   m.leader.name, m.prev_index.value, m.prev_term.value, {},
                       m.commit.value, m.round};
                   wire.entries.reserve(m.entries.size());
                   for (const raft::Entry& entry : m.entries) {
                     wire.entries.push_back({entry.term.value, entry.index.value, to_wire_command(entry.command)});
                   }
                   return wire;
                 },
                 [](const raft::AppendReply& m) -> message::Peer {
                   return message::ReplicationOk{
                       m.term.value,       m.success,         m.match.value,          m.round, m.rejected.value,
                       m.hint_index.value, m.hint_term.value, m.wants_snapshot.value, m.full};
                 },
                 [](const raft::TimeoutNow& m) -> message::Peer {
                   return message::TimeoutNow{m.term.value, m.leader.name};
                 }},
      message);
}

std::optional<raft::Message> from_wire(message::Peer message) {
  using Result = std::optional<raft::Message>;
  return std::visit(Overloaded{[](message::Vote& m) -> Result {
                                 return raft::VoteRequest{raft::Term(m.term),
                                                          raft::NodeId(std::move(m.candidate)),
                                                          raft::Index(m.last_index),
                                                          raft::Term(m.last_term),
                                                          m.pre,
                                                          m.transfer};
                               },
                               [](message::VoteOk& m) -> Result {
                                 return raft::VoteReply{raft::Term(m.term), m.granted, m.pre};
                               },
                               [](message::Replication& m) -> Result {
                                 raft::AppendRequest request{raft::Term(m.term),
                                                             raft::NodeId(std::move(m.leader)),
                                                             raft::Index(m.prev_index),
                                                             raft::Term(m.prev_term),
                                                             {},
                                                             raft::Index(m.commit),
                                                             m.round};
                                 request.entries.reserve(m.entries.size());
                                 for (message::LogEntry& entry : m.entries) {
                                   request.entries.push_back({raft::Term(entry.term), raft::Index(entry.index),
                                                              from_wire_command(std::move(entry.command))});
                                 }
                                 return request;
                               },
                               [](message::ReplicationOk& m) -> Result {
                                 return raft::AppendReply{raft::Term(m.term),
                                                          m.success,
                                                          raft::Index(m.match),
                                                          m.round,
                                                          raft::Index(m.rejected),
                                                          raft::Index(m.hint_index),
                                                          raft::Term(m.hint_term),
                                                          raft::Index(m.wants_snapshot),
                                                          m.full};
                               },
                               [](message::TimeoutNow& m) -> Result {
                                 return raft::TimeoutNow{raft::Term(m.term), raft::NodeId(std::move(m.leader))};
                               },
                               [](auto&) -> Result { return std::nullopt; }},
                    message);
}

}  // namespace kv
