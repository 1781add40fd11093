// A server that says what a test wants it to say, on a port of its own and on the test's io_context.
#pragma once

#include <algorithm>
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/use_awaitable.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "common/address.hpp"
#include "common/connection.hpp"
#include "common/message.hpp"

namespace kv::client::test {

inline const std::string cluster_a = "11111111-1111-4111-8111-111111111111";
inline const std::string cluster_b = "22222222-2222-4222-8222-222222222222";

// An address at which nobody listens.
inline Address closed_address(asio::io_context& io) {
  asio::ip::tcp::acceptor acceptor(io, {asio::ip::make_address("127.0.0.1"), 0});
  return Address{"127.0.0.1", acceptor.local_endpoint().port()};
}

class FakeServer {
 public:
  // One connection of a client, as the handler sees it.
  struct Peer {
    std::shared_ptr<Connection> connection;

    template <class Body>
    void answer(const message::Request& request, Body body) const {
      message::Answer answer;
      answer.id = request.id;
      answer.body = std::move(body);
      connection->send(answer);
      connection->flush();
    }
    void refuse(const message::Request& request, message::Code code) const {
      message::Error error;
      error.code = code;
      error.message = "as the test wants it";
      answer(request, error);
    }
    void hang_up() const { connection->close(); }
  };
  using Handler = std::function<void(const Peer&, const message::Request&)>;

  FakeServer(asio::io_context& io, std::string node)
      : io_(io), acceptor_(io, {asio::ip::make_address("127.0.0.1"), 0}) {
    hello.server = "kvd test";
    hello.cluster = cluster_a;
    hello.node = std::move(node);
    hello.leader = hello.node;
    hello.applied = 10;
    hello.members.push_back({hello.node, address().text()});
    asio::co_spawn(io, accept(), rethrow);
  }
  ~FakeServer() {
    std::error_code ignored;
    acceptor_.close(ignored);
    for (const auto& connection : connections_) connection->close();
  }
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  Address address() const { return Address{"127.0.0.1", acceptor_.local_endpoint().port()}; }

  template <class Body>
  std::vector<Body> received() const {
    std::vector<Body> bodies;
    for (const message::Request& request : requests) {
      if (const auto* body = std::get_if<Body>(&request.body)) bodies.push_back(*body);
    }
    return bodies;
  }

  bool owns(const Peer& peer) const {
    return std::find(connections_.begin(), connections_.end(), peer.connection) != connections_.end();
  }

  // What BACKUP is answered with, where nothing else is said.
  message::BackupOk part_of_backup(const message::Backup& asked) const {
    message::BackupOk ok;
    ok.snapshot = backup_position;
    ok.offset = asked.offset;
    ok.size = backup.size();
    ok.bytes = backup.substr(std::min<std::size_t>(asked.offset, backup.size()), backup_part_bytes);
    ok.node = hello.node;
    return ok;
  }

  std::string backup;  // the bytes of a snapshot
  std::uint64_t backup_position = 0;
  std::size_t backup_part_bytes = 100;

  message::InitOk hello;                   // what INIT is answered with
  bool answers_init = true;                // false: it hangs
  Handler on_init;                         // instead of `hello`
  Handler on_request;                      // all but INIT; none: a small store
  std::vector<message::Request> requests;  // all, in order

 private:
  static void rethrow(std::exception_ptr error) {
    if (error) std::rethrow_exception(error);
  }

  asio::awaitable<void> accept() {
    for (;;) {
      auto [error, socket] = co_await acceptor_.async_accept(asio::experimental::as_tuple(asio::use_awaitable));
      if (error) co_return;
      auto connection = std::make_shared<Connection>(std::move(socket), default_max_frame);
      connections_.push_back(connection);
      asio::co_spawn(io_, serve(connection), rethrow);
    }
  }

  asio::awaitable<void> serve(std::shared_ptr<Connection> connection) {
    for (;;) {
      std::string_view frame;
      while (connection->is_open() && connection->frames().next(frame) == FrameReader::Result::frame) {
        auto decoded = message::decode_request(frame);
        auto& request = std::get<message::Request>(decoded);
        requests.push_back(request);
        Peer peer;
        peer.connection = connection;
        handle(peer, request);
      }
      const std::error_code error = co_await connection->read();
      if (error) break;
    }
    connection->close();
  }

  void handle(const Peer& peer, const message::Request& request) {
    if (std::holds_alternative<message::Init>(request.body)) {
      if (on_init) return on_init(peer, request);
      if (answers_init) peer.answer(request, hello);
    } else if (on_request) {
      on_request(peer, request);
    } else {
      serve_from_store(peer, request);
    }
  }

  void serve_from_store(const Peer& peer, const message::Request& request) {
    if (const auto* put = std::get_if<message::Put>(&request.body)) {
      store_[put->key] = {put->value, ++hello.applied};
      message::PutOk ok;
      ok.key = put->key;
      ok.ts = hello.applied;
      peer.answer(request, ok);
    } else if (const auto* get = std::get_if<message::Get>(&request.body)) {
      message::GetOk ok;
      ok.key = get->key;
      ok.applied = hello.applied;
      ok.node = hello.node;
      const auto found = store_.find(get->key);
      if (found != store_.end()) {
        ok.value = found->second.first;
        ok.ts = found->second.second;
      }
      peer.answer(request, ok);
    } else if (const auto* del = std::get_if<message::Delete>(&request.body)) {
      message::DeleteOk ok;
      ok.key = del->key;
      ok.found = store_.erase(del->key) > 0;
      ok.ts = ++hello.applied;
      peer.answer(request, ok);
    } else if (const auto* asked = std::get_if<message::Backup>(&request.body)) {
      peer.answer(request, part_of_backup(*asked));
    } else {
      message::StatusOk ok;
      ok.node = hello.node;
      ok.role = "leader";
      ok.applied = ok.committed = hello.applied;
      peer.answer(request, ok);
    }
  }

  asio::io_context& io_;
  asio::ip::tcp::acceptor acceptor_;
  std::vector<std::shared_ptr<Connection>> connections_;
  std::map<std::string, std::pair<std::string, std::uint64_t>> store_;
};

}  // namespace kv::client::test
