#include "client/call.hpp"

#include <asio/experimental/as_tuple.hpp>
#include <asio/use_awaitable.hpp>
#include <utility>

namespace kv::client {

Call::Call(asio::any_io_executor executor, Clock::time_point deadline)
    : deadline_(deadline), timer_(std::move(executor)) {}

Call::Call(const std::shared_ptr<Call>& waiter)
    : deadline_(waiter->deadline_), timer_(waiter->timer_.get_executor()), waiter_(waiter) {}

std::chrono::milliseconds Call::remaining() const {
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - Clock::now());
  return std::max(left, std::chrono::milliseconds{0});
}

asio::awaitable<void> Call::wait(Clock::time_point until) {
  if (!woken_) {
    timer_.expires_at(until);
    co_await timer_.async_wait(asio::experimental::as_tuple(asio::use_awaitable));
  }
  woken_ = false;
}

void Call::wake() {
  woken_ = true;
  timer_.cancel();
  if (const std::shared_ptr<Call> waiter = waiter_.lock()) waiter->wake();
}

void Call::interrupt() {
  interrupted_ = true;
  wake();
}

void Call::deliver(message::Answer answer) {
  answers_.push_back(std::move(answer));
  wake();
}

void Call::lose(std::string why) {
  lost_ = std::move(why);
  wake();
}

std::optional<message::Answer> Call::take() {
  if (answers_.empty()) return std::nullopt;
  std::optional<message::Answer> answer = std::move(answers_.front());
  answers_.pop_front();
  return answer;
}

void Call::begin_attempt() {
  answers_.clear();
  lost_.reset();
}

}  // namespace kv::client
