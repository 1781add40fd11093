#include "client/client.hpp"

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <exception>
#include <tuple>
#include <type_traits>
#include <utility>

#include "common/text.hpp"

// g++ 12 inlines the operator new of Asio's coroutine frames, but not its operator delete, and takes them for two
// that do not belong together.
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmismatched-new-delete"
#endif

namespace kv::client {
namespace {

using std::chrono::milliseconds;

// A server that has just failed is tried last for so long.
constexpr milliseconds avoid_for{2000};
constexpr milliseconds first_pause{25};
constexpr milliseconds longest_pause{400};
// With less time than this left there is no point in one more attempt.
constexpr milliseconds shortest_attempt{20};
constexpr unsigned max_sessions_expired = 3;

bool is_write(const Client::Body& body) {
  return std::holds_alternative<message::Put>(body) || std::holds_alternative<message::Delete>(body);
}

std::optional<message::WriteSession>* session_of(Client::Body& body) {
  if (auto* put = std::get_if<message::Put>(&body)) return &put->session;
  if (auto* del = std::get_if<message::Delete>(&body)) return &del->session;
  return nullptr;
}

bool fits(const Client::Body& body, const message::Answer& answer) {
  if (std::holds_alternative<message::Put>(body)) return std::holds_alternative<message::PutOk>(answer.body);
  if (std::holds_alternative<message::Delete>(body)) return std::holds_alternative<message::DeleteOk>(answer.body);
  if (std::holds_alternative<message::Get>(body)) return std::holds_alternative<message::GetOk>(answer.body);
  return false;
}

// Not applied, and another server, or the same one a little later, may well say yes.
bool may_help_to_retry(message::Code code) {
  return code == message::Code::no_leader || code == message::Code::shutting_down ||
         code == message::Code::overloaded;
}

template <class Body>
Reply make_reply(Body body, const Link& link) {
  Reply reply;
  reply.body = std::move(body);
  reply.node = link.hello().node;
  reply.cluster = link.hello().cluster;
  return reply;
}

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

Client::Client(asio::io_context& io, ClientOptions options)
    : io_(io), options_(std::move(options)), random_(options_.seed), cluster_(options_.cluster) {
  restart(std::move(options_.endpoints));
  cluster_ = options_.cluster;
}

Client::~Client() {
  for (const ServerPtr& server : servers_) {
    if (server->link) server->link->close("kvctl has ended");
  }
}

void Client::restart(std::vector<Address> endpoints) {
  for (const ServerPtr& server : servers_) {
    if (server->link) server->link->close("other servers were named");
  }
  servers_.clear();
  cluster_.clear();
  leader_.clear();
  session_.reset();
  for (Address& address : endpoints) {
    const auto same = [&](const ServerPtr& server) { return server->address == address; };
    if (std::any_of(servers_.begin(), servers_.end(), same)) continue;
    const auto server = std::make_shared<Server>();
    server->address = std::move(address);
    server->given = true;
    servers_.push_back(server);
  }
}

std::shared_ptr<Call> Client::new_call(milliseconds timeout) {
  std::erase_if(calls_, [](const std::weak_ptr<Call>& call) { return call.expired(); });
  auto call = std::make_shared<Call>(io_.get_executor(), Clock::now() + timeout);
  calls_.push_back(call);
  return call;
}

void Client::interrupt() {
  for (const std::weak_ptr<Call>& weak : calls_) {
    if (const std::shared_ptr<Call> call = weak.lock()) call->interrupt();
  }
}

// ---- Servers and connections ---------------------------------------------------------------------------

std::vector<Client::ServerPtr> Client::in_random_order() {
  std::vector<ServerPtr> order = servers_;
  std::shuffle(order.begin(), order.end(), random_);
  const auto now = Clock::now();
  std::stable_partition(order.begin(), order.end(), [now](const ServerPtr& server) {
    const bool hangs = server->link && server->link->state() == Link::State::opening;
    return !hangs && server->avoid_until <= now;
  });
  return order;
}

void Client::open_link(const ServerPtr& server, Clock::time_point deadline) {
  if (server->link && server->link->state() != Link::State::closed) return;
  server->link = std::make_shared<Link>(io_.get_executor(), server->address);
  server->welcomed = false;
  asio::co_spawn(io_, server->link->run(cluster_, deadline), closing_on_exception(server->link));
}

void Client::note_failure(const ServerPtr& server) {
  server->last_failure = server->link->trouble();
  server->last_refusal = server->link->refusal();
  server->avoid_until = Clock::now() + avoid_for;
}

bool Client::usable(const ServerPtr& server) {
  return server->link && server->link->state() == Link::State::ready && (server->welcomed || welcome(server));
}

bool Client::welcome(const ServerPtr& server) {
  const message::InitOk& hello = server->link->hello();
  if (!cluster_.empty() && hello.cluster != cluster_) {
    message::Error error;
    error.code = message::Code::cluster_mismatch;
    error.message = "it is of cluster " + hello.cluster + ", not of " + cluster_;
    error.cluster = hello.cluster;
    server->link->refuse(std::move(error));
    note_failure(server);
    return false;
  }
  cluster_ = hello.cluster;
  leader_ = hello.leader;
  server->welcomed = true;
  server->avoid_until = Clock::time_point::min();
  server->last_failure.clear();
  server->last_refusal.reset();
  learn_members(server);
  return true;
}

void Client::learn_members(const ServerPtr& from) {
  const message::InitOk& hello = from->link->hello();
  from->node = hello.node;
  for (const message::Member& member : hello.members) {
    const auto address = parse_address(member.address);
    if (!std::holds_alternative<Address>(address)) continue;
    const auto known = std::find_if(servers_.begin(), servers_.end(), [&](const ServerPtr& server) {
      return server->node == member.node || server->address == std::get<Address>(address);
    });
    if (known != servers_.end()) {
      if ((*known)->node.empty()) (*known)->node = member.node;
      continue;
    }
    const auto learned = std::make_shared<Server>();
    learned->address = std::get<Address>(address);
    learned->node = member.node;
    servers_.push_back(learned);
  }
  // A server that was given by one name and learned by another is one: the given name is known to lead there.
  std::erase_if(servers_, [&](const ServerPtr& server) {
    return server != from && !server->given && server->node == from->node && !server->link;
  });
}

asio::awaitable<Client::ServerPtr> Client::reach(std::shared_ptr<Call> call) {
  return reach_one_of(std::move(call), in_random_order());
}

// The first of `order` that is ready; each gets a head start over the next. nullptr: none, or no time left.
asio::awaitable<Client::ServerPtr> Client::reach_one_of(std::shared_ptr<Call> call, std::vector<ServerPtr> order) {
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
      next_at = now + options_.connect_step;
    } else if (opening.empty()) {
      co_return nullptr;
    } else {
      co_await call->wait(next < order.size() ? std::min(next_at, call->deadline()) : call->deadline());
    }
  }
}

