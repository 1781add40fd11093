// What the log shows of requests, answers and messages between servers, at debug level, in a form made for
// reading. Keys are escaped; values are not shown.
#pragma once

#include "common/connection.hpp"
#include "common/message.hpp"
#include "server/replica.hpp"

namespace kv {

void log_request(const Connection& client, const message::Request& request, const Replica& replica);
void log_answer(const Connection& client, const message::Answer& answer);
void log_sent(const PeerMessage& message);
void log_received(const PeerMessage& message);

}  // namespace kv
