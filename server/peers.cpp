#include "server/peers.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <asio/connect.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <asio/use_awaitable.hpp>
#include <utility>

#include "common/overloaded.hpp"
#include "common/text.hpp"
#include "server/request_log.hpp"
#include "server/translate.hpp"

namespace kv {
namespace {

using asio::use_awaitable;
using asio::experimental::as_tuple;

constexpr auto first_pause = std::chrono::milliseconds(20);  // before a link is tried again; doubles
constexpr auto handshake_time = std::chrono::seconds(5);
constexpr std::size_t max_handshake_frame = 64 << 10;
constexpr std::size_t much_unsent = 64 << 20;       // then what transactions have read is left out
constexpr std::size_t hopeless_unsent = 256 << 20;  // a peer that has stopped reading is linked anew

void report(std::exception_ptr error) {
  if (!error) return;
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& failure) {
    spdlog::error("connection between servers: {}", failure.what());
  }
}

// A peer whose machine is gone must not look connected for the kernel's usual hours.
void watch_liveness(Connection& connection) {
  connection.watch_liveness(2, 1, std::chrono::seconds(5));
}

// Closes the connection unless it is destroyed before: the time-out of a step of a coroutine.
class Deadline {
 public:
  Deadline(asio::io_context& loop, std::chrono::steady_clock::duration time, std::function<void()> close)
      : timer_(std::make_shared<asio::steady_timer>(loop, time)) {
    timer_->async_wait([close = std::move(close), timer = timer_](std::error_code error) {
      if (!error) close();
    });
  }
  ~Deadline() { timer_->cancel(); }
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;

 private:
  std::shared_ptr<asio::steady_timer> timer_;
};

// What the replica takes as it is on the wire, and not as a message of the core.
template <class M>
bool take_over(message::Peer& message, PeerMessage& out) {
  auto* body = std::get_if<M>(&message);
  if (body) out.body = std::move(*body);
  return body != nullptr;
}

std::optional<PeerMessage> to_peer_message(const std::string& node, message::Peer message) {
  PeerMessage out{raft::NodeId(node), {}};
  if (take_over<message::Forward>(message, out) || take_over<message::ForwardOk>(message, out) ||
      take_over<message::Snapshot>(message, out) || take_over<message::SnapshotOk>(message, out)) {
    return out;
  }
  std::optional<raft::Message> raft_message = from_wire(message);
  if (!raft_message) return std::nullopt;
  out.body = std::move(*raft_message);
  return out;
}

bool holds_values(const message::TxnOk& ok) {
  return std::any_of(ok.results.begin(), ok.results.end(),
                     [](const auto& result) { return result.value.has_value(); });
}

// What one client's transactions read must not cost all others of that peer their connection.
void leave_out_values(PeerMessage& message) {
  auto* ok = std::get_if<message::ForwardOk>(&message.body);
  const auto* done = ok ? std::get_if<message::TxnOk>(&ok->answer) : nullptr;
  if (!done || !holds_values(*done)) return;
  ok->answer = message::make_error(message::Code::unknown_outcome,
                                   "the transaction was done, at " + std::to_string(done->ts) +
                                       ", but what it has read is not sent: the leader has too many answers for " +
                                       message.peer.name + " already; ask for less at once, or ask the leader");
}

const raft::AppendRequest* entries_in(const PeerMessage& message) {
  const auto* raft_message = std::get_if<raft::Message>(&message.body);
  const auto* request = raft_message ? std::get_if<raft::AppendRequest>(raft_message) : nullptr;
  return request && !request->entries.empty() ? request : nullptr;
}

}  // namespace

Peers::Peers(asio::io_context& loop, Engine& engine, std::optional<asio::ip::tcp::acceptor> acceptor,
             std::map<std::string, Address> addresses, std::size_t max_unnamed)
    : loop_(loop),
      engine_(engine),
      acceptor_(std::move(acceptor)),
      max_unnamed_(max_unnamed),
      random_(std::random_device{}()) {
  for (auto& [node, address] : addresses) {
    Link link;
    link.node = node;
    link.address = address;
    link.pause = std::make_unique<asio::steady_timer>(loop);
    links_.emplace(node, std::move(link));
  }
}

