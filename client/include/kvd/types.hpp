// What the clients of kvd are asked and answer: options, results, errors. Values only.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace kvd {

// ---- What can go wrong ---------------------------------------------------------------------------------

struct Error {
  enum class Kind {
    no_server,        // none could be reached: nothing was sent
    conflict,         // if_ts does not hold: nothing was written, or what an earlier try of it came to
    refused,          // a server said no: nothing was done
    compacted,        // a watch: changes behind its position are known nowhere any more; list, and watch anew
    timeout,          // a read that was not answered in time, or a watch that reached no server for a while
    unknown_outcome,  // a write that may have been applied, or may still be
    cancelled,        // by cancel(); a write may have been applied if `maybe_applied`
  };
  Kind kind = Kind::no_server;
  // One line for a person: what failed, where and why ("n2 has applied 41, you asked for 57; the leader is n1").
  std::string text;
  // The code of the server's ERROR, such as NO_LEADER or TOO_LARGE (docs/protocol.md); empty where none said no.
  std::string code;
  std::string node;    // the server that was asked last
  std::string leader;  // as far as is known
  // conflict: the key's timestamp, 0 if it is absent.
  std::optional<std::uint64_t> current_ts;
  // timeout: how far that server was, and what was asked for.
  std::optional<std::uint64_t> applied;
  std::optional<std::uint64_t> asked;
  bool maybe_applied = false;
};

// What value() throws when there is none.
class Failed : public std::runtime_error {
 public:
  explicit Failed(Error error) : std::runtime_error(error.text), error_(std::move(error)) {}
  const Error& error() const { return error_; }

 private:
  Error error_;
};

// What was asked for, or why there is none. Failures of a cluster are values: no call of the clients throws because
// of one, but for value().
template <class T>
class [[nodiscard]] Result {
 public:
  Result() : Result(Error()) {}  // of nothing that was asked: for Asio, which makes one where a coroutine throws
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }

  // Only if there is one.
  const T& operator*() const& { return *std::get_if<0>(&state_); }
  const T* operator->() const { return std::get_if<0>(&state_); }
  const Error& error() const { return *std::get_if<1>(&state_); }

  // Throws Failed if there is none.
  const T& value() const& {
    if (!has_value()) throw Failed(error());
    return **this;
  }
  T value() && {
    if (!has_value()) throw Failed(error());
    return std::move(*std::get_if<0>(&state_));
  }

 private:
  std::variant<T, Error> state_;
};

// ---- What is asked, and answered -----------------------------------------------------------------------

// A timestamp (`ts`) is a position in the cluster's log: one strictly growing sequence for all keys, never a clock.

enum class Consistency {
  session,       // one's own writes, and never back in time on a key; any server that is fresh enough
  linearizable,  // the latest committed value, confirmed by a majority
  local,         // whatever the server has now
};

struct Options {
  // "host:port": one is enough, the other members are learned from it. Must not be empty.
  std::vector<std::string> endpoints = {"127.0.0.1:7401"};
  // Of each call, over all servers that are tried.
  std::chrono::milliseconds timeout{5000};
  // The cluster's id, if it must be this one; empty: whichever answers first.
  std::string cluster = {};
  // This program's name, for the servers' logs.
  std::string name = {};
};

// The structs of options have constructors so that they are no aggregates: g++ 12 destroys an aggregate that is
// written as {…} in a co_await expression twice.
struct WriteOptions {
  WriteOptions() {}
  // Only if this is the key's ts (0: only if it is absent); else it is a conflict.
  std::optional<std::uint64_t> if_ts;
  std::optional<std::chrono::milliseconds> timeout;  // instead of Options::timeout
};

struct ReadOptions {
  ReadOptions() {}
  Consistency consistency = Consistency::session;
  // See at least this position, such as another client's last_seen().
  std::uint64_t at_least = 0;
  // Wait for the key's next version, of a greater ts than this; a deletion counts.
  std::optional<std::uint64_t> newer_than;
  std::optional<std::chrono::milliseconds> timeout;
};

// Keys are listed in the order of their bytes.
struct ListOptions {
  ListOptions() {}
  std::string after;                 // only keys behind this one
  std::optional<std::size_t> limit;  // at most so many; a server gives no more than 1,000 at a time
  bool keys_only = false;
  Consistency consistency = Consistency::session;
  std::uint64_t at_least = 0;
  std::optional<std::chrono::milliseconds> timeout;
};

struct WatchOptions {
  WatchOptions() {}
  // Changes behind this position, such as List::applied; nullopt: behind what this client has seen, or behind now.
  std::optional<std::uint64_t> from;
  // For how long no server may be reachable, instead of Options::timeout.
  std::optional<std::chrono::milliseconds> timeout;
};

// One step of a transaction.
struct Operation {
  enum class Kind { put, del, get };
  static Operation put(std::string key, std::string value) { return {Kind::put, std::move(key), std::move(value)}; }
  static Operation del(std::string key) { return {Kind::del, std::move(key), {}}; }
  static Operation get(std::string key) { return {Kind::get, std::move(key), {}}; }

  Kind kind;
  std::string key;
  std::string value;  // of a put
};

struct Condition {
  std::string key;
  std::uint64_t ts;  // of the key as it must be; 0: it must be absent
};

// `then` is done if all conditions hold, `otherwise` if not: at one position of the log, or not at all. At most 128
// of each.
struct Txn {
  Txn() {}
  std::vector<Condition> conditions;
  std::vector<Operation> then;
  std::vector<Operation> otherwise;
};

struct Written {
  std::uint64_t ts = 0;
};

struct Deleted {
  std::uint64_t ts = 0;
  bool found = false;  // false: there was nothing to delete
};

struct Read {
  std::optional<std::string> value;  // nullopt: the key is absent
  std::uint64_t ts = 0;              // of the write that last changed it; 0 if it is absent
  std::uint64_t applied = 0;         // the position of the state that was read
  std::string node;                  // the server that answered
};

// A page of keys, all of one moment.
struct List {
  struct Item {
    std::string key;
    std::optional<std::string> value;  // nullopt: only keys were asked for
    std::uint64_t ts = 0;
  };
  std::vector<Item> items;
  bool more = false;          // there are others: ask again, after the last of these
  std::uint64_t applied = 0;  // the moment; a watch from it misses nothing
  std::string node;
};

struct TxnDone {
  // What became of one operation, in their order.
  struct Step {
    Operation::Kind kind = Operation::Kind::get;
    std::string key;
    std::optional<std::string> value;  // of a get; nullopt: the key is absent
    std::uint64_t ts = 0;
    bool found = false;  // of a del: there was something to delete
  };
  std::uint64_t ts = 0;
  bool succeeded = false;  // the conditions held: `then` was done
  std::vector<Step> steps;
};

// What a watch sees.
struct Change {
  std::string key;
  std::optional<std::string> value;  // nullopt: the key was deleted
  std::uint64_t ts = 0;
};
// All that one write or transaction changed of what is watched.
using Changes = std::vector<Change>;

struct ClusterInfo {
  std::string cluster;  // its id
  std::string leader;   // the node's name; empty: none is known
  std::size_t servers = 0;
};

}  // namespace kvd
