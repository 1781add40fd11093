// Between the messages of the wire and what the server keeps: clients' writes <-> commands of the log, and
// the core's messages <-> VOTE, REPLICATION, … Pure functions.
#pragma once

#include <optional>
#include <variant>

#include "common/message.hpp"
#include "server/command.hpp"
#include "server/raft/types.hpp"

namespace kv {

// A command shows the texts of the message that it is made of.
command::Put to_command(const message::Put& put);
command::Delete to_command(const message::Delete& erase);
command::Txn to_command(const message::Txn& txn);
// As the log keeps it.
raft::Payload to_payload(const command::Command& command);

// A client's write, as one server asks another for it; aborts for members, which no client writes.
using ForwardedBody = decltype(message::Forward::request);
ForwardedBody to_forward(const command::Command& command);

message::Operation to_wire(command::Operation::What what);

// A REPLICATION shows the texts of the request's commands.
message::ReplicationView to_wire(const raft::AppendRequest& request);
std::variant<message::Peer, message::ReplicationView> to_wire(const raft::Message& message);
// nullopt: not one of the core's messages.
std::optional<raft::Message> from_wire(const message::Peer& message);

}  // namespace kv
