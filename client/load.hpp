// `kvctl load`: puts every item of a file of JSON lines (common/item_line.hpp) into a cluster, many at a time, and
// each once whatever becomes of servers and connections.
#pragma once

#include <asio/awaitable.hpp>

#include "client/commands.hpp"
#include "client/input_lines.hpp"
#include "client/options.hpp"
#include "client/outcome.hpp"

namespace kv::client {

asio::awaitable<Exit> load(Context& context, LoadCommand command, InputLines input);

}  // namespace kv::client
