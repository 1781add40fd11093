// Drives the replica: one event loop, whole batches to the disk and back.
//
// Inputs go straight to replica(), followed by poke(); once a turn of the loop, after all that was ready, the
// engine takes the effects, starts the disk write and hands messages and answers to the two outlets, which
// gather them and write once. The engine owns the replica, the log and the threads for the disk; the outlets
// (Peers, Sessions) outlive its last turn. The loop waits for no disk. What goes to the end of the log's segment is
// a write that the kernel makes on its own (direct_writer.hpp). All else of the log is the disk thread's: what is
// refused there, new segments, zeros ahead, what is dropped. The log belongs to the loop while that thread has
// nothing to do. What is done with snapshots' files has a thread of its own, so that the log does not wait for it;
// and so has giving back the room of files that were dropped, so that no snapshot waits for that.
#pragma once

#include <asio/io_context.hpp>
#include <asio/steady_timer.hpp>
#include <asio/thread_pool.hpp>
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "server/direct_writer.hpp"
#include "server/replica.hpp"
#include "server/snapshots.hpp"
#include "server/wal.hpp"

namespace kv {

// Takes what the replica says to other servers.
class PeerOutlet {
 public:
  virtual ~PeerOutlet() = default;
  virtual void deliver(PeerMessage&& message) = 0;
  virtual void flush() = 0;
};

// Takes what the replica answers to clients.
class ClientOutlet {
 public:
  virtual ~ClientOutlet() = default;
  virtual void deliver(ClientAnswer&& answer) = 0;
  virtual void flush() = 0;
};

class Engine {
 public:
  Engine(asio::io_context& loop, std::unique_ptr<Replica> replica, std::unique_ptr<Wal> wal,
         std::unique_ptr<Snapshots> snapshots);
  ~Engine();

  // Must be called before the first turn. A disk error is handed to `on_fatal` and the engine does nothing more.
  void connect(PeerOutlet& peers, ClientOutlet& clients, std::function<void(const std::string&)> on_fatal);
  void start_ticking();

  Replica& replica() { return *replica_; }
  // Effects will be taken at the end of this turn.
  void poke();
  // Takes them now: for a session that has asked for more than should wait in memory.
  void flush();
  // Stops ticking and waits for the disk; to be called when the replica is quiet or has been abandoned.
  void shut_down();

 private:
  void tick();
  void start_write(std::shared_ptr<const raft::Write> write);
  bool start_direct_write(const std::shared_ptr<const raft::Write>& write);
  void end_direct_write(const std::shared_ptr<const raft::Write>& write, DirectWriter::Outcome outcome, int error);
  // From any thread.
  void on_disk_thread(std::function<void()> job);
  // The disk thread's.
  void tidy();
  void tell_remains();
  void append(const std::shared_ptr<const raft::Write>& write, bool again);
  void look_for_spare();
  void try_spare();
  void after_remains(std::function<void()> next);
  void on_written(std::uint64_t write_id);
  void start_snapshot_task(SnapshotTask task);
  void look_for_room();
  // What the loop is told by the other threads.
  void tell_room(bool has_room);  // the disk thread's
  void tell_failure(std::string text);
  void note_room(bool has_room);
  void fail(const std::string& text);

  asio::io_context& loop_;
  std::unique_ptr<Replica> replica_;
  std::unique_ptr<Wal> wal_;  // the loop's while there are no disk_jobs_; else the disk thread's
  std::atomic<int> disk_jobs_ = 0;
  std::unique_ptr<Snapshots> snapshots_;
  std::optional<DirectWriter> direct_;
  PeerOutlet* peers_ = nullptr;
  ClientOutlet* clients_ = nullptr;
  std::function<void(const std::string&)> on_fatal_;
  asio::steady_timer ticker_;
  bool poked_ = false;
  bool stopped_ = false;
  bool has_room_ = true;
  bool told_room_;                                    // the disk thread's: what it has said last
  bool looks_again_ = false;                          // the disk thread's: before it says that the disk is full
  std::shared_ptr<const raft::Write> waiting_write_;  // for room on the disk
  std::uint64_t ticks_without_room_ = 0;
  // Last: joined before what they use goes away.
  asio::thread_pool disk_{1};
  asio::thread_pool snapshot_disk_{1};
  asio::thread_pool giver_{1};
};

}  // namespace kv
