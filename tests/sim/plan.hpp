// What a seed decides before a run begins (swarm testing: Groce et al., 2012): the size of the cluster, its
// settings down to the smallest, and which half of the faults it will see. Faults that are always all on hide
// each other.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "server/replica.hpp"
#include "tests/sim/coverage.hpp"
#include "tests/sim/scheduler.hpp"

namespace kv::sim {

struct PlanOptions {
  std::optional<std::size_t> nodes;      // else drawn: 1, 3 or 5
  std::optional<std::uint64_t> seconds;  // of the safety phase, else drawn
};

struct Plan {
  std::uint64_t seed = 0;
  std::size_t nodes = 3;
  Time safety = 0;                // how long everything fails
  bool heal_when_formed = false;  // it ends as soon as the cluster has its first entry, while some may not know
  std::set<Fault> faults;
  Time between_faults = 0;  // about

  // The servers.
  std::uint32_t heartbeat_ticks = 0;
  std::uint32_t election_ticks = 0;
  raft::Limits limits;
  ReplicaLimits replica_limits;
  WatchLimits watch_limits;
  std::uint64_t segment_bytes = 0;
  std::uint64_t zeros_ahead_bytes = 0;
  std::size_t sessions_kept = 0;
  std::uint64_t snapshot_every = 0;        // entries
  std::size_t snapshot_log_bytes = 0;      // or so much of the log
  std::size_t snapshot_walk_bytes = 0;     // a turn
  std::size_t snapshot_piece_bytes = 0;    // a message
  std::uint64_t quota = 0;                 // 0: none
  std::vector<std::uint32_t> delay_ticks;  // of each server
  std::optional<std::size_t> preferred_leader;

  // The network and the disks, when nothing is wrong.
  Time delay = 0;
  Time disk = 0;
  std::uint64_t lost_percent = 0;   // of Raft's messages
  std::uint64_t twice_percent = 0;  // likewise
  std::uint64_t late_percent = 0;   // likewise

  // The clients.
  std::size_t clients = 0;
  std::size_t keys = 0;
  Time think = 0;  // between the answer to one request and the next, about
  std::size_t pipeline = 1;
  std::size_t followers = 0;    // clients that watch
  std::size_t value_bytes = 0;  // at most, beside what makes each value the only one

  bool has(Fault fault) const { return faults.contains(fault); }
  // To the disk at once, of a snapshot: where it is walked in small steps several of these, too.
  std::size_t snapshot_part_bytes() const { return snapshot_walk_bytes < 64 << 10 ? 4 << 10 : 64 << 10; }
  Time round() const { return 2 * delay + disk; }  // there, on disk, and back
  std::string key(std::size_t number) const;       // some keys' names begin with others'
  Time election_timeout() const;                   // the longest, on a clock that runs as it should
};

Plan draw_plan(std::uint64_t seed, const PlanOptions& options);
std::string describe(const Plan& plan);

}  // namespace kv::sim
