#include "client/server_pool.hpp"

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <exception>
#include <utility>

namespace kv::client {
namespace {

using std::chrono::milliseconds;

// After a failure the servers are asked for members and leader, at most so often, until they have had so much time
// to elect another leader.
constexpr milliseconds between_news{1000};
constexpr milliseconds until_settled{2000};

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

ServerPool::ServerPool(asio::io_context& io, std::string name, Times times, std::uint64_t seed)
    : io_(io), name_(std::move(name)), times_(times), random_(seed) {}

ServerPool::~ServerPool() {
  close_connections("the client has ended");
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
  members_at_ = 0;
  last_trouble_ = news_asked_ = Clock::time_point::min();
  cluster_ = std::move(cluster);
  for (Address& address : endpoints) {
    if (!find(address)) add(std::move(address), "", true, false);
  }
  member_count_ = servers_.size();
}

void ServerPool::add_known(const KnownServers& known) {
  known_cluster_ = known.cluster;
  for (const Address& address : known.members) {
    if (!find(address)) add(address, "", false, true);
  }
}

void ServerPool::add(Address address, std::string node, bool given, bool remembered) {
  const auto server = std::make_shared<Server>();
  server->address = std::move(address);
  server->node = std::move(node);
  server->given = given;
  server->remembered = remembered;
  servers_.push_back(server);
}

ServerPool::ServerPtr ServerPool::find(const Address& address) const {
  for (const ServerPtr& server : servers_) {
    if (server->address == address) return server;
  }
  return nullptr;
}

ServerPool::ServerPtr ServerPool::find(const std::string& node, bool given) const {
  for (const ServerPtr& server : servers_) {
    if (server->node == node && server->given == given) return server;
  }
  return nullptr;
}

std::optional<KnownServers> ServerPool::known_servers() const {
  if (!in_contact_ || endpoints_first_) return std::nullopt;
  KnownServers known{cluster_, {}};
  for (const ServerPtr& server : servers_) {
    if (!server->node.empty()) known.members.push_back(server->address);
  }
  return known;
}

// ---- Whom to ask ---------------------------------------------------------------------------------------

bool ServerPool::is_out_of_favour(const ServerPtr& server) const {
  const bool hangs = server->link && server->link->state() == Link::State::opening;
  return hangs || server->avoid_until > Clock::now();
}

bool ServerPool::is_behind(const Server& server, std::uint64_t position) const {
  return server.applied < position && server.behind_until > Clock::now();
}

std::vector<ServerPool::ServerPtr> ServerPool::in_random_order(std::uint64_t position) {
  std::vector<ServerPtr> order = servers_;
  std::shuffle(order.begin(), order.end(), random_);
  if (position > 0) {
    const auto has = [&](const ServerPtr& server) { return knows_to_have(*server, position); };
    // Not always those that are known to have it: how far the others are is heard only from them, and a client
    // that reads what it has just written would ask the leader alone.
    const auto known = std::count_if(order.begin(), order.end(), has);
    if (random_() % (known == 1 ? 2 : 8) != 0) std::stable_partition(order.begin(), order.end(), has);
    std::stable_partition(order.begin(), order.end(),
                          [&](const ServerPtr& server) { return !is_behind(*server, position); });
  }
  if (endpoints_first_ || !in_contact_) {
    std::stable_partition(order.begin(), order.end(), [](const ServerPtr& server) { return server->given; });
  }
  std::stable_partition(order.begin(), order.end(),
                        [this](const ServerPtr& server) { return !is_out_of_favour(server); });
  return order;
}

std::vector<ServerPool::ServerPtr> ServerPool::others_for(const ServerPtr& first, std::uint64_t position) {
  std::vector<ServerPtr> order = in_random_order(position);
  std::erase_if(order, [&](const ServerPtr& server) {
    const bool same = server == first || (!server->node.empty() && server->node == first->node);
    const bool not_wanted = endpoints_first_ && !server->given;
    return same || not_wanted || is_out_of_favour(server) || is_behind(*server, position);
  });
  std::stable_partition(order.begin(), order.end(),
                        [&](const ServerPtr& server) { return knows_to_have(*server, position); });
  return order;
}

void ServerPool::open_link(const ServerPtr& server, Clock::time_point deadline) {
  if (server->link && server->link->state() != Link::State::closed) return;
  server->link = std::make_shared<Link>(io_.get_executor(), server->address, name_);
  server->hellos_taken = 0;
  server->applied = 0;  // the process may be another one by now
  asio::co_spawn(io_, server->link->run(cluster_, deadline), closing_on_exception(server->link));
}

void ServerPool::open(const ServerPtr& server, const std::shared_ptr<Call>& call) {
  open_link(server, call->deadline());
  server->link->notify(call);
}

void ServerPool::note_failure(const ServerPtr& server) {
  avoid(server);
  // Asked again with hardly any time left: what it said before says more.
  if (server->last_refusal && server->link->ran_out_of_time()) return;
  server->last_failure = server->link->trouble();
  server->last_refusal = server->link->refusal();
}

void ServerPool::avoid(const ServerPtr& server) {
  last_trouble_ = Clock::now();
  server->avoid_until = last_trouble_ + times_.avoid;
}

void ServerPool::note_position(const ServerPtr& server, const message::Answer& answer) {
  const auto is_at = [](const ServerPtr& whose, std::uint64_t position) {
    if (whose) whose->applied = std::max(whose->applied, position);
  };
  // A write is applied where its answer is made, which is the leader, whoever passes it on.
  const auto leader_is_at = [&](std::uint64_t position) {
    if (leader_.empty()) return;
    is_at(find(leader_, true), position);
    is_at(find(leader_, false), position);
  };
  if (const auto* get = std::get_if<message::GetOk>(&answer.body)) is_at(server, std::max(get->applied, get->ts));
  if (const auto* list = std::get_if<message::ListOk>(&answer.body)) is_at(server, list->applied);
  if (const auto* put = std::get_if<message::PutOk>(&answer.body)) leader_is_at(put->ts);
  if (const auto* del = std::get_if<message::DeleteOk>(&answer.body)) leader_is_at(del->ts);
  if (const auto* txn = std::get_if<message::TxnOk>(&answer.body)) leader_is_at(txn->ts);
  if (const auto* error = std::get_if<message::Error>(&answer.body)) is_at(server, error->applied.value_or(0));
  if (const auto* wait = std::get_if<message::WaitForResponse>(&answer.body)) {
    server->applied = wait->applied;  // whatever was believed
    if (wait->applied < wait->ts) server->behind_until = Clock::now() + times_.behind;
  }
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
    if (is_usable(server)) return server;
  }
  return nullptr;
}

bool ServerPool::is_usable(const ServerPtr& server) {
  if (!server->link || server->link->state() != Link::State::ready) return false;
  return server->hellos_taken == server->link->hellos() || welcome(server);
}

// ---- What the servers tell of themselves ---------------------------------------------------------------

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
  if (server->hellos_taken == 0) {  // a new connection
    server->avoid_until = Clock::time_point::min();
    server->last_failure.clear();
    server->last_refusal.reset();
  }
  server->hellos_taken = server->link->hellos();
  server->applied = std::max(server->applied, hello.applied);
  learn_members(server);
  return true;
}

