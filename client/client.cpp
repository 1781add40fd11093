#include "client/client.hpp"

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <exception>
#include <tuple>
#include <utility>

#include "common/framing.hpp"

namespace kv::client {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds first_pause{25};
constexpr milliseconds longest_pause{400};
// A write is given half of the time that is left, but not less than this, so that there is time to ask another
// server for its fate.
constexpr milliseconds shortest_write_attempt{500};
// With less time than this left there is no point in one more attempt.
constexpr milliseconds shortest_attempt{20};
constexpr unsigned max_sessions_expired = 3;
// How many answers of a session the servers keep (docs/protocol.md, PUT).
constexpr std::uint64_t answers_kept = 256;
// In a frame, for what a request is given when it is sent.
constexpr std::size_t room_for_session = 1024;

bool is_write(const Client::Body& body) {
  return std::holds_alternative<message::Put>(body) || std::holds_alternative<message::Delete>(body) ||
         std::holds_alternative<message::Txn>(body);
}

std::optional<message::WriteSession>* session_of(Client::Body& body) {
  if (auto* put = std::get_if<message::Put>(&body)) return &put->session;
  if (auto* del = std::get_if<message::Delete>(&body)) return &del->session;
  if (auto* txn = std::get_if<message::Txn>(&body)) return &txn->session;
  return nullptr;
}

// The answer's body, if it is one to a request of this kind.
template <class Asked, class Ok>
bool fits(const Client::Body& body, message::Answer& answer, Reply& reply) {
  auto* ok = std::get_if<Ok>(&answer.body);
  if (!std::holds_alternative<Asked>(body) || !ok) return false;
  reply.body = std::move(*ok);
  return true;
}

bool take_body(const Client::Body& body, message::Answer& answer, Reply& reply) {
  return fits<message::Put, message::PutOk>(body, answer, reply) ||
         fits<message::Delete, message::DeleteOk>(body, answer, reply) ||
         fits<message::Get, message::GetOk>(body, answer, reply) ||
         fits<message::List, message::ListOk>(body, answer, reply) ||
         fits<message::Txn, message::TxnOk>(body, answer, reply);
}

// What a read asks for, if the same may be asked of several servers: not if it is to wait for the next version.
std::optional<std::uint64_t> position_read_at(const Client::Body& body) {
  if (const auto* get = std::get_if<message::Get>(&body); get && !get->newer_than) {
    return get->consistency == message::Consistency::session ? get->ts : 0;
  }
  if (const auto* list = std::get_if<message::List>(&body)) {
    return list->consistency == message::Consistency::session ? list->ts : 0;
  }
  return std::nullopt;
}

// A frame that is too long costs the connection, here and at the next server. Only a TXN's can be: it holds many
// values. nullopt: it fits.
std::optional<Failure> refuse_too_large(const Client::Body& body) {
  if (!std::holds_alternative<message::Txn>(body)) return std::nullopt;
  message::Request request;
  request.body = body;
  std::string frame;
  message::encode(request, frame);
  if (frame.size() + room_for_session <= default_max_frame) return std::nullopt;
  Failure failure;
  failure.kind = Failure::Kind::refused;
  failure.error = message::make_error(message::Code::too_large,
                                      "it takes " + std::to_string(frame.size()) + " bytes as a message; at most " +
                                          std::to_string(default_max_frame - room_for_session));
  return failure;
}

milliseconds time_for_attempt(milliseconds remaining, bool write) {
  if (!write) return std::max(remaining, milliseconds{1});
  return std::max(std::min(remaining, std::max(remaining / 2, shortest_write_attempt)), milliseconds{1});
}

Reply make_reply(decltype(Reply::body) body, const Link& link) {
  Reply reply;
  reply.body = std::move(body);
  reply.node = link.hello().node;
  reply.cluster = link.hello().cluster;
  return reply;
}

}  // namespace

Client::Client(asio::io_context& io, ClientOptions options)
    : io_(io),
      answer_grace_(options.answer_grace),
      hedge_times_(options.hedge_times),
      pool_(io, std::move(options.name), options.server_times, options.seed) {
  pool_.restart(std::move(options.endpoints), std::move(options.cluster), options.endpoints_first);
  if (options.known) pool_.add_known(*options.known);
}

void Client::restart(std::vector<Address> endpoints, std::string cluster) {
  pool_.restart(std::move(endpoints), std::move(cluster), true);
  session_.reset();
}

std::shared_ptr<Call> Client::new_call(milliseconds timeout) {
  std::erase_if(calls_, [](const std::weak_ptr<Call>& call) { return call.expired(); });
  auto call = std::make_shared<Call>(io_.get_executor(), Clock::now() + timeout);
  calls_.push_back(call);
  return call;
}

std::vector<std::weak_ptr<Call>> Client::release_calls() {
  return std::exchange(calls_, {});
}

