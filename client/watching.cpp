#include "client/watching.hpp"

#include <algorithm>
#include <utility>

#include "common/text.hpp"

namespace kv::client {
namespace {

constexpr std::chrono::milliseconds pause_between_rounds{50};
// A WATCH is answered at once; a server that does not hangs.
constexpr std::uint64_t answer_ms = 5000;

}  // namespace

Watching::Watching(Client& client, message::Watch what, std::uint64_t begin_at_least,
                   std::chrono::milliseconds patience, std::function<void(const Place&)> on_place)
    : client_(client),
      what_(std::move(what)),
      begin_at_least_(begin_at_least),
      patience_(patience),
      on_place_(std::move(on_place)),
      call_(client.new_call(patience)) {}

Watching::~Watching() {
  cancel();
}

asio::awaitable<std::variant<Watching::Changes, Failure>> Watching::next() {
  for (;;) {
    if (std::exchange(whole_, false)) {
      what_.from_ts = changes_.back().ts;
      co_return std::exchange(changes_, {});
    }
    if (!link_ && !co_await begin()) break;
    if (std::optional<message::Answer> answer = call_->take()) {
      take(std::move(*answer));
    } else if (call_->lost()) {
      client_.servers().note_failure(server_);
      leave(*call_->lost());
    } else if (!call_->interrupted()) {
      co_await call_->wait(Clock::time_point::max());
    }
    if (refused_ || call_->interrupted()) break;
  }
  cancel();
  co_return failure();
}

// False: there is no time left, or it was interrupted, or there is nobody who could help.
asio::awaitable<bool> Watching::begin() {
  ServerPool& pool = client_.servers();
  if (!give_up_at_) give_up_at_ = Clock::now() + patience_;
  call_->set_deadline(*give_up_at_);
  while (!call_->interrupted()) {
    ServerPtr server = co_await pool.reach(call_);
    if (server && compacted_.contains(server->address.text())) {
      if (compacted_.size() >= pool.servers().size()) co_return false;
      server = co_await reach_another();
    }
    if (server && attempts_++ < pool.servers().size()) {
      ask(server);
      co_return true;
    }
    if (call_->remaining().count() == 0 || (why_left_.empty() && !server && !pool.may_come_back())) co_return false;
    attempts_ = 0;
    const Clock::time_point until = Clock::now() + pause_between_rounds;
    while (!call_->interrupted() && Clock::now() < until) co_await call_->wait(until);
  }
  co_return false;
}

// The others that are up know too little; one that is down may know more.
asio::awaitable<ServerPool::ServerPtr> Watching::reach_another() {
  const std::vector<ServerPtr> servers = client_.servers().servers();
  for (const ServerPtr& one : servers) {
    if (compacted_.contains(one->address.text())) continue;
    const ServerPtr server = co_await client_.servers().reach(call_, one);
    if (server) co_return server;
  }
  co_return nullptr;
}

void Watching::ask(const ServerPtr& server) {
  server_ = server;
  link_ = server->link;
  where_ = link_->name();
  node_ = link_->hello().node;
  call_->begin_attempt();
  message::Request request;
  request.timeout_ms = answer_ms;
  request.body = what_;
  id_ = link_->ask(std::move(request), call_);
}

void Watching::take(message::Answer answer) {
  if (auto* event = std::get_if<message::Event>(&answer.body)) {
    take_event(std::move(*event));
  } else if (auto* error = std::get_if<message::Error>(&answer.body)) {
    take_error(std::move(*error));
  } else if (const auto* ok = std::get_if<message::WatchOk>(&answer.body)) {
    compacted_.clear();
    error_.reset();
    give_up_at_.reset();
    attempts_ = 0;
    if (!what_.from_ts) what_.from_ts = std::max(ok->applied, begin_at_least_);
    if (on_place_) on_place_({where_, *what_.from_ts, why_left_});
    why_left_.clear();
  } else {
    link_->close("not a kvd: it answered something else than was asked");
  }
}

void Watching::take_event(message::Event event) {
  if (event.ts <= what_.from_ts.value_or(0)) return;  // from before it begins
  const bool more = event.more;
  changes_.push_back(std::move(event));
  whole_ = !more;
}

void Watching::take_error(message::Error error) {
  const std::string why = std::string(name_of(error.code)) + ": " + escape_control(error.message);
  const message::Code code = error.code;
  switch (code) {
    case message::Code::compacted:
      compacted_.insert(server_->address.text());
      // What any of them knows counts.
      if (error_ && error_->oldest) error.oldest = std::min(error.oldest.value_or(UINT64_MAX), *error_->oldest);
      [[fallthrough]];
    case message::Code::overloaded:  // it may still be known there, from where this has come to
    case message::Code::shutting_down:
    case message::Code::no_leader:
      client_.servers().avoid(server_);
      leave(why);
      // If nobody else can help, this is why.
      if (code == message::Code::compacted) error_ = std::move(error);
      return;
    default:
      error_ = std::move(error);
      refused_ = true;
      leave(why);
  }
}

// What has come of a position that is not whole comes again.
void Watching::leave(std::string why) {
  link_.reset();
  server_.reset();
  changes_.clear();
  whole_ = false;
  why_left_ = std::move(why);
}

void Watching::cancel() {
  const std::shared_ptr<Link> link = std::exchange(link_, nullptr);
  if (!link || link->state() != Link::State::ready) return;
  link->abandon(id_);
  message::Request request;
  request.body = message::Cancel{id_};
  link->abandon(link->ask(std::move(request), call_));
}

Failure Watching::failure() const {
  Failure failure;
  if (where_.empty()) {
    failure = client_.servers().no_server();
  } else {
    failure.where = where_;
    failure.node = node_;
    failure.error = error_;
    failure.why = why_left_;
    failure.leader = client_.leader();
    failure.kind = error_ ? Failure::Kind::refused : Failure::Kind::no_answer;
  }
  if (call_->interrupted()) failure.kind = Failure::Kind::interrupted;
  return failure;
}

}  // namespace kv::client