// Takes over what has come since, and asks for more where something went wrong lately: at once, and again until
// there has been time for an election, or for a server to start at another address.
void ServerPool::ask_for_news() {
  const std::vector<ServerPtr> servers = servers_;
  const Clock::time_point now = Clock::now();
  const bool troubled = last_trouble_ != Clock::time_point::min() && news_asked_ < last_trouble_ + until_settled;
  const bool wanted = in_contact_ && (troubled || leader_.empty()) && now >= news_asked_ + between_news;
  for (const ServerPtr& server : servers) {
    if (!is_usable(server) || !wanted) continue;
    server->link->ask_hello(cluster_);
    news_asked_ = now;
  }
}

void ServerPool::learn_members(const ServerPtr& from) {
  const message::InitOk& hello = from->link->hello();
  from->node = hello.node;
  // A server that is behind may tell old addresses.
  const bool newest = hello.applied >= members_at_ && !hello.members.empty();
  if (newest) {
    members_at_ = hello.applied;
    member_count_ = hello.members.size();
    for (const message::Member& member : hello.members) {
      const auto address = parse_address(member.address);
      if (const auto* good = std::get_if<Address>(&address)) learn_member(member.node, *good);
    }
  }
  const auto is_member = [&](const ServerPtr& server) {
    return std::any_of(hello.members.begin(), hello.members.end(),
                       [&](const message::Member& member) { return member.node == server->node; });
  };
  std::erase_if(servers_, [&](const ServerPtr& server) {
    if (server == from || server->given) return false;
    if (server->link && server->link->state() != Link::State::closed) return false;
    // A server that was given by one name and learned by another is one: the given name is known to lead there.
    // And what is remembered, or was learned, and is no member any more is forgotten.
    return server->node == from->node || (newest && (server->remembered || !is_member(server)));
  });
}

void ServerPool::learn_member(const std::string& node, const Address& address) {
  if (const ServerPtr there = find(address)) {
    const bool said_so = there->link && there->link->state() == Link::State::ready;
    if (!said_so) there->node = node;
    there->remembered = false;
  } else if (const ServerPtr moved = find(node, false)) {
    // The connection that is there serves for as long as it works.
    moved->address = address;
    moved->avoid_until = Clock::time_point::min();
  } else {
    // Under a name that was given it is as good, unless that leads nowhere.
    const ServerPtr given = find(node, true);
    if (!given || !given->last_failure.empty()) add(address, node, false, false);
  }
}

// ---- Reaching them -------------------------------------------------------------------------------------

asio::awaitable<ServerPool::ServerPtr> ServerPool::reach(std::shared_ptr<Call> call, std::uint64_t position) {
  ask_for_news();
  return reach_one_of(std::move(call), in_random_order(position));
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
      if (is_usable(*it)) co_return *it;
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
      open(server, call);
      opening.push_back(server);
      next_at = now + times_.connect_step;
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
    const bool hangs = !server->last_refusal && server->link && server->link->state() == Link::State::opening;
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
