#include "client/link.hpp"

#include <asio/connect.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <asio/use_awaitable.hpp>
#include <cctype>
#include <string_view>
#include <utility>
#include <variant>

#include "common/text.hpp"

namespace kv::client {
namespace {

using asio::ip::tcp;

constexpr auto as_values = asio::experimental::as_tuple(asio::use_awaitable);
// What a server may send: more than its default, since its --max-frame is not known here.
constexpr std::size_t max_answer_frame = peer_max_frame;
constexpr std::chrono::milliseconds hello_timeout{1000};
constexpr std::chrono::milliseconds answer_grace{300};

std::string text_of_error(const std::error_code& error) {
  if (error == asio::error::eof || error == asio::error::connection_reset || error == asio::error::broken_pipe) {
    return "the server closed the connection";
  }
  std::string text = error.message();
  if (!text.empty()) text[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(text[0])));
  return text;
}

// Or others follow with its id.
bool is_final(const message::Answer& answer) {
  return !std::holds_alternative<message::WaitForResponse>(answer.body) &&
         !std::holds_alternative<message::WatchOk>(answer.body) &&
         !std::holds_alternative<message::Event>(answer.body);
}

}  // namespace

Link::Link(asio::any_io_executor executor, Address address, std::string client)
    : address_(std::move(address)),
      client_(std::move(client)),
      resolver_(executor),
      socket_(executor),
      timer_(executor) {}

std::string Link::name() const {
  if (hello_.node.empty()) return address_.text();
  return escape_control(hello_.node) + " (" + address_.text() + ")";
}

asio::awaitable<void> Link::run(std::string cluster, Clock::time_point deadline) {
  const std::shared_ptr<Link> self = shared_from_this();
  close_at(deadline);
  if (!co_await connect()) co_return;
  co_await introduce(std::move(cluster), deadline);
  timer_.cancel();
  while (state_ == State::ready) {
    std::optional<message::Answer> answer = co_await next_answer();
    if (answer) dispatch(std::move(*answer));
  }
}

void Link::close_at(Clock::time_point deadline) {
  timer_.expires_at(deadline);
  timer_.async_wait([weak = weak_from_this()](std::error_code error) {
    const std::shared_ptr<Link> self = weak.lock();
    if (error || !self || self->state_ != State::opening) return;
    self->ran_out_of_time_ = true;
    self->close(self->trouble());
  });
}

std::string Link::trouble() const {
  if (state_ == State::closed) return why_closed_;
  return connection_ ? "connected, but INIT was not answered in time" : "no connection in time";
}

asio::awaitable<std::optional<std::vector<tcp::endpoint>>> Link::resolve() {
  std::error_code not_numeric;
  const asio::ip::address numeric = asio::ip::make_address(address_.host, not_numeric);
  std::vector<tcp::endpoint> endpoints;
  if (!not_numeric) {
    // Asio would start a thread for this one as well.
    endpoints.emplace_back(numeric, address_.port);
    co_return endpoints;
  }
  const auto [error, results] =
      co_await resolver_.async_resolve(address_.host, std::to_string(address_.port), as_values);
  if (error) {
    close("no such host: " + text_of_error(error));
    co_return std::nullopt;
  }
  for (const auto& result : results) endpoints.push_back(result.endpoint());
  co_return endpoints;
}

asio::awaitable<bool> Link::connect() {
  const std::optional<std::vector<tcp::endpoint>> endpoints = co_await resolve();
  if (!endpoints || state_ != State::opening) co_return false;
  const auto [error, endpoint] = co_await asio::async_connect(socket_, *endpoints, as_values);
  if (state_ != State::opening) co_return false;
  if (error) {
    close(text_of_error(error));
    co_return false;
  }
  connection_ = std::make_shared<Connection>(std::move(socket_), max_answer_frame);
  co_return true;
}

message::Request Link::make_init(std::string cluster, std::chrono::milliseconds timeout) {
  message::Request request;
  request.id = ++last_id_;
  request.cluster = std::move(cluster);
  request.timeout_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(timeout.count(), 1));
  message::Init init;
  init.client = client_;
  request.body = std::move(init);
  return request;
}

