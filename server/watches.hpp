// The changes of late, and who is told of each: a bounded ring of them, and the clients' watches (docs/protocol.md,
// WATCH).
//
// A watch that has seen all there is gets each change as it is applied. One that has not, since it begins in the
// past or its client cannot take more just now, reads on in the ring a part a turn: so it needs no memory of its
// own, however far behind it is, until the ring has gone on without it. No sockets, no clock: whether a client can
// take more is an input.
#pragma once

#include <absl/container/inlined_vector.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "server/client_answer.hpp"
#include "server/item.hpp"

namespace kv {

struct WatchLimits {
  std::size_t changes = 100'000;        // in the ring
  std::size_t change_bytes = 32 << 20;  // of their keys and values
  std::size_t watches = 100'000;
  std::size_t client_bytes_a_turn = 64 << 10;  // of events to one client
  std::size_t bytes_a_turn = 2 << 20;          // to all of them
  std::size_t looked_at_a_turn = 20'000;       // changes, by watches that read in the ring
};

// What a command did to one key.
struct WatchedChange {
  Item::Ref item;  // as it is now, or was
  bool deleted = false;
};
using WatchedChanges = absl::InlinedVector<WatchedChange, 1>;

class Watches {
 public:
  Watches(std::string node, WatchLimits limits) : node_(std::move(node)), limits_(limits) {}

  // ---- Changes

  // All that the command at this position, greater than every one before, has changed.
  void record(std::uint64_t ts, WatchedChanges changes, std::vector<ClientAnswer>& out);
  // The state is that of `position` now, and what led there is not known.
  void reset(std::uint64_t position, std::vector<ClientAnswer>& out);
  // Lets watches that read in the ring go on; has_more(): there is more for some of them in the next turn.
  void turn(std::vector<ClientAnswer>& out);
  bool has_more() const { return !reading_.empty(); }

  // ---- Clients

  // `applied`: the position of the state. Answers with WATCH_OK or an ERROR.
  void watch(ClientId client, std::uint64_t id, const message::Watch& watch, std::uint64_t applied,
             std::vector<ClientAnswer>& out);
  // False: there is none.
  bool cancel(ClientId client, std::uint64_t id);
  // Whether it can take more events.
  void client_has_room(ClientId client, bool has_room);
  void client_gone(ClientId client);
  // All end, with SHUTTING_DOWN.
  void stop(std::vector<ClientAnswer>& out);
  std::size_t size() const { return watches_.size(); }

 private:
  using Id = std::pair<ClientId, std::uint64_t>;  // the client's, and its own of the watch
  struct Watch {
    Id id;
    bool is_prefix = false;
    std::string what;        // the key, or what it begins with
    std::uint64_t from = 0;  // only later changes
    bool reads = false;      // in the ring, from `next` on
    std::uint64_t next = 0;  // number
    // Of the last event that it got in this turn.
    std::uint64_t last_ts = 0;
    std::size_t last_at = 0;  // in the answers

    bool matches(std::string_view key) const { return is_prefix ? key.starts_with(what) : key == what; }
  };
  struct Change {
    std::uint64_t ts = 0;
    WatchedChange changed;
    mutable std::shared_ptr<message::SharedEvent::Once> event;  // null: nobody has got it yet

    std::string_view key() const { return changed.item->key(); }
  };
  struct Client {
    std::set<std::uint64_t> watches;
    bool has_room = true;
    std::uint64_t turn = 0;  // in which `bytes` were given to it
    std::size_t bytes = 0;
    std::vector<Id> waiting;  // watches that read, but not before it has room again
  };
  struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>{}(text); }
  };
  using Clients = std::unordered_map<ClientId, Client>;
  using Index = std::unordered_map<std::string, std::vector<Watch*>, TextHash, std::equal_to<>>;

  void refuse(Id id, message::Error error, bool unasked, std::vector<ClientAnswer>& out);
  void tell(std::uint64_t number, std::vector<ClientAnswer>& out);
  void tell_all(const std::vector<Watch*>& watches, std::uint64_t number, std::vector<ClientAnswer>& out);
  bool give(Watch& watch, const Change& change, std::vector<ClientAnswer>& out);
  bool has_room(Client& client, std::size_t bytes);
  void read_from(Watch& watch, std::uint64_t number);
  bool read_on(Watch& watch, std::vector<ClientAnswer>& out);
  void end(Watch& watch);
  void forget_idle(Clients::iterator client);
  void unindex(const Watch& watch);
  message::Error compacted() const;
  void trim();
  std::uint64_t end_of_ring() const { return first_ + ring_.size(); }
  const Change& at(std::uint64_t number) const { return ring_[number - first_]; }

  std::string node_;
  WatchLimits limits_;

  std::deque<Change> ring_;
  std::uint64_t first_ = 0;  // the number of its first change
  std::size_t bytes_ = 0;
  std::uint64_t floor_ = 0;  // all changes after this position are in the ring

  std::map<Id, Watch> watches_;
  Index by_key_;
  Index by_prefix_;
  std::map<std::size_t, std::size_t> prefix_lengths_;  // how many different prefixes have it
  Clients clients_;
  std::set<Id> reading_;  // those whose client has room
  Id last_read_{};        // in reading_, they take turns
  std::uint64_t turn_ = 1;
  std::size_t bytes_this_turn_ = 0;
};

}  // namespace kv
