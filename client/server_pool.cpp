#include "client/server_pool.hpp"

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <exception>
#include <utility>

namespace kv::client {
namespace {

using std::chrono::milliseconds;

// A server that has just failed is tried last for so long.
constexpr milliseconds avoid_for{2000};

// For coroutines that nobody waits for: a Link's failures are values, so what arrives here is a bug or an
// exhausted machine. The link says so to whoever uses it.
auto closing_on_exception(std::shared_ptr<Link> link) {
  return [link = std::move(link)](std::exception_ptr failed) {
    if (!failed) return;
    try {
      std::rethrow_exception(failed);
    } catch (const std::exception& error) {
      link->close(error.what());
    }
  };
}

}  // namespace

bool may_help_to_retry(message::Code code) {
  return code == message::Code::no_leader || code == message::Code::shutting_down ||
         code == message::Code::overloaded;
}

ServerPool::ServerPool(asio::io_context& io, milliseconds connect_step, std::uint64_t seed)
    : io_(io), connect_step_(connect_step), random_(seed) {}

ServerPool::~ServerPool() {
  close_connections("kvctl has ended");
}

void ServerPool::close_connections(const std::string& why) {
  for (const ServerPtr& server : servers_) {
    if (server->link) server->link->close(why);
  }
}

void ServerPool::restart(std::vector<Address> endpoints, std::string cluster, bool endpoints_first) {
  endpoints_first_ = endpoints_first;
  in_contact_ = false;
  close_connections("other servers were named");
  servers_.clear();
  leader_.clear();
  cluster_ = std::move(cluster);
  for (Address& address : endpoints) {
    const auto same = [&](const ServerPtr& server) { return server->address == address; };
    if (std::any_of(servers_.begin(), servers_.end(), same)) continue;
    const auto server = std::make_shared<Server>();
    server->address = std::move(address);
    server->given = true;
    servers_.push_back(server);
  }
  member_count_ = servers_.size();
}

void ServerPool::add_known(const KnownServers& known) {
  known_cluster_ = known.cluster;
  for (const Address& address : known.members) {
    const auto same = [&](const ServerPtr& server) { return server->address == address; };
    if (std::any_of(servers_.begin(), servers_.end(), same)) continue;
    const auto server = std::make_shared<Server>();
    server->address = address;
    server->remembered = true;
    servers_.push_back(server);
  }
}

std::optional<KnownServers> ServerPool::known_servers() const {
  if (!in_contact_ || endpoints_first_) return std::nullopt;
  KnownServers known{cluster_, {}};
  for (const ServerPtr& server : servers_) {
    if (!server->node.empty()) known.members.push_back(server->address);
  }
  return known;
}

std::vector<ServerPool::ServerPtr> ServerPool::in_random_order() {
  std::vector<ServerPtr> order = servers_;
  std::shuffle(order.begin(), order.end(), random_);
  if (endpoints_first_ || !in_contact_) {
    std::stable_partition(order.begin(), order.end(), [](const ServerPtr& server) { return server->given; });
  }
  const auto now = Clock::now();
  std::stable_partition(order.begin(), order.end(), [now](const ServerPtr& server) {
    const bool hangs = server->link && server->link->state() == Link::State::opening;
    return !hangs && server->avoid_until <= now;
  });
  return order;
}

void ServerPool::open_link(const ServerPtr& server, Clock::time_point deadline) {
  if (server->link && server->link->state() != Link::State::closed) return;
  server->link = std::make_shared<Link>(io_.get_executor(), server->address);
  server->welcomed = false;
  asio::co_spawn(io_, server->link->run(cluster_, deadline), closing_on_exception(server->link));
}

void ServerPool::note_failure(const ServerPtr& server) {
  server->last_failure = server->link->trouble();
  server->last_refusal = server->link->refusal();
  avoid(server);
}

void ServerPool::avoid(const ServerPtr& server) {
  server->avoid_until = Clock::now() + avoid_for;
}

bool ServerPool::may_come_back() const {
  return std::any_of(servers_.begin(), servers_.end(), [](const ServerPtr& server) {
    return server->last_refusal && may_help_to_retry(server->last_refusal->code);
  });
}

ServerPool::ServerPtr ServerPool::connected() {
  // Not by iterator: what welcome() learns may add to the list.
  const std::vector<ServerPtr> servers = servers_;
  for (const ServerPtr& server : servers) {
    if (usable(server)) return server;
  }
  return nullptr;
}

bool ServerPool::usable(const ServerPtr& server) {
  return server->link && server->link->state() == Link::State::ready && (server->welcomed || welcome(server));
}

bool ServerPool::welcome(const ServerPtr& server) {
  const message::InitOk& hello = server->link->hello();
  const std::string& expected = cluster_.empty() && server->remembered ? known_cluster_ : cluster_;
  if (!expected.empty() && hello.cluster != expected) {
    message::Error error;
    error.code = message::Code::cluster_mismatch;
    error.message = "it is of cluster " + hello.cluster + ", not of " + expected;
    error.cluster = hello.cluster;
    server->link->refuse(std::move(error));
    note_failure(server);
    return false;
  }
  in_contact_ = true;
  cluster_ = hello.cluster;
  leader_ = hello.leader;
  server->welcomed = true;
  server->avoid_until = Clock::time_point::min();
  server->last_failure.clear();
  server->last_refusal.reset();
  learn_members(server);
  return true;
}

void ServerPool::learn_members(const ServerPtr& from) {
  const message::InitOk& hello = from->link->hello();
  from->node = hello.node;
  if (!hello.members.empty()) member_count_ = hello.members.size();
  for (const message::Member& member : hello.members) {
    const auto address = parse_address(member.address);
    if (!std::holds_alternative<Address>(address)) continue;
    const auto known = std::find_if(servers_.begin(), servers_.end(), [&](const ServerPtr& server) {
      return server->node == member.node || server->address == std::get<Address>(address);
    });
    if (known != servers_.end()) {
      if ((*known)->node.empty()) (*known)->node = member.node;
      (*known)->remembered = false;
      continue;
    }
    const auto learned = std::make_shared<Server>();
    learned->address = std::get<Address>(address);
    learned->node = member.node;
    servers_.push_back(learned);
  }
  // What is remembered and no member any more is forgotten.
  std::erase_if(servers_, [](const ServerPtr& server) { return server->remembered && !server->link; });
  // A server that was given by one name and learned by another is one: the given name is known to lead there.
  std::erase_if(servers_, [&](const ServerPtr& server) {
    return server != from && !server->given && server->node == from->node && !server->link;
  });
}

asio::awaitable<ServerPool::ServerPtr> ServerPool::reach(std::shared_ptr<Call> call) {
  return reach_one_of(std::move(call), in_random_order());
}

asio::awaitable<ServerPool::ServerPtr> ServerPool::reach(std::shared_ptr<Call> call, ServerPtr only) {
  return reach_one_of(std::move(call), std::vector<ServerPtr>(1, std::move(only)));
}

// The first of `order` that is ready; each gets a head start over the next. nullptr: none, or no time left.
asio::awaitable<ServerPool::ServerPtr> ServerPool::reach_one_of(std::shared_ptr<Call> call,
                                                                std::vector<ServerPtr> order) {
  std::vector<ServerPtr> opening;
  std::size_t next = 0;
  Clock::time_point next_at = Clock::now();
  for (;;) {
    for (auto it = opening.begin(); it != opening.end();) {
      if (usable(*it)) co_return *it;
      if ((*it)->link->state() == Link::State::closed) {
        note_failure(*it);
        it = opening.erase(it);
      } else {
        ++it;
      }
    }
    const auto now = Clock::now();
    if (call->interrupted() || now >= call->deadline()) co_return nullptr;
    if (next < order.size() && (opening.empty() || now >= next_at)) {
      const ServerPtr& server = order[next++];
      open_link(server, call->deadline());
      server->link->notify(call);
      opening.push_back(server);
      next_at = now + connect_step_;
    } else if (opening.empty()) {
      co_return nullptr;
    } else {
      co_await call->wait(next < order.size() ? std::min(next_at, call->deadline()) : call->deadline());
    }
  }
}

Failure ServerPool::no_server() const {
  Failure failure;
  for (const ServerPtr& server : servers_) {
    const bool hangs = server->link && server->link->state() == Link::State::opening;
    std::string why = hangs ? server->link->trouble() : server->last_failure;
    if (why.empty()) why = "not tried in time";
    failure.attempts.push_back(server->address.text() + ": " + why);
    if (server->last_refusal && !failure.error) {
      // It was reached, and said no.
      failure.kind = Failure::Kind::refused;
      failure.error = server->last_refusal;
      failure.where = server->address.text();
    }
  }
  return failure;
}

}  // namespace kv::client
