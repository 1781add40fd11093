// The load that asks what a reader elsewhere pays for reading what was just written: a PUT at the leader, at once a
// GET with its timestamp at another server, and the same GET once more, which has nothing to wait for.
#pragma once

#include <asio/awaitable.hpp>
#include <memory>

#include "client/bench_plan.hpp"
#include "common/connection.hpp"

namespace kv::client {

// One after the other until the plan is over or a connection breaks. The plan must outlive it.
asio::awaitable<void> follow(BenchPlan& plan, std::shared_ptr<Connection> leader,
                             std::shared_ptr<Connection> other);

}  // namespace kv::client