void Client::interrupt() {
  for (const std::weak_ptr<Call>& weak : calls_) {
    if (const std::shared_ptr<Call> call = weak.lock()) call->interrupt();
  }
}

asio::awaitable<Outcome> Client::connect(std::shared_ptr<Call> call) {
  Trial trial;
  for (;;) {
    ServerPtr server = pool_.connected();
    if (!server) server = co_await pool_.reach(call);
    if (server) co_return Outcome(make_reply(server->link->hello(), *server->link));
    if (!pool_.may_come_back() || !co_await pause(call, trial)) break;
  }
  co_return Outcome(give_up(*call, trial));
}

// ---- Requests ------------------------------------------------------------------------------------------

asio::awaitable<Outcome> Client::request(std::shared_ptr<Call> call, Body body, WaitHandler on_wait) {
  Trial trial;
  trial.write = is_write(body);
  if (std::optional<Failure> refused = refuse_too_large(body)) co_return Outcome(std::move(*refused));
  Outcome outcome = co_await pursue(std::move(call), body, trial, on_wait);
  if (trial.write) end_write(body);
  co_return outcome;
}

asio::awaitable<Outcome> Client::pursue(std::shared_ptr<Call> call, Body& body, Trial& trial,
                                        const WaitHandler& on_wait) {
  for (;;) {
    const ServerPtr server = co_await pool_.reach(call, position_read_at(body).value_or(0));
    if (server) {
      if (trial.write) {
        begin_write(body, *server->link);
        trial.session = (*session_of(body))->session;
      }
      std::optional<Outcome> outcome = co_await attempt(call, server, body, trial, on_wait);
      if (outcome) co_return std::move(*outcome);
      if (trial.write && trial.sessions_expired > 0 && !trial.maybe_applied) end_write(body);
    } else if (trial.sent == 0 && !pool_.may_come_back()) {
      break;  // refused connections are told at once, unless the request has been sent before
    }
    if (!co_await pause(call, trial)) break;
  }
  co_return Outcome(give_up(*call, trial));
}

void Client::begin_write(Body& body, const Link& link) {
  std::optional<message::WriteSession>& stamp = *session_of(body);
  if (stamp) return;  // a retry: the same seq, so that it is applied once
  // A retry of the oldest one must still find its answer.
  const bool too_many =
      !open_writes_.empty() && session_ && session_->seq + 1 - *open_writes_.begin() >= answers_kept;
  if (!session_ || too_many) {
    session_.emplace();
    session_->session = new_uuid();
    session_->session_from = link.hello().applied;
    open_writes_.clear();
  }
  ++session_->seq;
  open_writes_.insert(session_->seq);
  stamp = session_;
}

void Client::end_write(Body& body) {
  std::optional<message::WriteSession>& stamp = *session_of(body);
  if (stamp && session_ && stamp->session == session_->session) open_writes_.erase(stamp->seq);
  stamp.reset();
}

// The next write begins another session, with a fresh INIT_OK.
void Client::end_session(const std::string& session) {
  if (!session_ || session_->session != session) return;  // another write has done so
  session_.reset();
  pool_.close_connections("the session has expired");
}

void Client::begin_trial(const ServerPtr& server, Trial& trial) {
  ++trial.sent;
  trial.where = server->link->name();
  trial.node = server->link->hello().node;
  trial.error.reset();
  trial.wait.reset();
  trial.why.clear();
}

// nullopt: another attempt may help.
asio::awaitable<std::optional<Outcome>> Client::attempt(std::shared_ptr<Call> call, ServerPtr server,
                                                        const Body& body, Trial& trial,
                                                        const WaitHandler& on_wait) {
  const std::shared_ptr<Link> link = server->link;
  const milliseconds time = time_for_attempt(call->remaining(), trial.write);
  const Clock::time_point patience = std::min(Clock::now() + time, call->deadline()) + answer_grace_;
  message::Request request;
  request.timeout_ms = static_cast<std::uint64_t>(time.count());
  request.body = body;
  std::optional<Hedge> hedge;
  if (const auto position = position_read_at(body)) {
    hedge.emplace(pool_, call, request, *position, server, on_wait, hedge_times_);
  }
  call->begin_attempt();
  begin_trial(server, trial);
  const std::uint64_t id = link->ask(std::move(request), call);
  for (;;) {
    std::optional<message::Answer> answer = call->take();
    if (answer) {
      pool_.note_position(server, *answer);
      const auto* wait = std::get_if<message::WaitForResponse>(&answer->body);
      if (!wait) co_return judge(std::move(*answer), server, body, trial);
      trial.wait = *wait;
      if (hedge) hedge->first_waits();
      if (on_wait) on_wait(*wait);
      continue;
    }
    if (call->lost()) co_return lost(*call->lost(), server, trial);
    if (hedge) {
      std::optional<Hedge::Answered> second = hedge->step();
      if (second) {
        link->abandon(id);
        begin_trial(second->server, trial);
        co_return judge(std::move(second->answer), second->server, body, trial);
      }
    }
    if (call->interrupted() || Clock::now() >= patience) {
      link->abandon(id);
      co_return unanswered(*call, server, trial);
    }
    co_await call->wait(hedge ? std::min(patience, hedge->next_event()) : patience);
  }
}

