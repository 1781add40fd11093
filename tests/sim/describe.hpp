// Messages in words, for the story of a run, and as numbers, for its hash.
#pragma once

#include <string>

#include "server/replica.hpp"
#include "tests/sim/world.hpp"

namespace kv::sim {

std::string describe(const raft::Write& write);
std::string describe(const PeerMessage& message);
std::string describe(const message::Request& request);
std::string describe(const message::Answer& answer);

void mix_into(TraceHash& hash, const PeerMessage& message);
void mix_into(TraceHash& hash, const message::Answer& answer);

}  // namespace kv::sim
