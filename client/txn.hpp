// `kvctl txn`: several operations at one moment, or others if a condition does not hold.
#pragma once

#include <asio/awaitable.hpp>

#include "client/commands.hpp"
#include "client/outcome.hpp"
#include "common/message.hpp"

namespace kv::client {

asio::awaitable<Exit> txn(Context& context, message::Txn request);

}  // namespace kv::client
