// `kvctl watch` and `kvctl wait`: what changes, as it changes.
#pragma once

#include <asio/awaitable.hpp>

#include "client/commands.hpp"
#include "client/options.hpp"
#include "client/outcome.hpp"

namespace kv::client {

asio::awaitable<Exit> watch(Context& context, WatchCommand command);
asio::awaitable<Exit> wait(Context& context, WaitCommand command);

}  // namespace kv::client
