// One connection to one server: connects, introduces itself with INIT, then carries any number of requests at
// once and hands each answer to the Call that waits for it.
//
// A Link lives opening -> ready -> closed and is never opened again: whoever needs one makes a new one. Held by
// shared_ptr; run() is its only coroutine and ends when the Link is closed. One thread.
#pragma once

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/call.hpp"
#include "common/address.hpp"
#include "common/connection.hpp"
#include "common/message.hpp"

namespace kv::client {

class Link : public std::enable_shared_from_this<Link> {
 public:
  enum class State { opening, ready, closed };

  // `client`: this program's name and version, for the servers' logs.
  Link(asio::any_io_executor executor, Address address, std::string client);

  // To be spawned once. Connects and sends INIT, with `cluster` unless that is empty; closed if INIT_OK has not
  // come by `deadline`. Then reads until the connection ends.
  asio::awaitable<void> run(std::string cluster, Clock::time_point deadline);
  // Wakes `call` when the state changes the next time.
  void notify(const std::shared_ptr<Call>& call) { watchers_.push_back(call); }

  State state() const { return state_; }
  const Address& address() const { return address_; }
  // "n2 (127.0.0.1:7402)", or the address alone as long as the server has not said its name.
  std::string name() const;
  // The newest INIT_OK, once ready, and how many there have been.
  const message::InitOk& hello() const { return hello_; }
  std::uint64_t hellos() const { return hellos_; }
  // Asks for another one: members and leader as the server knows them now. Only when ready.
  void ask_hello(std::string cluster);
  // For a person: why it was closed, or, while it is opening, what it waits for.
  std::string trouble() const;
  // Once closed: the ERROR, where the server answered INIT with one.
  const std::optional<message::Error>& refusal() const { return refusal_; }
  // Once closed: INIT was not answered before the deadline.
  bool ran_out_of_time() const { return ran_out_of_time_; }

  // Sends the request under an id of the link's own and returns that. All its answers, or the loss of the
  // connection, go to `call`. Only when ready.
  std::uint64_t ask(message::Request request, std::shared_ptr<Call> call);
  // The answers to this request are not wanted any more.
  void abandon(std::uint64_t id) { pending_.erase(id); }

  void close(std::string why);
  // For a server that answered INIT but can't be used: its cluster is another one.
  void refuse(message::Error error);

 private:
  asio::awaitable<bool> connect();
  asio::awaitable<void> introduce(std::string cluster, Clock::time_point deadline);
  asio::awaitable<std::optional<std::vector<asio::ip::tcp::endpoint>>> resolve();
  asio::awaitable<std::optional<message::Answer>> next_answer();
  void close_at(Clock::time_point deadline);
  message::Request make_init(std::string cluster, std::chrono::milliseconds timeout);
  void dispatch(message::Answer answer);
  void changed(State state);

  Address address_;
  std::string client_;
  asio::ip::tcp::resolver resolver_;
  asio::ip::tcp::socket socket_;  // until connected
  asio::steady_timer timer_;      // closes what does not get ready in time
  std::shared_ptr<Connection> connection_;
  State state_ = State::opening;
  message::InitOk hello_;
  std::uint64_t hellos_ = 0;
  std::optional<std::uint64_t> hello_asked_;  // the id of the INIT that asks for another one
  std::string why_closed_;
  bool ran_out_of_time_ = false;
  std::optional<message::Error> refusal_;
  std::uint64_t last_id_ = 0;
  std::map<std::uint64_t, std::shared_ptr<Call>> pending_;
  std::vector<std::weak_ptr<Call>> watchers_;
};

}  // namespace kv::client
