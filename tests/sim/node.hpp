// One server: the real Replica and Wal on a simulated disk and clock, driven as server/engine.cpp drives them.
//
// A Node is the machine; the process on it comes and goes. What it is handed while it is paused waits and is
// taken when it goes on, as the kernel would keep it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/recovery.hpp"
#include "tests/sim/disk.hpp"
#include "tests/sim/judge.hpp"
#include "tests/sim/world.hpp"

namespace kv::sim {

using NodeIndex = std::size_t;

// Where a process ends: what others can notice of it.
enum class End {
  reset,   // its connections are reset: the machine is still there
  silence  // nobody says so
};

// What leaves a node.
class NodeOutlet {
 public:
  virtual ~NodeOutlet() = default;
  virtual void deliver(NodeIndex from, PeerMessage message) = 0;
  virtual void deliver(NodeIndex from, ClientAnswer answer) = 0;
  virtual void node_started(NodeIndex node) = 0;
  virtual void node_ended(NodeIndex node, End end) = 0;
};

class Node {
 public:
  Node(World& world, Judge& judge, NodeOutlet& outlet, NodeIndex index, std::vector<std::string> names);
  ~Node();

  const std::string& name() const { return name_; }
  NodeIndex index() const { return index_; }
  Disk& disk() { return disk_; }
  bool is_up() const { return replica_ != nullptr; }
  bool is_paused() const { return paused_; }
  Replica& replica() { return *replica_; }
  const std::string& identity() const { return identity_; }
  // Its state is lost, or may be: whoever leads has to have it.
  bool may_lack_state() const {
    return is_up() ? replica_->raft().lacks_state() : lacked_state_ || state_in_doubt_;
  }
  // Counts the processes: what was meant for one is not for the next.
  std::uint64_t process() const { return process_; }

  // ---- Inputs; each only for a process that is up

  // At once, or when the process goes on. Dropped with the process.
  void hand(Task input);
  // To be called by what hand() has run.
  void poke();

  // ---- What happens to it

  void start();      // unless it is up
  void kill();       // kill -9
  void stay_dead();  // likewise, and nobody starts it before it is calmed
  void lose_power();
  // As soon as it writes to its disk the next time, and before the write is over; `then` is called after it.
  void end_in_write(End how, std::function<void()> then);
  void terminate();  // SIGTERM
  void pause();
  void resume();
  // With `keep` the old contents can be given back.
  void wipe(bool keep);
  void give_back();
  // Where others have the state, a snapshot of it may be what is damaged.
  void flip_a_bit(bool also_snapshots);
  void mend();  // the flipped bits are as before

  // All that was wrong with it is right again, but not what a wiped disk has lost; it runs.
  void calm();

  // Of the clock: how long ten of its milliseconds take.
  void set_tick(Time tick) { tick_ = tick; }
  // How long a write to the disk takes, about; 0: until further notice.
  void set_disk(Time latency);

 private:
  void open_log();
  void forget_files();
  bool has_set_aside();
  void check_damage(const Recovered& recovered);
  void run_replica(Recovered recovered);
  void tick();
  void flush();
  void start_write(raft::Write write);
  void finish_write(std::uint64_t id);
  void append(const raft::Write& write, const std::function<void()>& on_durable);
  void acknowledge(const raft::Write& write);
  void start_snapshot_task();
  void finish_snapshot_task();
  void interrupt_log();
  void interrupt_snapshot_task();
  void check_cause(const FileError& error);
  void give_up(const FileError& error);
  void look_for_room();
  void note_room();
  void wait_until_quiet(std::uint64_t tries);
  void interrupt_disk(bool power);
  void end(End end, const std::string& how);
  void keep_trying();

  World& world_;
  Judge& judge_;
  NodeOutlet& outlet_;
  NodeIndex index_;
  std::string name_;
  std::vector<std::string> names_;
  Disk disk_;
  std::string identity_;
  std::uint64_t identities_ = 1;  // that its disks have had
  std::uint64_t process_ = 0;
  std::unique_ptr<Wal> wal_;
  std::unique_ptr<Snapshots> snapshots_;
  std::unique_ptr<Replica> replica_;
  bool paused_ = false;
  bool damaged_ = false;  // its log was refused: it does not start before it is mended
  bool dead_ = false;     // until it is calmed
  bool stopping_ = false;
  bool calm_ = false;
  bool poked_ = false;
  bool must_be_damaged_ = false;
  bool lacked_state_ = false;  // the process that ended last
  bool state_in_doubt_ =
      false;  // a snapshot was damaged since, or a process that did not live to start set one aside
  bool disk_in_order_ = false;  // nothing was interrupted since the last whole operation on the log
  bool has_room_ = true;
  std::uint64_t ticks_without_room_ = 0;
  std::vector<Task> inbox_;  // while it is paused
  Time tick_ = tick_ms * ms;
  Time disk_latency_ = 0;
  bool disk_hangs_ = false;
  struct InWrite {
    End how = End::reset;
    std::function<void()> then;
  };
  std::optional<InWrite> end_in_write_;
  std::optional<raft::Write> under_way_;
  bool write_waits_ = false;        // for room: it is tried again
  std::deque<SnapshotTask> tasks_;  // the first is under way
};

}  // namespace kv::sim