Failure Client::no_server() const {
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

asio::awaitable<Outcome> Client::connect(std::shared_ptr<Call> call) {
  for (const ServerPtr& server : servers_) {
    if (usable(server)) co_return Outcome(make_reply(server->link->hello(), *server->link));
  }
  Trial trial;
  for (;;) {
    const ServerPtr server = co_await reach(call);
    if (server) co_return Outcome(make_reply(server->link->hello(), *server->link));
    if (!worth_waiting(trial)) break;
    if (!co_await pause(call, trial)) break;
  }
  co_return Outcome(give_up(*call, trial));
}

// ---- Requests ------------------------------------------------------------------------------------------

asio::awaitable<Outcome> Client::request(std::shared_ptr<Call> call, Body body, WaitHandler on_wait) {
  Trial trial;
  trial.write = is_write(body);
  for (;;) {
    const ServerPtr server = co_await reach(call);
    if (server) {
      if (trial.write) begin_write(body, *server->link);
      std::optional<Outcome> outcome = co_await attempt(call, server, body, trial, on_wait);
      if (outcome) co_return std::move(*outcome);
      if (trial.write && trial.sessions_expired > 0 && !trial.maybe_applied) session_of(body)->reset();
    } else if (!worth_waiting(trial)) {
      break;
    }
    if (!co_await pause(call, trial)) break;
  }
  co_return Outcome(give_up(*call, trial));
}

void Client::begin_write(Body& body, const Link& link) {
  std::optional<message::WriteSession>& stamp = *session_of(body);
  if (stamp) return;  // a retry: the same seq, so that it is applied once
  if (!session_) {
    session_.emplace();
    session_->session = new_uuid();
    session_->session_from = link.hello().applied;
  }
  ++session_->seq;
  stamp = session_;
}

// The next write begins another session, with a fresh INIT_OK.
void Client::end_session() {
  session_.reset();
  for (const ServerPtr& server : servers_) {
    if (server->link) server->link->close("the session has expired");
  }
}

// nullopt: another attempt may help.
asio::awaitable<std::optional<Outcome>> Client::attempt(std::shared_ptr<Call> call, ServerPtr server,
                                                        const Body& body, Trial& trial,
                                                        const WaitHandler& on_wait) {
  const std::shared_ptr<Link> link = server->link;
  message::Request request;
  request.timeout_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(call->remaining().count(), 1));
  request.body = body;
  call->begin_attempt();
  const std::uint64_t id = link->ask(std::move(request), call);
  ++trial.sent;
  trial.where = link->name();
  trial.error.reset();
  trial.why.clear();
  const Clock::time_point patience = call->deadline() + options_.answer_grace;
  for (;;) {
    std::optional<message::Answer> answer = call->take();
    if (answer) {
      const auto* wait = std::get_if<message::WaitForResponse>(&answer->body);
      if (!wait) co_return judge(std::move(*answer), server, body, trial);
      if (on_wait) on_wait(*wait);
      continue;
    }
    if (call->lost()) {
      trial.maybe_applied = trial.write;
      trial.why = *call->lost();
      note_failure(server);
      co_return std::nullopt;
    }
    const bool late = Clock::now() >= patience;
    if (late || call->interrupted()) {
      trial.maybe_applied = trial.write;
      link->abandon(id);
      // A server that does not even say TIMEOUT hangs: the next command shall not wait for it.
      if (late) link->close("no answer in time");
      co_return Outcome(give_up(*call, trial));
    }
    co_await call->wait(patience);
  }
}

