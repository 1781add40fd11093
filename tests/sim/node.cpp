#include "tests/sim/node.hpp"

#include <algorithm>
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
      if (!has_room_ && (!under_way_ || write_waits_) && ++ticks_without_room_ % look_for_room_ticks == 0)
        look_for_room();
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
  for (SnapshotTask& task : effects.snapshot_tasks) {
    tasks_.push_back(std::move(task));
    if (tasks_.size() == 1) start_snapshot_task();
  }
  for (PeerMessage& message : effects.send) {
    judge_.sends(name_, message);
    outlet_.deliver(index_, std::move(message));
  }
  for (ClientAnswer& answer : effects.answers) {
    judge_.answers(name_, answer);
    outlet_.deliver(index_, std::move(answer));
  }
  judge_.flushed(name_, *replica_);
  if (replica_->has_more()) poke();
}

// ---- The disk

void Node::set_disk(Time latency) {
  disk_hangs_ = latency == 0;
  if (!disk_hangs_) disk_latency_ = latency;
  if (!disk_hangs_ && !tasks_.empty()) start_snapshot_task();
  if (!disk_hangs_ && under_way_ && !write_waits_) {
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
  disk_in_order_ = write_waits_ = false;
  try {
    append(write, [&] { acknowledge(write); });
  } catch (const WalFull&) {
    under_way_ = write;
    disk_in_order_ = write_waits_ = true;
    has_room_ = false;
    note_room();
    return;
  } catch (const FileError& error) {
    under_way_.reset();  // what was to follow it never comes to the disk
    give_up(error);
    return;
  }
  disk_in_order_ = true;
  has_room_ = wal_->has_spare();
  note_room();
  poke();
}

// As server/engine.cpp does it: past the kernel's pages, or, where that is refused, by the log itself.
void Node::append(const raft::Write& write, const std::function<void()>& on_durable) {
  const bool is_refused = write.id % 3 == 0;
  const std::optional<Wal::Batch> batch = is_refused ? std::nullopt : wal_->prepare(write);
  if (!batch) return wal_->append(write, on_durable);
  std::string bytes;
  for (const std::string_view piece : batch->pieces) bytes += piece;
  batch->file.write_durably(batch->offset, bytes);
  wal_->wrote(write);
  on_durable();
  if (!wal_->is_tidy()) wal_->tidy();
}

// As in server/engine.cpp while the log is tidied. What is promised then may leave before that is over.
void Node::acknowledge(const raft::Write& write) {
  judge_.written(name_);
  if (world_.tells()) world_.tell(name_, describe(write) + ": durable");
  replica_->written(write.id);
  if (world_.random.percent(50)) flush();
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
  if (write_waits_) return finish_write(under_way_->id);
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

// As server/engine.cpp: one after the other, beside the log's writes.
void Node::start_snapshot_task() {
  if (disk_hangs_) return;
  world_.scheduler.after(world_.random.skewed(disk_latency_), [this, process = process_] {
    if (process == process_) hand([this] { finish_snapshot_task(); });
  });
}

void Node::finish_snapshot_task() {
  if (disk_hangs_ || tasks_.empty()) return;
  SnapshotTask task = std::move(tasks_.front());
  tasks_.pop_front();
  std::optional<SnapshotResult> result;
  const bool was_in_order = std::exchange(disk_in_order_, false);
  try {
    result = snapshots_->perform(std::move(task));
    snapshots_->take_remains().clear();
  } catch (const FileError& error) {
    give_up(error);
    return;
  }
  disk_in_order_ = was_in_order;
  if (!tasks_.empty()) start_snapshot_task();
  if (!result) return;
  judge_.snapshot_done(name_, *result);
  replica_->snapshot_done(std::move(*result));
  judge_.snapshot_taken(name_, *replica_);
  poke();
}

void Node::interrupt_log() {
  // Most batches are two operations; one that begins a segment is many more.
  const std::uint64_t most = world_.random.percent(50) ? 2 : 10;
  disk_.interrupt_in(world_.random.between(1, most));
  const raft::Write write = *std::exchange(under_way_, std::nullopt);
  try {
    append(write, [&] {
      if (!paused_) acknowledge(write);
    });
  } catch (const Interrupted&) {
  } catch (const FileError&) {
  } catch (const WalFull&) {
  }
}

void Node::interrupt_snapshot_task() {
  disk_.interrupt_in(world_.random.between(1, 8));
  try {
    snapshots_->perform(std::move(tasks_.front()));
  } catch (const Interrupted&) {
  } catch (const FileError&) {
  }
}

// The process or the machine ends while it writes: how far it got, nobody knows. The log's and the snapshots'
// writes go on beside each other: here one is a little ahead.
void Node::interrupt_disk(bool power) {
  if (under_way_ || !tasks_.empty()) {
    disk_in_order_ = false;
    const bool log_first = world_.random.percent(50);
    if (log_first && under_way_ && !disk_.has_failed()) interrupt_log();
    if (!tasks_.empty() && !disk_.has_failed()) interrupt_snapshot_task();
    if (!log_first && under_way_ && !disk_.has_failed()) interrupt_log();
  }
  under_way_.reset();
  write_waits_ = false;
  tasks_.clear();
  if (power) {
    disk_.power_lost();
  } else {
    disk_.process_ended();
  }
}

// ---- The process

void Node::start() {
  if (is_up() || damaged_ || dead_) return;
  try {
    open_log();
  } catch (const Interrupted&) {
    world_.coverage.note(Fault::kill_in_recovery);
    world_.tell(name_, "killed while it started");
    forget_files();
    const bool power = world_.random.percent(50);
    interrupt_disk(power);
    keep_trying();
  } catch (const FileError& error) {
    check_cause(error);
    world_.tell(name_, std::string("cannot start: ") + error.what());
    forget_files();
    disk_.process_ended();
    keep_trying();
  } catch (const WalCorruption& error) {
    world_.tell(name_, std::string("refuses to start: ") + error.what());
    world_.check(Rule::damage_found, must_be_damaged_,
                 [&] { return name_ + " finds damage where there is none: " + error.what(); });
    forget_files();
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
  options.max_segment_bytes = 4 * world_.plan.segment_bytes;
  options.zeros_ahead_bytes = world_.plan.zeros_ahead_bytes;
  const SnapshotOptions snapshot_options{world_.plan.sessions_kept, world_.plan.snapshot_piece_bytes,
                                         world_.plan.snapshot_piece_bytes, world_.plan.snapshot_part_bytes()};
  const std::string fresh = "identity-of-" + name_ + "-" + std::to_string(identities_);
  // As long as a UUID.
  Recovered recovered = recover(disk_, options, snapshot_options, fresh + std::string(36 - fresh.size(), '.'));
  disk_.interrupt_in(0);
  disk_in_order_ = true;
  for (const std::string& warning : recovered.warnings) world_.tell(name_, warning);
  check_damage(recovered);
  judge_.recovered(name_, recovered);
  run_replica(std::move(recovered));
}

bool Node::has_set_aside() {
  const std::vector<std::string> names = disk_.list();
  return std::any_of(names.begin(), names.end(),
                     [](const std::string& name) { return name.ends_with(".damaged"); });
}

// A damaged snapshot is found, and something else takes its place.
void Node::check_damage(const Recovered& recovered) {
  // A process before this one may have found it, and not lived to start.
  const bool found = !recovered.warnings.empty() || has_set_aside();
  world_.check(Rule::damage_found, must_be_damaged_ ? found : recovered.warnings.empty(), [&] {
    return must_be_damaged_ ? name_ + " starts, with a flipped bit on its disk"
                            : name_ + " finds damage where there is none: " + recovered.warnings.front();
  });
  state_in_doubt_ = false;
  if (!must_be_damaged_) return;
  world_.coverage.note(Fault::snapshot_damaged);
  disk_.undo_flips();
  must_be_damaged_ = false;
  for (const std::string& name : disk_.list()) {
    if (name.ends_with(".damaged")) disk_.remove(name);  // the next one is to be found as well
  }
}

void Node::forget_files() {
  wal_.reset();
  snapshots_.reset();
}

void Node::run_replica(Recovered recovered) {
  wal_ = std::move(recovered.wal);
  snapshots_ = std::move(recovered.snapshots);
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
  config.watch_limits = plan.watch_limits;
  config.sessions_kept = plan.sessions_kept;
  config.snapshot_every = plan.snapshot_every;
  config.snapshot_log_bytes = plan.snapshot_log_bytes;
  config.snapshot_piece_bytes = plan.snapshot_walk_bytes;
  config.quota = plan.quota;
  const raft::HardState hard_state = recovered.replica.hard_state;
  replica_ = std::make_unique<Replica>(std::move(config), std::move(recovered.replica));
  paused_ = stopping_ = poked_ = false;
  has_room_ = wal_->has_spare();
  note_room();
  if (world_.tells()) {
    world_.tell(name_, "starts: term " + std::to_string(hard_state.term.value) + ", log up to " +
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
  lacked_state_ = replica_->raft().lacks_state();
  replica_.reset();
  forget_files();
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

void Node::stay_dead() {
  kill();
  dead_ = true;
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
  dead_ = false;
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

void Node::flip_a_bit(bool also_snapshots) {
  kill();
  if (!disk_in_order_ || !disk_.is_settled() || must_be_damaged_) return;
  // Of the snapshots only the newest is read, as long as it is whole.
  std::vector<std::string> names = disk_.list();
  std::erase_if(names, [](const std::string& name) { return !name.ends_with(".wal"); });
  const std::vector<raft::Position> snapshots = list_snapshots(disk_);
  if (also_snapshots && !snapshots.empty()) {
    const std::string newest = snapshot_file_name(snapshots.front());
    if (world_.random.percent(50)) names = {newest};
    state_in_doubt_ = names.front() == newest;
  }
  const std::optional<std::string> where = disk_.flip_a_bit(std::move(names));
  must_be_damaged_ = where.has_value();
  if (where) world_.tell(name_, "a bit flips in " + *where);
}

void Node::mend() {
  if (!must_be_damaged_) return;
  disk_.undo_flips();
  must_be_damaged_ = damaged_ = false;
  state_in_doubt_ = has_set_aside();
  world_.tell(name_, "the flipped bit is mended");
}

}  // namespace kv::sim
