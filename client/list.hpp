// `kvctl list`: the keys that there are, in their order, page after page.
#pragma once

#include <asio/awaitable.hpp>

#include "client/commands.hpp"
#include "client/options.hpp"
#include "client/outcome.hpp"

namespace kv::client {

asio::awaitable<Exit> list(Context& context, ListCommand command);

}  // namespace kv::client
