// `kvctl dump`: every item as a line of JSON (common/item_line.hpp), in the order of the keys and all of one
// moment, from a running cluster or from a backup.
#pragma once

#include <asio/awaitable.hpp>

#include "client/commands.hpp"
#include "client/options.hpp"
#include "client/outcome.hpp"

namespace kv::client {

asio::awaitable<Exit> dump(Context& context, DumpCommand command);

}  // namespace kv::client
