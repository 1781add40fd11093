#include "client/bench_connection.hpp"

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <asio/connect.hpp>
#include <asio/detached.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>
#include <utility>
#include <variant>

#include "common/framing.hpp"
#include "common/text.hpp"

namespace kv::client {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds patience_with_one{1000};
constexpr milliseconds pause_before_another{100};
constexpr milliseconds lateness{20};  // of a loop that has much to do

}  // namespace

asio::awaitable<BenchSocket> open_socket(Address address, Clock::time_point deadline) {
  constexpr auto as_tuple = asio::experimental::as_tuple(asio::use_awaitable);
  const auto executor = co_await asio::this_coro::executor;
  asio::ip::tcp::resolver resolver(executor);
  asio::ip::tcp::socket socket(executor);
  asio::steady_timer timer(executor, deadline);
  bool late = false;
  timer.async_wait([&](std::error_code error) {
    if (error) return;
    late = true;
    resolver.cancel();
    socket.close(error);
  });
  BenchSocket result;
  auto [not_found, found] = co_await resolver.async_resolve(address.host, std::to_string(address.port), as_tuple);
  std::error_code error = not_found;
  if (!error) {
    const auto [refused, endpoint] = co_await asio::async_connect(socket, found, as_tuple);
    error = refused;
  }
  timer.cancel();
  if (error) {
    result.why = address.text() + ": " + (late ? "no answer in time" : error.message());
  } else {
    result.connection = std::make_shared<Connection>(std::move(socket), default_max_frame);
  }
  co_return result;
}

BenchConnection::BenchConnection(asio::any_io_executor executor, BenchPlan& plan, std::size_t number)
    : plan_(plan), number_(number), timer_(executor), slots_(plan.command.pipeline) {
  for (std::size_t i = slots_.size(); i > 0; --i) free_.push_back(i - 1);
  const BenchCommand& command = plan.command;
  if (command.rate > 0) {
    const auto second = std::chrono::duration_cast<Clock::duration>(std::chrono::seconds(1));
    interval_ = second * static_cast<Clock::rep>(command.connections) / static_cast<Clock::rep>(command.rate);
  }
  message::Put put;
  if (command.exactly_once) put.session = message::WriteSession{new_uuid(), 0, plan.session_from};
  put_.body = std::move(put);
  message::Get get;
  get.consistency = plan.consistency;
  get_.body = std::move(get);
}

asio::awaitable<void> BenchConnection::run() {
  const auto self = shared_from_this();
  // The connections' requests are due one after the other, not all at once.
  const auto connections = static_cast<Clock::rep>(plan_.command.connections);
  next_due_ = Clock::now() + interval_ * static_cast<Clock::rep>(number_) / connections;
  if (interval_.count() > 0) asio::co_spawn(timer_.get_executor(), keep_pace(), asio::detached);
  do {
    co_await converse();
    if (is_done() || closed_) break;
    count_as_lost("connection lost");
  } while (co_await connect_again());
  count_unsent();
  closed_ = true;
  timer_.cancel();
  if (connection_) connection_->close();
}

void BenchConnection::close() {
  if (closed_) return;
  closed_ = true;
  count_as_lost("no answer");
  timer_.cancel();
  if (connection_) connection_->close();
}

// Sends what the rate says. It holds on to this, so that it may outlive run().
asio::awaitable<void> BenchConnection::keep_pace() {
  const auto self = shared_from_this();
  while (!closed_ && !plan_.is_over()) {
    // What is due and finds nothing free is sent by the answer that frees it.
    const Clock::time_point now = Clock::now();
    timer_.expires_at(next_due_ > now ? next_due_ : now + interval_);
    co_await timer_.async_wait(asio::experimental::as_tuple(asio::use_awaitable));
    if (!closed_) send_what_is_due(Clock::now());
  }
}

asio::awaitable<void> BenchConnection::converse() {
  send_what_is_due(Clock::now());
  std::string_view frame;
  while (!is_done() && !closed_) {
    if (co_await connection_->read()) co_return;
    const Clock::time_point now = Clock::now();
    FrameReader::Result result;
    while ((result = connection_->frames().next(frame)) == FrameReader::Result::frame) take_answer(frame, now);
    if (result == FrameReader::Result::bad_length) connection_->close();
    send_what_is_due(now);
  }
}

