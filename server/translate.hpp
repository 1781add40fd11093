// Between the messages of the wire and what the server keeps: clients' writes <-> commands of the log, and
// the core's messages <-> VOTE, REPLICATION, … Pure functions.
#pragma once

#include <cstddef>
#include <optional>
#include <variant>

#include "common/message.hpp"
#include "server/command.hpp"
#include "server/raft/types.hpp"

namespace kv {

using WriteBody = std::variant<message::Put, message::Delete, message::Txn>;

std::size_t bytes_of(const WriteBody& body);  // of keys and values

command::Command to_command(WriteBody body);
// nullopt: not a client's write.
std::optional<WriteBody> to_write(command::Command command);

message::Operation to_wire(command::Operation::What what);
message::Peer to_wire(const raft::Message& message);
// nullopt: not one of the core's messages.
std::optional<raft::Message> from_wire(message::Peer message);

}  // namespace kv
