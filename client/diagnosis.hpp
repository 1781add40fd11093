// What is wrong with a cluster, as far as its servers' STATUS tells: who is behind, and why.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "client/client.hpp"

namespace kv::client {

// The highest position that any of them knows to be committed: who has applied less is behind.
std::uint64_t highest_committed(const std::vector<NodeStatus>& rows);

bool has_leader(const std::vector<NodeStatus>& rows);

// A line for each trouble, fit for a terminal; none if all is well.
std::vector<std::string> troubles_of(const std::vector<NodeStatus>& rows);

}  // namespace kv::client
