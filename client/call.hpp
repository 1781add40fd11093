// One request under way, as the coroutine that waits for it sees it: a deadline, the answers that have come,
// and the one signal that wakes it, whether an answer came, a connection changed, or Ctrl-C was pressed.
//
// Held by shared_ptr: by the coroutine, and by the Link that waits for the answers. A coroutine waits for one
// thing at a time, so one timer is enough, and nothing is lost between two waits: a wake-up that comes while
// nobody waits makes the next wait return at once. One thread.
#pragma once

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <deque>
#include <memory>
#include <optional>
#include <string>

#include "common/message.hpp"

namespace kv::client {

using Clock = std::chrono::steady_clock;

class Call {
 public:
  Call(asio::any_io_executor executor, Clock::time_point deadline);
  // A second letter box of `waiter`, with its deadline: what wakes this one wakes that one.
  explicit Call(const std::shared_ptr<Call>& waiter);

  Clock::time_point deadline() const { return deadline_; }
  // For a command that may take as long as it gets on.
  void set_deadline(Clock::time_point deadline) { deadline_ = deadline; }
  // 0 once the deadline has passed.
  std::chrono::milliseconds remaining() const;

  // Returns at `until`, or earlier when something has happened: look at everything again.
  asio::awaitable<void> wait(Clock::time_point until);
  void wake();

  void interrupt();
  bool interrupted() const { return interrupted_; }

  // For the Link. After lose() no answer comes any more.
  void deliver(message::Answer answer);
  void lose(std::string why);

  // The answers in the order in which they came; those before the connection was lost count.
  std::optional<message::Answer> take();
  const std::optional<std::string>& lost() const { return lost_; }
  // Before the next attempt: forgets the answers and the lost connection of the last one.
  void begin_attempt();

 private:
  Clock::time_point deadline_;
  asio::steady_timer timer_;
  std::weak_ptr<Call> waiter_;
  bool woken_ = false;
  bool interrupted_ = false;
  std::deque<message::Answer> answers_;
  std::optional<std::string> lost_;
};

}  // namespace kv::client
