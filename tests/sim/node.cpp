#include "tests/sim/node.hpp"

#include <utility>

#include "tests/sim/describe.hpp"

namespace kv::sim {
namespace {

constexpr std::uint64_t look_for_room_ticks = 1000 / tick_ms;  // as server/engine.cpp
constexpr Time turn = 100;                                     // of the event loop, at most
constexpr Time restart_after = 100 * ms;                       // by whoever watches the process

}  // namespace

Node::Node(World& world, Judge& judge, NodeOutlet& outlet, NodeIndex index, std::vector<std::string> names)
    : world_(world),
      judge_(judge),
      outlet_(outlet),
      index_(index),
      name_(names[index]),
      names_(std::move(names)),
      disk_(world, "disk of " + name_),
      disk_latency_(world.plan.disk) {}

Node::~Node() = default;

// ---- Inputs

void Node::hand(Task input) {
  if (!is_up()) return;
  if (paused_) {
    inbox_.push_back(std::move(input));
  } else {
    input();
  }
}

void Node::poke() {
  if (poked_) return;
  poked_ = true;
  const Time when = world_.random.below(turn);
  world_.scheduler.after(when, [this, process = process_] {
    if (process == process_) hand([this] { flush(); });
  });
}

void Node::tick() {
  world_.scheduler.after(tick_, [this, process = process_] {
    if (process != process_) return;
    // The ticks that a pause has swallowed are not made up.
    if (!paused_) {
      replica_->tick();
      judge_.ticked(name_);
      poke();
      if (!has_room_ && !under_way_ && ++ticks_without_room_ % look_for_room_ticks == 0) look_for_room();
    }
    if (process == process_) tick();
  });
}

void Node::flush() {
  poked_ = false;
  Effects effects = replica_->take_effects();
  for (const Notice& notice : effects.notices) world_.tell(name_, notice.text);
  if (effects.write) judge_.writes(name_, *effects.write);
  const raft::Index committed = judge_.stepped(name_, *replica_);
  if (world_.tells() && replica_->raft().commit() > committed) {
    world_.tell(name_, "has committed " + std::to_string(replica_->raft().commit().value) + ", applied " +
                           std::to_string(replica_->applied()));
  }
  if (effects.write) start_write(std::move(*effects.write));
  for (PeerMessage& message : effects.send) {
    judge_.sends(name_, message);
    outlet_.deliver(index_, std::move(message));
  }
  for (ClientAnswer& answer : effects.answers) {
    judge_.answers(name_, answer);
    outlet_.deliver(index_, std::move(answer));
  }
  if (replica_->has_more()) poke();
}

// ---- The disk

void Node::set_disk(Time latency) {
  disk_hangs_ = latency == 0;
  if (!disk_hangs_) disk_latency_ = latency;
  if (!disk_hangs_ && under_way_) {
    world_.scheduler.after(latency, [this, process = process_, id = under_way_->id] {
      if (process == process_) hand([this, id] { finish_write(id); });
    });
  }
}

void Node::start_write(raft::Write write) {
  under_way_ = std::move(write);
  const Time latency = calm_ ? disk_latency_ : world_.random.skewed(disk_latency_);
  if (end_in_write_) {
    world_.scheduler.after(world_.random.below(latency + 1), [this, process = process_] {
      if (process != process_ || !end_in_write_) return;
      const InWrite in_write = *std::exchange(end_in_write_, std::nullopt);
      end(in_write.how,
          in_write.how == End::reset ? "killed while it writes" : "its machine loses power in a write");
      in_write.then();
    });
  }
  world_.scheduler.after(latency, [this, process = process_, id = under_way_->id] {
    if (process != process_ || disk_hangs_) return;
    hand([this, id] { finish_write(id); });
  });
}

void Node::finish_write(std::uint64_t id) {
  if (!under_way_ || under_way_->id != id) return;  // it has ended already
  const raft::Write write = *std::exchange(under_way_, std::nullopt);
  disk_in_order_ = false;
  try {
    wal_->append(write);
  } catch (const FileError& error) {
    give_up(error);
    return;
  }
  disk_in_order_ = true;
  judge_.written(name_);
  has_room_ = wal_->has_spare();
  note_room();
  if (world_.tells()) world_.tell(name_, describe(write) + ": durable");
  replica_->written(write.id);
  poke();
}

void Node::check_cause(const FileError& error) {
  world_.check(Rule::ends_for_cause, disk_.excuses_an_end(),
               [&] { return name_ + " gives up though nothing is wrong with its disk: " + error.what(); });
}

void Node::give_up(const FileError& error) {
  check_cause(error);
  end(End::reset, error.what());
  keep_trying();
}

void Node::look_for_room() {
  disk_in_order_ = false;
  try {
    has_room_ = wal_->try_spare();
  } catch (const FileError& error) {
    give_up(error);
    return;
  }
  disk_in_order_ = true;
  note_room();
}

void Node::note_room() {
  replica_->disk_has_room(has_room_);
}

// The process or the machine ends while it writes: how far it got, nobody knows.
void Node::interrupt_disk(bool power) {
  if (under_way_) {
    disk_in_order_ = false;
    // Most batches are two operations; one that begins a segment is many more.
    const std::uint64_t most = world_.random.percent(50) ? 2 : 10;
    disk_.interrupt_in(world_.random.between(1, most));
    try {
      wal_->append(*under_way_);
    } catch (const Interrupted&) {
    } catch (const FileError&) {
    }
    under_way_.reset();
  }
  if (power) {
    disk_.power_lost();
  } else {
    disk_.process_ended();
  }
}

// ---- The process

void Node::start() {
  if (is_up() || damaged_) return;
  try {
    open_log();
  } catch (const Interrupted&) {
    world_.coverage.note(Fault::kill_in_recovery);
    world_.tell(name_, "killed while it started");
    wal_.reset();
    const bool power = world_.random.percent(50);
    interrupt_disk(power);
    keep_trying();
  } catch (const FileError& error) {
    check_cause(error);
    world_.tell(name_, std::string("cannot start: ") + error.what());
    wal_.reset();
    disk_.process_ended();
    keep_trying();
  } catch (const WalCorruption& error) {
    world_.tell(name_, std::string("refuses to start: ") + error.what());
    world_.check(Rule::damage_found, must_be_damaged_,
                 [&] { return name_ + " finds damage where there is none: " + error.what(); });
    wal_.reset();
    disk_.process_ended();
    damaged_ = true;
  }
}

void Node::open_log() {
  disk_in_order_ = false;
  if (!calm_ && world_.plan.has(Fault::kill_in_recovery) && world_.random.percent(30)) {
    disk_.interrupt_in(world_.random.between(1, 20));
  }
  if (!calm_ && world_.plan.has(Fault::failed_sync) && world_.random.percent(40)) {
    disk_.fail_sync_in(world_.random.between(1, 3));
  }
  WalOptions options;
  options.segment_bytes = world_.plan.segment_bytes;
  options.zeros_ahead_bytes = world_.plan.zeros_ahead_bytes;
  Wal::Recovered recovered;
  const std::string fresh = "identity-of-" + name_ + "-" + std::to_string(identities_);
  // As long as a UUID.
  wal_ = std::make_unique<Wal>(disk_, options, fresh + std::string(36 - fresh.size(), '.'), recovered);
  disk_.interrupt_in(0);
  disk_in_order_ = true;
  world_.check(Rule::damage_found, !must_be_damaged_,
               [&] { return name_ + " starts on a log with a flipped bit"; });
  judge_.recovered(name_, recovered);
  run_replica(std::move(recovered));
}

void Node::run_replica(Wal::Recovered recovered) {
  identity_ = recovered.identity;
  ++process_;
  const Plan& plan = world_.plan;
  ReplicaConfig config;
  config.self = {name_, identity_, name_ + ":7501", name_ + ":7401"};
  config.names = names_;
  config.new_cluster = "cluster-of-" + identity_ + "-" + std::to_string(process_);
  config.server = "kvd";
  if (plan.preferred_leader) config.preferred_leader = names_[*plan.preferred_leader];
  config.heartbeat_ticks = plan.heartbeat_ticks;
  config.election_ticks = plan.election_ticks;
  config.delay_ticks = plan.delay_ticks[index_];
  config.seed = world_.random.next();
  config.raft_limits = plan.limits;
  config.limits = plan.replica_limits;
  config.sessions_kept = plan.sessions_kept;
  replica_ = std::make_unique<Replica>(
      std::move(config), ReplicaRestored{recovered.hard_state, std::move(recovered.entries), recovered.commit});
  paused_ = stopping_ = poked_ = false;
  has_room_ = wal_->has_spare();
  note_room();
  if (world_.tells()) {
    world_.tell(name_, "starts: term " + std::to_string(recovered.hard_state.term.value) + ", log up to " +
                           std::to_string(replica_->raft().log().last_index().value) + ", applied " +
                           std::to_string(replica_->applied()));
  }
  judge_.started(name_, *replica_);
  outlet_.node_started(index_);
  tick();
}

void Node::end(End how_noticed, const std::string& how) {
  world_.tell(name_, "ends: " + how);
  interrupt_disk(how_noticed == End::silence);
  replica_.reset();
  wal_.reset();
  inbox_.clear();
  paused_ = false;
  ++process_;
  judge_.ended(name_);
  outlet_.node_ended(index_, how_noticed);
  if (calm_) keep_trying();  // it was already on its way to its end
}

void Node::keep_trying() {
  const Time pause = world_.random.between(restart_after / 2, 3 * restart_after);
  world_.scheduler.after(pause, [this] { start(); });
}

void Node::kill() {
  if (is_up()) end(End::reset, "killed");
}

void Node::lose_power() {
  if (is_up()) end(End::silence, "its machine loses power");
}

void Node::end_in_write(End how, std::function<void()> then) {
  end_in_write_ = InWrite{how, std::move(then)};
}

void Node::terminate() {
  if (!is_up() || stopping_) return;
  hand([this] {
    stopping_ = true;
    world_.tell(name_, "is told to stop");
    replica_->stop();
    poke();
    wait_until_quiet(world_.random.below(200));  // whoever waits for it is not always patient
  });
}

void Node::wait_until_quiet(std::uint64_t tries) {
  world_.scheduler.after(tick_, [this, tries, process = process_] {
    if (process != process_) return;
    hand([this, tries] {
      if (!replica_->is_quiet() && tries > 0) {
        wait_until_quiet(tries - 1);
        return;
      }
      replica_->abandon();
      flush();
      judge_.stopped(name_);
      end(End::reset, "stopped in order");
    });
  });
}

void Node::pause() {
  paused_ = is_up();
}

void Node::resume() {
  if (!std::exchange(paused_, false)) return;
  world_.tell(name_, "goes on");
  const std::uint64_t process = process_;
  for (Task& input : std::exchange(inbox_, {})) {
    if (process == process_) hand(std::move(input));
  }
}

// ---- The directory

void Node::calm() {
  calm_ = true;
  end_in_write_.reset();
  disk_.calm();
  set_disk(world_.plan.disk);
  set_tick(tick_ms * ms);
  mend();
  resume();
  start();
}

void Node::wipe(bool keep) {
  kill();
  mend();
  ++identities_;
  disk_.wipe(keep);
}

void Node::give_back() {
  if (!disk_.is_wiped()) return;
  kill();
  mend();
  disk_.give_back();
}

void Node::flip_a_bit() {
  kill();
  if (!disk_in_order_ || !disk_.is_settled() || must_be_damaged_) return;
  const std::optional<std::string> where = disk_.flip_a_bit();
  must_be_damaged_ = where.has_value();
  if (where) world_.tell(name_, "a bit flips in " + *where);
}

void Node::mend() {
  if (!must_be_damaged_) return;
  disk_.undo_flips();
  must_be_damaged_ = damaged_ = false;
  world_.tell(name_, "the flipped bit is mended");
}

}  // namespace kv::sim
