// The other servers: a link that this server opens to each, and the connections that they open to this one.
//
// A server's requests (VOTE, REPLICATION, TIMEOUT_NOW, FORWARD) go over the link it opened; the answers come
// back on that same connection. So a link carries what this server asks, and an inbound connection what it
// is asked. Both begin with INIT, which binds the connection to one member's identity; before INIT_OK nothing
// else is heard. Links are opened again for ever, with names looked up anew each time.
#pragma once

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "common/address.hpp"
#include "common/connection.hpp"
#include "server/engine.hpp"

namespace kv {

class Peers : public PeerOutlet {
 public:
  // `addresses` are where to dial each other member. `acceptor` listens already; a single server has none. At most
  // `max_unnamed` of those who connect to it have not said yet who they are.
  Peers(asio::io_context& loop, Engine& engine, std::optional<asio::ip::tcp::acceptor> acceptor,
        std::map<std::string, Address> addresses, std::size_t max_unnamed);

  void start();
  void deliver(PeerMessage&& message) override;
  void flush() override;
  void close_all();

 private:
  struct Link {
    std::string node;
    Address address;
    std::shared_ptr<Connection> connection;  // once INIT_OK was welcome
    std::string identity;                    // that it told
    std::unique_ptr<asio::steady_timer> pause;
    std::string last_trouble;  // said once, not at every attempt
  };
  struct Inbound {
    std::shared_ptr<Connection> connection;
    std::string identity;
  };

  // A REPLICATION as it goes to most of the peers: encoded once, and kept until the next one with other entries.
  struct Replication {
    raft::AppendRequest request;
    std::string frame;
  };

  asio::awaitable<void> keep_linked(Link& link);
  asio::awaitable<std::optional<std::vector<asio::ip::tcp::endpoint>>> look_up(Link& link);
  asio::awaitable<std::shared_ptr<Connection>> dial(Link& link);
  asio::awaitable<void> serve_link(Link& link);
  asio::awaitable<void> accept();
  asio::awaitable<void> serve_inbound(std::shared_ptr<Connection> connection);
  // The first message of a connection; nullopt if none came in time or it was no message between servers.
  asio::awaitable<std::optional<message::Peer>> first_message(std::shared_ptr<Connection> connection);
  bool welcome(const std::shared_ptr<Connection>& connection, const message::PeerInit& init);
  // Hands over all frames that have come, from `node` of this identity. False: the connection is to be closed,
  // since it has broken the protocol or is no longer welcome.
  bool take_frames(Connection& connection, const std::string& node, const std::string& identity, bool answers);
  void refuse(const std::shared_ptr<Connection>& connection, message::Code code, std::string text);
  void trouble(Link& link, const std::string& text);
  const std::string& replication_frame(const raft::AppendRequest& request);

  asio::io_context& loop_;
  Engine& engine_;
  std::optional<asio::ip::tcp::acceptor> acceptor_;
  std::map<std::string, Link> links_;
  std::map<std::string, Inbound> inbound_;
  std::size_t max_unnamed_;
  Replication replication_;
  std::size_t unnamed_ = 0;  // inbound connections that have not said INIT yet
  bool closing_ = false;
  std::minstd_rand random_;
};

}  // namespace kv