asio::awaitable<bool> BenchConnection::connect_again() {
  while (!closed_ && !plan_.is_over()) {
    const Address& server = plan_.servers[++number_ % plan_.servers.size()];
    const BenchSocket socket = co_await open_socket(server, Clock::now() + patience_with_one);
    if (socket.connection) {
      connection_ = socket.connection;
      co_return true;
    }
    plan_.tally.other("no connection", Clock::now());
    asio::steady_timer pause(timer_.get_executor(), pause_before_another);
    co_await pause.async_wait(asio::experimental::as_tuple(asio::use_awaitable));
  }
  co_return false;
}

void BenchConnection::send_what_is_due(Clock::time_point now) {
  if (closed_ || !connection_ || !connection_->is_open()) return;
  while (!free_.empty() && (interval_.count() == 0 || next_due_ <= now)) {
    const Clock::time_point due = interval_.count() == 0 ? now : next_due_;
    const std::optional<BenchPlan::Step> step = plan_.next(due);
    if (!step) break;
    send(*step, due);
    next_due_ += interval_;
  }
  connection_->flush();
}

void BenchConnection::send(const BenchPlan::Step& step, Clock::time_point due) {
  const std::size_t index = free_.back();
  free_.pop_back();
  Slot& slot = slots_[index];
  slot.id = ++last_number_ * slots_.size() + index;
  slot.step = step;
  slot.due = due;
  slot.version = plan_.version_of(step.key);
  message::Request& request = step.is_put ? put_ : get_;
  request.id = slot.id;
  if (step.is_put) {
    auto& put = std::get<message::Put>(request.body);
    plan_.keys.write_name(step.key, put.key);
    plan_.values.write(step.key, put.value);
    if (put.session) ++put.session->seq;
  } else {
    auto& get = std::get<message::Get>(request.body);
    plan_.keys.write_name(step.key, get.key);
    get.ts = plan_.consistency == message::Consistency::session ? std::max(slot.version, plan_.floor) : 0;
  }
  connection_->send(request);
  plan_.sent();
}

void BenchConnection::take_answer(std::string_view frame, Clock::time_point now) {
  const auto decoded = message::decode_answer(frame);
  const auto* answer = std::get_if<message::Answer>(&decoded);
  if (!answer || !answer->id) return plan_.tally.other("unreadable answer", now);
  const std::size_t index = *answer->id % slots_.size();
  Slot& slot = slots_[index];
  if (slot.id != *answer->id) return plan_.tally.other("answer to nothing", now);
  if (std::holds_alternative<message::WaitForResponse>(answer->body)) return plan_.tally.waited(now);

  const std::string_view fault = fault_of(*answer, slot);
  if (fault.empty()) {
    plan_.tally.right(slot.step.is_put ? BenchPlan::puts : BenchPlan::gets, slot.due, now);
  } else {
    plan_.tally.other(fault, slot.due);
  }
  slot.id = 0;
  free_.push_back(index);
  plan_.done();
}

std::string_view BenchConnection::fault_of(const message::Answer& answer, const Slot& slot) {
  if (const auto* error = std::get_if<message::Error>(&answer.body)) return message::name_of(error->code);
  plan_.keys.write_name(slot.step.key, name_);
  if (slot.step.is_put) {
    const auto* ok = std::get_if<message::PutOk>(&answer.body);
    if (!ok || ok->key != name_) return "wrong answer";
    if (ok->ts <= slot.version) return "wrong timestamp";
    plan_.learn(slot.step.key, ok->ts);
    return {};
  }
  const auto* ok = std::get_if<message::GetOk>(&answer.body);
  if (!ok || ok->key != name_) return "wrong answer";
  if (!ok->value) return "no such key";
  if (!plan_.values.belongs_to(slot.step.key, *ok->value)) return "wrong value";
  if (ok->ts < slot.version) return "older than seen";
  plan_.learn(slot.step.key, ok->ts);
  return {};
}

// Of a rate that was more than the servers, or the requests under way, let through. What was due while it warmed up
// does not count, nor what is only a turn of the loop late.
void BenchConnection::count_unsent() {
  if (interval_.count() == 0 || plan_.command.count > 0) return;
  const Clock::time_point ended = plan_.tally.ended() - lateness;
  const Clock::time_point first = std::max(next_due_, plan_.tally.began());
  if (first >= ended) return;
  const auto count = static_cast<std::uint64_t>((ended - first - Clock::duration(1)) / interval_ + 1);
  plan_.tally.other("due but not sent", ended - Clock::duration(1), count);
}

void BenchConnection::count_as_lost(std::string_view what) {
  for (std::size_t i = 0; i < slots_.size(); ++i) {
    if (slots_[i].id == 0) continue;
    plan_.tally.other(what, slots_[i].due);
    slots_[i].id = 0;
    free_.push_back(i);
    plan_.done();
  }
}

}  // namespace kv::client
