#include "tests/sim/plan.hpp"

#include <algorithm>
#include <string>

#include "server/replica.hpp"
#include "tests/sim/random.hpp"

namespace kv::sim {
namespace {

std::size_t draw_nodes(Random& random) {
  const std::uint64_t drawn = random.below(100);
  return drawn < 8 ? 1 : drawn < 65 ? 3 : 5;
}

void draw_faults(Plan& plan, Random& random) {
  for (std::size_t i = 0; i < faults; ++i) {
    if (random.percent(50)) plan.faults.insert(static_cast<Fault>(i));
  }
  plan.between_faults = random.between(50, 600) * ms;
  // Always, but seldom.
  plan.lost_percent = plan.has(Fault::message_lost) ? random.between(1, 15) : 0;
  plan.twice_percent = plan.has(Fault::message_twice) ? random.between(1, 10) : 0;
  plan.late_percent = plan.has(Fault::message_late) ? random.between(1, 5) : 0;
}

// Time-outs fit the network and the disks, as whoever sets them sees to: else nobody stays leader for long.
void draw_times(Plan& plan, Random& random) {
  plan.delay = random.one_in(4) ? random.between(1, 10) * ms : random.between(20, 500);
  plan.disk = random.one_in(4) ? random.between(1, 10) * ms : random.between(50, 500);
  plan.heartbeat_ticks = static_cast<std::uint32_t>(random.between(1, 5));
  const auto heartbeats = static_cast<std::uint32_t>(random.between(4, 8));
  while (plan.heartbeat_ticks * heartbeats * tick_ms * ms < 8 * plan.round()) ++plan.heartbeat_ticks;
  plan.election_ticks = plan.heartbeat_ticks * heartbeats;
}

// Mostly after a few writes, so that all that concerns them happens often.
void draw_snapshots(Plan& plan, Random& random) {
  plan.snapshot_every = random.one_in(4) ? 100'000 : random.between(1, random.one_in(2) ? 10 : 100);
  plan.snapshot_log_bytes = random.one_in(4) ? random.between(100, 10'000) : 64 << 20;
  // Not so small that a snapshot which nobody's writes hasten takes longer than the healed servers have.
  plan.snapshot_walk_bytes = random.one_in(2) ? random.between(100, 1000) : 64 << 10;
  plan.snapshot_piece_bytes = random.one_in(2) ? random.between(100, 3000) : 128 << 10;
  plan.replica_limits.kept_entries = random.one_in(2) ? random.below(20) : 10'000;
  plan.replica_limits.kept_bytes = random.one_in(4) ? random.below(2000) : 8 << 20;
  if (random.one_in(8)) plan.quota = random.between(100, 10'000);
}

// Often so small that history is lost all the time, and that what there is takes many turns.
void draw_watches(Plan& plan, Random& random) {
  WatchLimits& limits = plan.watch_limits;
  if (random.one_in(2)) limits.changes = random.between(1, 40);
  if (random.one_in(6)) limits.change_bytes = random.between(1, 10'000);
  if (random.one_in(6)) limits.watches = random.between(1, 4);
  if (random.one_in(3)) limits.client_bytes_a_turn = random.between(1, 1000);
  if (random.one_in(4)) limits.bytes_a_turn = random.between(1, 1000);
  if (random.one_in(3)) limits.looked_at_a_turn = random.between(1, 10);
  plan.followers = random.below(4);
}

// A log that is soon longer than a leader keeps for those who get a snapshot, but as in kvd not before a snapshot
// is due, nor while one is on its way; so not where a disk puts that off for long.
void draw_log(Plan& plan, Random& random) {
  if (plan.has(Fault::full_disk) || plan.has(Fault::hung_disk)) return;
  const std::uint64_t entries = random.between(20, 60);
  ReplicaLimits& limits = plan.replica_limits;
  limits.log_bytes = entries * (plan.value_bytes + 300);
  limits.kept_entries = std::min(limits.kept_entries, entries / 4);
  plan.snapshot_every = std::min(plan.snapshot_every, entries / 4);
}

void draw_server(Plan& plan, Random& random) {
  if (random.one_in(3)) plan.limits.max_append_bytes = random.between(1, 200);
  if (random.one_in(3)) plan.limits.max_in_flight = random.between(1, 4);
  if (random.one_in(3)) plan.limits.max_in_flight_bytes = random.between(1, 500);
  if (random.one_in(3)) plan.limits.max_write_bytes = random.between(1, 500);
  if (random.one_in(6)) plan.replica_limits.parked_reads = random.between(3, 8);
  if (random.one_in(6)) plan.replica_limits.open_writes = random.between(3, 8);
  if (random.one_in(6)) plan.replica_limits.open_write_bytes = random.between(4000, 8000);
  plan.segment_bytes = std::uint64_t{1024} << random.below(random.between(1, 8));
  plan.zeros_ahead_bytes = std::uint64_t{512} << random.below(6);
  plan.sessions_kept = random.one_in(4) ? random.between(1, 4) : sessions_kept;
  const bool some_delay = random.one_in(4);
  for (std::size_t i = 0; i < plan.nodes; ++i) {
    const bool delays = some_delay && random.one_in(3);
    plan.delay_ticks.push_back(delays ? static_cast<std::uint32_t>(random.between(1, 40)) : 0);
  }
  if (random.one_in(5)) plan.preferred_leader = random.below(plan.nodes);
}

}  // namespace

Plan draw_plan(std::uint64_t seed, const PlanOptions& options) {
  Random random(seed * 2 + 1);
  Plan plan;
  plan.seed = seed;
  const std::size_t drawn_nodes = draw_nodes(random);
  plan.nodes = options.nodes.value_or(drawn_nodes);
  const std::uint64_t drawn_seconds = random.between(10, 50);
  plan.heal_when_formed = !options.seconds && random.one_in(4);
  plan.safety = options.seconds.value_or(drawn_seconds) * second;
  draw_faults(plan, random);
  draw_times(plan, random);
  draw_server(plan, random);
  draw_snapshots(plan, random);
  draw_watches(plan, random);
  plan.clients = random.between(1, 6);
  plan.keys = random.between(1, 8);
  plan.think = random.between(20, 200) * ms;
  plan.pipeline = random.one_in(3) ? random.between(2, 4) : 1;
  plan.value_bytes = random.one_in(2) ? 2000 : random.between(0, 100);
  draw_log(plan, random);
  return plan;
}

std::string Plan::key(std::size_t number) const {
  return (number % 3 == 2 ? "kk" : "k") + std::to_string(number);
}

Time Plan::election_timeout() const {
  return 2 * election_ticks * tick_ms * ms;
}

std::string describe(const Plan& plan) {
  std::string text = "seed " + std::to_string(plan.seed) + ": " + std::to_string(plan.nodes) + " servers, " +
                     std::to_string(plan.safety / second) + " s of faults, heartbeat " +
                     std::to_string(plan.heartbeat_ticks * tick_ms) + " ms, election timeout from " +
                     std::to_string(plan.election_ticks * tick_ms) + " ms, segments of " +
                     std::to_string(plan.segment_bytes) + " bytes, at most " +
                     std::to_string(plan.limits.max_append_bytes) + " bytes a message and " +
                     std::to_string(plan.limits.max_write_bytes) + " a batch, snapshots every " +
                     std::to_string(plan.snapshot_every) + " entries, " + std::to_string(plan.clients) +
                     " clients, " + std::to_string(plan.followers) + " that watch, " + std::to_string(plan.keys) +
                     " keys, " + std::to_string(plan.watch_limits.changes) + " changes remembered; faults: ";
  bool first = true;
  for (const Fault fault : plan.faults) {
    if (!first) text += ", ";
    first = false;
    text += name_of(fault);
  }
  return text;
}

}  // namespace kv::sim
