// A watch that goes on at another server when the one that it is on goes away, without gap or repeat.
//
// What is given out is whole positions: all changes of one command together. So where it stands is a position, and
// it can go on from there anywhere. It ends when it is interrupted, when none of the servers knows what comes next
// any more, or when none has been reached for a while.
//
// The Client must outlive it, and it its coroutines. One thread.
#pragma once

#include <asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "client/call.hpp"
#include "client/client.hpp"
#include "client/outcome.hpp"
#include "common/message.hpp"

namespace kv::client {

class Watching {
 public:
  // All that one command has changed of what is watched; at least one.
  using Changes = std::vector<message::Event>;
  struct Place {
    std::string server;  // "n2 (127.0.0.1:7402)"
    std::uint64_t position = 0;
    std::string why_left;  // why the one before it was left; empty: it is the first
  };

  // Without a from_ts in `what` it begins with the first server's position, but not before `begin_at_least`, which
  // may be what this user has seen elsewhere. `patience`: for how long no server may be reachable. `on_place` hears
  // of each server that watches from now on.
  Watching(Client& client, message::Watch what, std::uint64_t begin_at_least, std::chrono::milliseconds patience,
           std::function<void(const Place&)> on_place = {});
  ~Watching();
  Watching(const Watching&) = delete;
  Watching& operator=(const Watching&) = delete;

  // The next changes, or why there are no more.
  asio::awaitable<std::variant<Changes, Failure>> next();
  // All changes up to it have been given out; nothing before the first server has answered, unless it was asked
  // for.
  std::optional<std::uint64_t> position() const { return what_.from_ts; }
  // Its connection, and what ends it.
  const std::shared_ptr<Call>& call() const { return call_; }

 private:
  using ServerPtr = ServerPool::ServerPtr;

  asio::awaitable<bool> begin();
  asio::awaitable<ServerPool::ServerPtr> reach_another();
  void ask(const ServerPtr& server);
  void take(message::Answer answer);
  void take_event(message::Event event);
  void take_error(message::Error error);
  void leave(std::string why);
  void cancel();
  Failure failure() const;

  Client& client_;
  message::Watch what_;  // its from_ts moves on with what is given out
  std::uint64_t begin_at_least_;
  std::chrono::milliseconds patience_;
  std::function<void(const Place&)> on_place_;
  std::shared_ptr<Call> call_;
  ServerPtr server_;            // that watches; nullptr: none
  std::shared_ptr<Link> link_;  // to it
  std::uint64_t id_ = 0;
  Changes changes_;  // of the position that is not whole yet, or has not been given out
  bool whole_ = false;
  std::string why_left_;
  std::string where_;
  std::string node_;
  std::optional<Clock::time_point> give_up_at_;  // while no server watches
  std::size_t attempts_ = 0;                     // since then
  std::set<std::string> compacted_;              // servers' addresses that no longer know what comes next
  std::optional<message::Error> error_;
  bool refused_ = false;  // error_ is for good
};

}  // namespace kv::client
