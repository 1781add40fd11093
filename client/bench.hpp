// `kvctl bench`: puts a cluster under load and says how many right answers came, how fast, and what else came.
#pragma once

#include <asio/awaitable.hpp>

#include "client/commands.hpp"
#include "client/options.hpp"
#include "client/outcome.hpp"

namespace kv::client {

asio::awaitable<Exit> bench(Context& context, BenchCommand command);

}  // namespace kv::client
