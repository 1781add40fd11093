// The client library: sends requests to a cluster, whichever of its servers are up.
//
// Each request goes to one of the servers by chance (server_pool.hpp), so a dead one costs milliseconds. A read
// whose server is behind, or says nothing, is asked of a second one too (hedge.hpp).
//
// What is tried again until the deadline: a read always; a write when it is certain that it was not applied,
// and also when it is not certain, because every write carries (session, seq) and the servers apply each seq
// once. The outcome of a write is unknown only when the deadline passes before an answer to a retry comes.
//
// The Client must outlive its coroutines. One thread.
#pragma once

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <variant>
#include <vector>

#include "client/call.hpp"
#include "client/hedge.hpp"
#include "client/known_servers.hpp"
#include "client/link.hpp"
#include "client/outcome.hpp"
#include "client/server_pool.hpp"
#include "common/address.hpp"
#include "common/message.hpp"
#include "common/text.hpp"

namespace kv::client {

struct ClientOptions {
  std::vector<Address> endpoints;
  // The members that are learned are asked only where none of `endpoints` can be; else all by chance.
  bool endpoints_first = false;
  // Asked where none of `endpoints` can be, before there are any learned ones.
  std::optional<KnownServers> known;
  // The cluster that the caller remembers, empty for none: servers of any other are not used.
  std::string cluster;
  ServerPool::Times server_times;
  HedgeTimes hedge_times;
  // How much longer than the deadline to wait for the final answer of a server that was told the deadline.
  std::chrono::milliseconds answer_grace{300};
  // This program, for the servers' logs.
  std::string name = std::string("kvctl ") + version;
  std::uint64_t seed = std::random_device{}();
};

// One row of `status`.
struct NodeStatus {
  std::string node;                                     // empty: not known
  std::string address;                                  // where it was asked
  std::variant<message::StatusOk, std::string> result;  // or why there is none
};

class Client {
 public:
  using Body = decltype(message::Request::body);
  using WaitHandler = std::function<void(const message::WaitForResponse&)>;

  Client(asio::io_context& io, ClientOptions options);
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  // A command's deadline and wake-up. One Call serves several requests, one after the other.
  std::shared_ptr<Call> new_call(std::chrono::milliseconds timeout);
  // Ctrl-C: every request under way ends with Failure::Kind::interrupted.
  void interrupt();
  // The calls under way go on in the background: interrupt() no longer ends them, but the caller may, one by one.
  std::vector<std::weak_ptr<Call>> release_calls();

  // Returns when at least one server has answered INIT. The Reply holds an InitOk.
  asio::awaitable<Outcome> connect(std::shared_ptr<Call> call);
  // A Put, Delete, Txn, Get or List; any number of them at the same time. Sets a write's `session`. `on_wait` hears
  // each WAIT_FOR_RESPONSE as it comes.
  asio::awaitable<Outcome> request(std::shared_ptr<Call> call, Body body, WaitHandler on_wait = {});
  // Asks every server that is known, all at the same time. Sorted by node.
  asio::awaitable<std::vector<NodeStatus>> status(std::shared_ptr<Call> call);

  // Begins anew with other servers (INIT in the shell), which are asked first: closes all connections, forgets
  // cluster and session.
  // `cluster` as in ClientOptions.
  void restart(std::vector<Address> endpoints, std::string cluster = "");

  // For what is more than one request: a conversation with one server (backup_fetch.hpp), many writes at once
  // (bulk_writer.hpp).
  ServerPool& servers() { return pool_; }
  std::chrono::milliseconds answer_grace() const { return answer_grace_; }

  // Known once connected; else empty.
  const std::string& cluster() const { return pool_.cluster(); }
  const std::string& leader() const { return pool_.leader(); }
  std::size_t server_count() const { return pool_.member_count(); }
  // nullopt before a server has answered INIT.
  std::optional<KnownServers> known_servers() const { return pool_.known_servers(); }

 private:
  using ServerPtr = ServerPool::ServerPtr;

  // What a request has been through so far.
  struct Trial {
    bool write = false;
    bool maybe_applied = false;
    unsigned sent = 0;    // attempts that reached a server
    unsigned rounds = 0;  // attempts of any kind
    unsigned sessions_expired = 0;
    std::string session;  // a write's
    std::string where;    // the server that was asked last, and its name alone
    std::string node;
    std::optional<message::Error> error;
    std::optional<message::WaitForResponse> wait;  // what it said of itself
    std::string why;
  };

  asio::awaitable<Outcome> pursue(std::shared_ptr<Call> call, Body& body, Trial& trial, const WaitHandler& on_wait);
  asio::awaitable<std::optional<Outcome>> attempt(std::shared_ptr<Call> call, ServerPtr server, const Body& body,
                                                  Trial& trial, const WaitHandler& on_wait);
  asio::awaitable<bool> pause(std::shared_ptr<Call> call, Trial& trial);
  asio::awaitable<void> ask_status(std::shared_ptr<Call> call, ServerPtr server, NodeStatus& row);

  void begin_write(Body& body, const Link& link);
  void end_write(Body& body);
  void end_session(const std::string& session);
  static void begin_trial(const ServerPtr& server, Trial& trial);
  std::optional<Outcome> unanswered(const Call& call, const ServerPtr& server, Trial& trial);
  std::optional<Outcome> lost(const std::string& why, const ServerPtr& server, Trial& trial);
  std::optional<Outcome> judge(message::Answer answer, const ServerPtr& server, const Body& body, Trial& trial);
  std::optional<Outcome> judge_error(message::Error error, const ServerPtr& server, Trial& trial);
  Failure give_up(const Call& call, const Trial& trial) const;
  void tell_where(Failure& failure, const Trial& trial) const;

  asio::io_context& io_;
  std::chrono::milliseconds answer_grace_;
  HedgeTimes hedge_times_;
  ServerPool pool_;
  std::vector<std::weak_ptr<Call>> calls_;
  // The session that makes retries of writes safe; begins with the first write.
  std::optional<message::WriteSession> session_;
  std::set<std::uint64_t> open_writes_;  // their seqs in it
};

}  // namespace kv::client