void Link::ask_hello(std::string cluster) {
  const message::Request request = make_init(std::move(cluster), hello_timeout);
  hello_asked_ = request.id;
  connection_->send(request);
  connection_->flush();
}

asio::awaitable<void> Link::introduce(std::string cluster, Clock::time_point deadline) {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now());
  // Before it is given up, so that a server that must refuse is heard.
  const message::Request request = make_init(std::move(cluster), left - std::min(left / 4, answer_grace));
  connection_->send(request);
  connection_->flush();

  std::optional<message::Answer> answer = co_await next_answer();
  if (!answer) co_return;
  if (auto* hello = std::get_if<message::InitOk>(&answer->body)) {
    hello_ = std::move(*hello);
    ++hellos_;
    if (hello_.protocol != protocol_version) {
      close("it speaks version " + std::to_string(hello_.protocol) + " of the protocol, this client version " +
            std::to_string(protocol_version));
    } else {
      changed(State::ready);
    }
  } else if (auto* error = std::get_if<message::Error>(&answer->body)) {
    refuse(std::move(*error));
  } else {
    close("not a kvd: it did not answer INIT");
  }
}

// nullopt: the link has been closed.
asio::awaitable<std::optional<message::Answer>> Link::next_answer() {
  while (state_ != State::closed) {
    std::string_view frame;
    switch (connection_->frames().next(frame)) {
      case FrameReader::Result::frame: {
        std::variant<message::Answer, message::Malformed> decoded = message::decode_answer(frame);
        if (auto* answer = std::get_if<message::Answer>(&decoded)) co_return std::move(*answer);
        close("not a kvd of this version: " + std::get<message::Malformed>(decoded).text);
        co_return std::nullopt;
      }
      case FrameReader::Result::bad_length:
        close("not a kvd: its answer is no frame");
        co_return std::nullopt;
      case FrameReader::Result::incomplete:
        break;
    }
    const std::error_code error = co_await connection_->read();
    if (error) close(text_of_error(error));
  }
  co_return std::nullopt;
}

std::uint64_t Link::ask(message::Request request, std::shared_ptr<Call> call) {
  request.id = ++last_id_;
  pending_[request.id] = std::move(call);
  connection_->send(request);
  connection_->flush();
  return request.id;
}

void Link::dispatch(message::Answer answer) {
  if (!answer.id) {
    // The server could not read a frame of ours: which request that was is not known, so all are lost.
    const auto* error = std::get_if<message::Error>(&answer.body);
    close(error ? "the server said: " + escape_control(error->message) : "an answer without an id");
    return;
  }
  if (answer.id == hello_asked_) {
    hello_asked_.reset();
    auto* hello = std::get_if<message::InitOk>(&answer.body);
    if (!hello) return;  // not now: whoever wants it asks again
    hello_ = std::move(*hello);
    ++hellos_;
    return;
  }
  const auto found = pending_.find(*answer.id);
  if (found == pending_.end()) return;  // abandoned meanwhile
  const std::shared_ptr<Call> call = found->second;
  if (is_final(answer)) pending_.erase(found);
  call->deliver(std::move(answer));
}

void Link::refuse(message::Error error) {
  std::string why = std::string(name_of(error.code)) + ": " + escape_control(error.message, 1024);
  refusal_ = std::move(error);
  close(std::move(why));
}

void Link::close(std::string why) {
  if (state_ == State::closed) return;
  why_closed_ = std::move(why);
  timer_.cancel();
  resolver_.cancel();
  std::error_code ignored;
  socket_.close(ignored);
  if (connection_) connection_->close();
  const std::map<std::uint64_t, std::shared_ptr<Call>> pending = std::exchange(pending_, {});
  changed(State::closed);
  for (const auto& [id, call] : pending) call->lose(why_closed_);
}

void Link::changed(State state) {
  state_ = state;
  for (const std::weak_ptr<Call>& watcher : std::exchange(watchers_, {})) {
    if (const std::shared_ptr<Call> call = watcher.lock()) call->wake();
  }
}

}  // namespace kv::client