std::optional<Outcome> Client::judge(message::Answer answer, const ServerPtr& server, const Body& body,
                                     Trial& trial) {
  if (auto* error = std::get_if<message::Error>(&answer.body)) return judge_error(std::move(*error), server, trial);
  if (!fits(body, answer)) {
    trial.why = "not a kvd: it answered something else than was asked";
    trial.maybe_applied = trial.write;
    server->link->close(trial.why);
    note_failure(server);
    return std::nullopt;
  }
  if (auto* ok = std::get_if<message::PutOk>(&answer.body)) return make_reply(std::move(*ok), *server->link);
  if (auto* ok = std::get_if<message::DeleteOk>(&answer.body)) return make_reply(std::move(*ok), *server->link);
  return make_reply(std::get<message::GetOk>(std::move(answer.body)), *server->link);
}

std::optional<Outcome> Client::judge_error(message::Error error, const ServerPtr& server, Trial& trial) {
  const message::Code code = error.code;
  trial.error = std::move(error);
  if (may_help_to_retry(code)) {
    server->avoid_until = Clock::now() + avoid_for;
    return std::nullopt;
  }
  if (code == message::Code::unknown_outcome && trial.write) {
    trial.maybe_applied = true;
    return std::nullopt;
  }
  if (code == message::Code::timeout && !trial.write) return std::nullopt;  // final at our own deadline
  if (code == message::Code::session_expired && !trial.maybe_applied &&
      ++trial.sessions_expired <= max_sessions_expired) {
    end_session();
    return std::nullopt;
  }
  Failure failure;
  // The code speaks of this attempt; an earlier one may have been applied. A CONFLICT is different: it is the
  // first answer, repeated.
  const bool unknown = trial.maybe_applied && code != message::Code::conflict;
  failure.kind = unknown ? Failure::Kind::unknown_outcome : Failure::Kind::refused;
  failure.where = trial.where;
  failure.error = trial.error;
  return Outcome(std::move(failure));
}

// No server could be reached: is it for long? A refused connection is told at once, unless the request has
// been sent before, or a server was there and said that it will be of use later.
bool Client::worth_waiting(const Trial& trial) const {
  if (trial.sent > 0) return true;
  return std::any_of(servers_.begin(), servers_.end(), [](const ServerPtr& server) {
    return server->last_refusal && may_help_to_retry(server->last_refusal->code);
  });
}