std::optional<Outcome> Client::lost(const std::string& why, const ServerPtr& server, Trial& trial) {
  trial.maybe_applied = trial.write;
  trial.why = why;
  pool_.note_failure(server);
  return std::nullopt;
}

// Ctrl-C, or the server does not even say TIMEOUT: then it hangs, and the next command shall not wait for it.
std::optional<Outcome> Client::unanswered(const Call& call, const ServerPtr& server, Trial& trial) {
  trial.maybe_applied = trial.write;
  if (call.interrupted()) return Outcome(give_up(call, trial));
  server->link->close("no answer in time");
  pool_.note_failure(server);
  if (call.remaining() > milliseconds{0}) return std::nullopt;
  return Outcome(give_up(call, trial));
}

std::optional<Outcome> Client::judge(message::Answer answer, const ServerPtr& server, const Body& body,
                                     Trial& trial) {
  if (auto* error = std::get_if<message::Error>(&answer.body)) return judge_error(std::move(*error), server, trial);
  Reply reply = make_reply({}, *server->link);
  if (take_body(body, answer, reply)) return Outcome(std::move(reply));
  trial.why = "not a kvd: it answered something else than was asked";
  trial.maybe_applied = trial.write;
  server->link->close(trial.why);
  pool_.note_failure(server);
  return std::nullopt;
}

std::optional<Outcome> Client::judge_error(message::Error error, const ServerPtr& server, Trial& trial) {
  const message::Code code = error.code;
  trial.error = std::move(error);
  if (may_help_to_retry(code)) {
    pool_.avoid(server);
    return std::nullopt;
  }
  if (code == message::Code::unknown_outcome && trial.write) {
    trial.maybe_applied = true;
    return std::nullopt;
  }
  if (code == message::Code::timeout && !trial.write) return std::nullopt;  // final at our own deadline
  if (code == message::Code::session_expired && !trial.maybe_applied &&
      ++trial.sessions_expired <= max_sessions_expired) {
    end_session(trial.session);
    return std::nullopt;
  }
  Failure failure;
  // The code speaks of this attempt; an earlier one may have been applied. A CONFLICT is different: it is the
  // first answer, repeated.
  const bool unknown = trial.maybe_applied && code != message::Code::conflict;
  failure.kind = unknown ? Failure::Kind::unknown_outcome : Failure::Kind::refused;
  tell_where(failure, trial);
  return Outcome(std::move(failure));
}

// Every server is tried once without waiting, then more and more slowly. False: there is no time left.
asio::awaitable<bool> Client::pause(std::shared_ptr<Call> call, Trial& trial) {
  const std::size_t free_rounds = pool_.servers().size() - 1;
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
    failure = pool_.no_server();
  } else {
    tell_where(failure, trial);
    failure.kind = trial.error ? Failure::Kind::refused : Failure::Kind::no_answer;
  }
  if (trial.maybe_applied) failure.kind = Failure::Kind::unknown_outcome;
  if (call.interrupted()) failure.kind = Failure::Kind::interrupted;
  failure.maybe_applied = trial.maybe_applied;
  return failure;
}

void Client::tell_where(Failure& failure, const Trial& trial) const {
  failure.where = trial.where;
  failure.node = trial.node;
  failure.error = trial.error;
  failure.why = trial.why;
  failure.leader = pool_.leader();
  if (trial.error && trial.error->code == message::Code::timeout) {
    failure.applied = trial.error->applied;
    failure.asked = trial.error->ts;
    if (trial.error->leader) failure.leader = *trial.error->leader;
  } else if (trial.wait) {
    failure.applied = trial.wait->applied;
    failure.asked = trial.wait->ts;
  }
}

// ---- Status --------------------------------------------------------------------------------------------

asio::awaitable<void> Client::ask_status(std::shared_ptr<Call> call, ServerPtr server, NodeStatus& row) {
  row.address = server->address.text();
  row.result = std::string("no answer in time");
  const ServerPtr reached = co_await pool_.reach(call, server);
  row.node = server->node;
  if (!reached) {
    // One that has said no a moment ago, and has been asked again, hangs no more than one that is gone.
    const bool known = server->last_refusal || server->link->state() == Link::State::closed;
    row.result = known && !server->last_failure.empty() ? server->last_failure : server->link->trouble();
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
  const std::vector<ServerPtr> servers = pool_.servers();
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