void Peers::start() {
  for (auto& [node, link] : links_) asio::co_spawn(loop_, keep_linked(link), report);
  if (acceptor_) asio::co_spawn(loop_, accept(), report);
}

// ---- Links that this server opens

asio::awaitable<void> Peers::keep_linked(Link& link) {
  auto pause = first_pause;
  while (!closing_) {
    std::shared_ptr<Connection> connection = co_await dial(link);
    if (connection && !closing_) {
      const auto since = std::chrono::steady_clock::now();
      link.connection = connection;
      link.last_trouble.clear();
      spdlog::info("linked to {} at {}", link.node, link.address.text());
      co_await serve_link(link);
      link.connection->close();
      link.connection.reset();
      engine_.replica().link_down(link.node);
      engine_.poke();
      if (!closing_) spdlog::warn("lost the link to {}", link.node);
      // One that breaks as soon as it is made is not made again in a hurry.
      if (std::chrono::steady_clock::now() - since > std::chrono::seconds(1)) pause = first_pause;
    }
    if (closing_) co_return;
    link.pause->expires_after(pause + std::chrono::milliseconds(random_() % (pause.count() + 1)));
    co_await link.pause->async_wait(as_tuple(use_awaitable));
    pause = std::min(2 * pause, std::chrono::milliseconds(500));
  }
}

// Names are looked up anew for each attempt; numbers need no look-up, which could hang.
asio::awaitable<std::optional<std::vector<asio::ip::tcp::endpoint>>> Peers::look_up(Link& link) {
  std::vector<asio::ip::tcp::endpoint> endpoints;
  std::error_code not_a_number;
  const auto number = asio::ip::make_address(link.address.host, not_a_number);
  if (!not_a_number) {
    endpoints.emplace_back(number, link.address.port);
    co_return endpoints;
  }
  asio::ip::tcp::resolver resolver(loop_);
  const std::string port = std::to_string(link.address.port);
  auto [error, found] = co_await resolver.async_resolve(link.address.host, port, as_tuple(use_awaitable));
  if (error) {
    trouble(link, "cannot look up " + link.address.host + ": " + error.message());
    co_return std::nullopt;
  }
  for (const auto& entry : found) endpoints.push_back(entry.endpoint());
  co_return endpoints;
}

// A connection whose INIT was answered with a welcome INIT_OK; null if that could not be had.
asio::awaitable<std::shared_ptr<Connection>> Peers::dial(Link& link) {
  const std::optional<std::vector<asio::ip::tcp::endpoint>> endpoints = co_await look_up(link);
  if (!endpoints) co_return nullptr;
  auto socket = std::make_shared<asio::ip::tcp::socket>(loop_);
  {
    Deadline deadline(loop_, handshake_time, [socket] { socket->close(); });
    auto [error, endpoint] = co_await asio::async_connect(*socket, *endpoints, as_tuple(use_awaitable));
    if (error) {
      trouble(link, "cannot reach " + link.address.text() + ": " + error.message());
      co_return nullptr;
    }
  }
  auto connection = std::make_shared<Connection>(std::move(*socket), peer_max_frame);
  watch_liveness(*connection);
  connection->send(message::Peer(engine_.replica().roster().introduction(link.node)));
  connection->flush();
  const std::optional<message::Peer> answer = co_await first_message(connection);
  const auto* ok = answer ? std::get_if<message::PeerInitOk>(&*answer) : nullptr;
  std::string why = "no INIT_OK came";
  if (ok) {
    const auto unwelcome = engine_.replica().roster().check(link.node, *ok);
    if (!unwelcome && !closing_) {
      link.identity = ok->identity;
      engine_.replica().link_up(*ok);
      engine_.poke();
      co_return connection;
    }
    if (unwelcome) why = escape_control(unwelcome->message);
  } else if (const auto* error = answer ? std::get_if<message::Error>(&*answer) : nullptr) {
    why = "it refuses this server: " + escape_control(error->message);
  }
  trouble(link, why);
  connection->close();
  co_return nullptr;
}

