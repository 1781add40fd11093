// Writes many items into a cluster, quickly: hundreds of PUTs are under way on one connection, and each of them is
// applied once, whatever becomes of servers and connections.
//
// Every write carries (session, seq), and is sent again with the same ones until its fate is known. The servers
// keep the answers to the last 256 writes of a session, so a session never has one open that is 256 behind its
// newest; several sessions take turns. Two writes of one key are never under way together: whichever is sent again,
// the later one stays the later one.
//
// What is not known when nothing has come for `patience` stays unknown, and is reported. The Client must outlive
// the writer. One thread.
#pragma once

#include <asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "client/call.hpp"
#include "client/client.hpp"
#include "client/outcome.hpp"
#include "client/server_pool.hpp"

namespace kv::client {

struct BulkItem {
  std::uint64_t line = 0;  // the caller's number for it
  std::string key;
  std::string value;
};

struct BulkOptions {
  std::chrono::milliseconds patience{60'000};
  std::chrono::milliseconds attempt{5000};  // for one server, to answer one write
  std::size_t sessions = 8;
  std::size_t max_bytes = 8 << 20;  // of keys and values that are under way
};

// An item that was not written, or of which that is not known.
struct BulkTrouble {
  BulkItem item;
  Failure failure;
};

class BulkWriter {
 public:
  // After client.connect(); `began_at` is the position that its INIT_OK told.
  BulkWriter(Client& client, std::shared_ptr<Call> call, std::uint64_t began_at, BulkOptions options = {});

  // Whether the next item may be added now: if not, step() first.
  bool can_take(const BulkItem& item) const;
  void add(BulkItem item);
  // Sends what waits and takes what has come; if there was neither, waits for something to happen: an answer, the
  // call being woken, time.
  asio::awaitable<void> step();

  std::size_t under_way() const { return writes_.size(); }
  // Nothing has come for too long, or Ctrl-C: step() does nothing more.
  bool has_given_up() const { return given_up_; }
  // What is left then; the writer is empty after this.
  std::vector<BulkTrouble> abandon();

  std::uint64_t written() const { return written_; }
  std::uint64_t highest_ts() const { return highest_ts_; }  // of what was written
  // Since the last time.
  std::vector<BulkTrouble> take_troubles() { return std::exchange(troubles_, {}); }

 private:
  using ServerPtr = ServerPool::ServerPtr;

  struct Lane {
    message::WriteSession session;
    std::set<std::uint64_t> open;  // seqs
  };
  struct Write {
    BulkItem item;
    std::shared_ptr<Lane> lane;
    message::WriteSession stamp;
    bool maybe_applied = false;
    unsigned sessions_expired = 0;
    std::optional<message::Error> error;  // what was said last
  };
  using Writes = std::map<std::uint64_t, Write>;  // by number, in the order in which they were added

  static bool has_room(const Lane& lane);
  std::size_t next_lane() const;
  void stamp(Write& write, std::size_t lane);
  void begin_lane(std::size_t lane);
  asio::awaitable<bool> connect();
  void send_waiting();
  bool take_answers();
  void take_answer(message::Answer answer);
  void take_error(Writes::iterator write, message::Error error);
  void try_again(Writes::iterator write, bool maybe_applied);
  void finish(Writes::iterator write);
  void fail(Writes::iterator write, Failure::Kind kind);
  BulkTrouble trouble_of(Write& write, Failure::Kind kind) const;
  void look_at_link(Clock::time_point now);
  void lose_link(const std::string& why);
  Clock::time_point next_event() const;

  Client& client_;
  std::shared_ptr<Call> call_;
  BulkOptions options_;
  ServerPtr server_;
  std::shared_ptr<Link> link_;
  bool is_leaving_ = false;  // it refuses for now: when all that is on the way is answered, another is asked
  std::string where_;        // the server that was asked last
  std::string why_;          // and what went wrong there
  std::vector<std::shared_ptr<Lane>> lanes_;
  std::size_t last_lane_ = 0;
  Writes writes_;
  std::deque<std::uint64_t> waiting_;                            // to be sent, by number
  std::unordered_map<std::uint64_t, std::uint64_t> on_the_way_;  // the link's id -> number
  std::unordered_set<std::string> keys_;                         // of writes_
  std::size_t bytes_ = 0;                                        // of writes_
  std::uint64_t next_number_ = 1;
  std::uint64_t written_ = 0;
  std::uint64_t highest_ts_;
  std::vector<BulkTrouble> troubles_;
  unsigned refusals_ = 0;  // in a row
  Clock::time_point send_not_before_ = Clock::time_point::min();
  Clock::time_point last_heard_ = Clock::now();
  Clock::time_point last_progress_ = Clock::now();
  bool given_up_ = false;
};

}  // namespace kv::client