// Every server is tried once without waiting, then more and more slowly. False: there is no time left.
asio::awaitable<bool> Client::pause(std::shared_ptr<Call> call, Trial& trial) {
  const std::size_t free_rounds = servers_.size() - 1;
  const std::size_t round = trial.rounds++;
  if (call->remaining() < shortest_attempt || call->interrupted()) co_return false;
  if (round < free_rounds) co_return true;
  const std::size_t doublings = std::min<std::size_t>(round - free_rounds, 8);
  const milliseconds wanted = std::min(first_pause * (1 << doublings), longest_pause);
  const Clock::time_point until = Clock::now() + std::min(wanted, call->remaining() / 2);
  while (!call->interrupted() && Clock::now() < until) co_await call->wait(until);
  co_return !call->interrupted();
}

Failure Client::give_up(const Call& call, const Trial& trial) const {
  Failure failure;
  if (trial.sent == 0) {
    failure = no_server();
  } else {
    failure.where = trial.where;
    failure.error = trial.error;
    failure.why = trial.why;
    failure.kind = trial.error ? Failure::Kind::refused : Failure::Kind::no_answer;
  }
  if (trial.maybe_applied) failure.kind = Failure::Kind::unknown_outcome;
  if (call.interrupted()) failure.kind = Failure::Kind::interrupted;
  failure.maybe_applied = trial.maybe_applied;
  return failure;
}

// ---- Status --------------------------------------------------------------------------------------------

asio::awaitable<void> Client::ask_status(std::shared_ptr<Call> call, ServerPtr server, NodeStatus& row) {
  row.address = server->address.text();
  row.result = std::string("no answer in time");
  std::vector<ServerPtr> only;
  only.push_back(server);
  const ServerPtr reached = co_await reach_one_of(call, std::move(only));
  row.node = server->node;
  if (!reached) {
    const bool closed = server->link->state() == Link::State::closed;
    row.result = closed && !server->last_failure.empty() ? server->last_failure : server->link->trouble();
    co_return;
  }
  message::Request request;
  request.timeout_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(call->remaining().count(), 1));
  request.body = message::Status();
  const std::shared_ptr<Link> link = server->link;
  const std::uint64_t id = link->ask(std::move(request), call);
  while (!call->interrupted() && Clock::now() < call->deadline() && !call->lost()) {
    std::optional<message::Answer> answer = call->take();
    if (!answer) {
      co_await call->wait(call->deadline());
      continue;
    }
    if (auto* ok = std::get_if<message::StatusOk>(&answer->body)) row.result = std::move(*ok);
    if (auto* error = std::get_if<message::Error>(&answer->body)) row.result = escape_control(error->message);
    co_return;
  }
  link->abandon(id);
  if (call->lost()) row.result = *call->lost();
}

asio::awaitable<std::vector<NodeStatus>> Client::status(std::shared_ptr<Call> call) {
  co_await connect(call);  // to learn the members; who can't be reached is shown as such
  const std::vector<ServerPtr> servers = servers_;
  std::vector<NodeStatus> rows(servers.size());
  std::size_t left = servers.size();
  std::exception_ptr failed;
  std::vector<std::shared_ptr<Call>> parts;
  for (std::size_t i = 0; i < servers.size(); ++i) {
    parts.push_back(new_call(call->remaining()));
    // The references stay good: this coroutine waits below until every part has ended.
    auto ended = [&left, &failed, call](std::exception_ptr error) {
      if (error) failed = error;
      --left;
      call->wake();
    };
    asio::co_spawn(io_, ask_status(parts[i], servers[i], rows[i]), std::move(ended));
  }
  while (left > 0) co_await call->wait(Clock::time_point::max());
  if (failed) std::rethrow_exception(failed);
  std::sort(rows.begin(), rows.end(), [](const NodeStatus& a, const NodeStatus& b) {
    const std::size_t a_failed = a.result.index(), b_failed = b.result.index();
    return std::tie(a.node, a_failed, a.address) < std::tie(b.node, b_failed, b.address);
  });
  // A server that was given by two names is shown once, by one that reached it.
  const auto twice = std::unique(rows.begin(), rows.end(), [](const NodeStatus& a, const NodeStatus& b) {
    return !a.node.empty() && a.node == b.node;
  });
  rows.erase(twice, rows.end());
  co_return rows;
}

}  // namespace kv::client