asio::awaitable<void> Peers::serve_link(Link& link) {
  const std::shared_ptr<Connection> connection = link.connection;
  while (take_frames(*connection, link.node, link.identity, true)) {
    if (co_await connection->read()) co_return;
  }
}

void Peers::trouble(Link& link, const std::string& text) {
  const bool news = text != link.last_trouble;
  link.last_trouble = text;
  spdlog::log(news ? spdlog::level::warn : spdlog::level::debug, "no link to {}: {}", link.node, text);
}

// ---- Connections that others open

asio::awaitable<void> Peers::accept() {
  while (acceptor_->is_open()) {
    auto [error, socket] = co_await acceptor_->async_accept(as_tuple(use_awaitable));
    if (error == asio::error::operation_aborted || !acceptor_->is_open()) co_return;
    if (error) {
      spdlog::warn("cannot accept a server: {}", error.message());
      asio::steady_timer pause(loop_, std::chrono::milliseconds(100));
      co_await pause.async_wait(as_tuple(use_awaitable));
      continue;
    }
    auto connection = std::make_shared<Connection>(std::move(socket), max_handshake_frame);
    watch_liveness(*connection);
    if (unnamed_ >= max_unnamed_) {
      refuse(connection, message::Code::overloaded, "too many connections that have not said INIT");
      continue;
    }
    asio::co_spawn(loop_, serve_inbound(std::move(connection)), report);
  }
}

asio::awaitable<void> Peers::serve_inbound(std::shared_ptr<Connection> connection) {
  ++unnamed_;
  const std::optional<message::Peer> first = co_await first_message(connection);
  --unnamed_;
  if (!first || closing_) {
    connection->close_after_flush();
    co_return;
  }
  const auto* init = std::get_if<message::PeerInit>(&*first);
  if (!init) {
    refuse(
        connection, message::Code::bad_request,
        std::string(message::type_of(*first)) + " before INIT: this listener is for servers, which say INIT first");
    co_return;
  }
  const std::string node = init->node;
  const std::string identity = init->identity;
  if (!welcome(connection, *init)) co_return;
  while (take_frames(*connection, node, identity, false)) {
    if (co_await connection->read()) break;
  }
  connection->close_after_flush();
  const auto found = inbound_.find(node);
  if (found != inbound_.end() && found->second.connection == connection) inbound_.erase(found);
}

asio::awaitable<std::optional<message::Peer>> Peers::first_message(std::shared_ptr<Connection> connection) {
  Deadline deadline(loop_, handshake_time, [connection] { connection->close(); });
  std::string_view frame;
  for (;;) {
    const auto result = connection->frames().next(frame);
    if (result == FrameReader::Result::frame) break;
    if (result == FrameReader::Result::bad_length) {
      connection->send(message::Peer(message::make_error(
          message::Code::bad_request,
          "a frame of " + std::to_string(connection->frames().bad_length()) + " bytes is no INIT")));
      co_return std::nullopt;
    }
    if (co_await connection->read()) co_return std::nullopt;
  }
  auto decoded = message::decode_peer(frame);
  connection->frames().set_max_frame(peer_max_frame);
  if (auto* malformed = std::get_if<message::Malformed>(&decoded)) {
    connection->send(message::Peer(message::make_error(malformed->code, malformed->text)));
    co_return std::nullopt;
  }
  co_return std::move(std::get<message::Peer>(decoded));
}

bool Peers::welcome(const std::shared_ptr<Connection>& connection, const message::PeerInit& init) {
  const Roster& roster = engine_.replica().roster();
  if (const auto unwelcome = roster.check(init)) {
    spdlog::warn("refused a server that says it is {}, from {}: {}", escape_control(init.node, 64),
                 connection->remote(), escape_control(unwelcome->message));
    connection->send(message::Peer(*unwelcome));
    connection->close_after_flush();
    return false;
  }
  Inbound& inbound = inbound_[init.node];
  if (!roster.bound() && inbound.connection && inbound.connection->is_open() && inbound.identity != init.identity) {
    // Before the cluster is formed the roster knows no identities: two under one name would each get our vote.
    refuse(connection, message::Code::cluster_mismatch,
           "another server that says it is " + init.node + " is connected: check --name and --data-dir");
    return false;
  }
  message::PeerInitOk ok = roster.welcome();
  ok.server = std::string("kvd ") + version;
  connection->send(message::Peer(std::move(ok)));
  connection->flush();
  // The same identity again replaces its old connection, which may be half open.
  if (inbound.connection) inbound.connection->close();
  inbound = {connection, init.identity};
  // It is there, so a link to it need not wait for the next attempt.
  if (const auto link = links_.find(init.node); link != links_.end()) link->second.pause->cancel();
  return true;
}

void Peers::refuse(const std::shared_ptr<Connection>& connection, message::Code code, std::string text) {
  spdlog::warn("refused {} on the servers' listener: {}", connection->remote(), text);
  connection->send(message::Peer(message::make_error(code, std::move(text))));
  connection->close_after_flush();
}

// ---- Both directions

bool Peers::take_frames(Connection& connection, const std::string& node, const std::string& identity,
                        bool answers) {
  std::string_view frame;
  std::string wrong;
  while (connection.is_open()) {
    const auto result = connection.frames().next(frame);
    if (result == FrameReader::Result::incomplete) return true;
    if (result == FrameReader::Result::bad_length) {
      wrong = "a frame of " + std::to_string(connection.frames().bad_length()) + " bytes";
      break;
    }
    auto decoded = message::decode_peer(frame);
    if (auto* malformed = std::get_if<message::Malformed>(&decoded)) {
      wrong = std::move(malformed->text);
      break;
    }
    auto message = to_peer_message(node, std::move(std::get<message::Peer>(decoded)));
    if (!message || is_answer(*message) != answers) {
      wrong = answers ? "something else than an answer" : "something else than a request of a server";
      break;
    }
    log_received(*message);
    if (!engine_.replica().receive(std::move(*message), identity)) {
      spdlog::warn("{} is not the server that the log knows by this name (identity {}): the connection is closed",
                   node, escape_control(identity, 64));
      return false;
    }
    engine_.poke();
  }
  if (wrong.empty()) return false;
  spdlog::warn("{} sent {}: the connection is closed", node, escape_control(wrong));
  if (!answers) {
    connection.send(message::Peer(message::make_error(message::Code::bad_request, wrong)));
    connection.flush();
  }
  return false;
}

void Peers::deliver(PeerMessage&& message) {
  const std::string& node = message.peer.name;
  std::shared_ptr<Connection> connection;
  if (is_answer(message)) {
    const auto found = inbound_.find(node);
    if (found != inbound_.end()) connection = found->second.connection;
  } else {
    const auto found = links_.find(node);
    if (found != links_.end()) connection = found->second.connection;
  }
  if (!connection || !connection->is_open()) return;  // lost, as on any network: the core knows what to do
  if (connection->unsent() > much_unsent) leave_out_values(message);
  log_sent(message);
  if (const raft::AppendRequest* request = entries_in(message)) {
    connection->send_frame(replication_frame(*request));
  } else {
    const auto send = [&connection](const auto& wire) { connection->send(wire); };
    std::visit(Overloaded{[&](raft::Message& m) { std::visit(send, to_wire(m)); },
                          [&](auto& m) { send(message::Peer(std::move(m))); }},
               message.body);
  }
  if (connection->unsent() > hopeless_unsent) connection->close();
}

const std::string& Peers::replication_frame(const raft::AppendRequest& request) {
  if (request != replication_.request) {
    replication_.request = request;
    replication_.frame.clear();
    const std::size_t start = begin_frame(replication_.frame);
    message::encode(to_wire(request), replication_.frame);
    finish_frame(replication_.frame, start);
  }
  return replication_.frame;
}

void Peers::flush() {
  for (auto& [node, link] : links_) {
    if (link.connection) link.connection->flush();
  }
  for (auto& [node, inbound] : inbound_) inbound.connection->flush();
}

void Peers::close_all() {
  closing_ = true;
  if (acceptor_) {
    std::error_code ignored;
    acceptor_->close(ignored);
  }
  for (auto& [node, link] : links_) {
    link.pause->cancel();
    if (link.connection) link.connection->close_after_flush();
  }
  for (auto& [node, inbound] : inbound_) inbound.connection->close_after_flush();
}

}  // namespace kv
