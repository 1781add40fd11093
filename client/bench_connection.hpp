// One connection of a load: keeps its share of requests under way, looks at each answer, and connects again where
// it breaks.
//
// Without a rate a request follows as soon as one is answered. With one each has a moment at which it is due, and
// its time counts from then, however late it could be sent: a server that stalls is not spared the requests that
// would have come meanwhile. Held by shared_ptr; the plan must outlive it. One thread.
#pragma once

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/steady_timer.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client/bench_plan.hpp"
#include "common/connection.hpp"
#include "common/message.hpp"

namespace kv::client {

// A connection, or why there is none by the deadline.
struct BenchSocket {
  std::shared_ptr<Connection> connection;
  std::string why;
};
asio::awaitable<BenchSocket> open_socket(Address server, Clock::time_point deadline);

class BenchConnection : public std::enable_shared_from_this<BenchConnection> {
 public:
  // The `number`-th of all.
  BenchConnection(asio::any_io_executor executor, BenchPlan& plan, std::size_t number);

  void take(std::shared_ptr<Connection> connection) { connection_ = std::move(connection); }
  // Until the plan is over and all is answered, or close() is called.
  asio::awaitable<void> run();
  // What is still under way counts as unanswered.
  void close();

 private:
  struct Slot {
    std::uint64_t id = 0;  // of the request; 0: free
    BenchPlan::Step step;
    std::uint64_t version = 0;  // of the key, as it is known when it is sent
    Clock::time_point due;
  };

  asio::awaitable<void> keep_pace();
  asio::awaitable<void> converse();
  asio::awaitable<bool> connect_again();
  void send_what_is_due(Clock::time_point now);
  void send(const BenchPlan::Step& step, Clock::time_point due);
  void take_answer(std::string_view frame, Clock::time_point now);
  // Empty: it is as it should be.
  std::string_view fault_of(const message::Answer& answer, const Slot& slot);
  void count_as_lost(std::string_view what);
  void count_unsent();
  bool is_done() const { return plan_.is_over() && free_.size() == slots_.size(); }

  BenchPlan& plan_;
  std::size_t number_;
  asio::steady_timer timer_;
  std::shared_ptr<Connection> connection_;
  std::vector<Slot> slots_;
  std::vector<std::size_t> free_;
  std::uint64_t last_number_ = 0;  // of the requests; an id is that and the slot
  Clock::duration interval_{0};    // 0: no rate
  Clock::time_point next_due_;
  bool closed_ = false;
  // Their strings are used again and again.
  message::Request put_;
  message::Request get_;
  std::string name_;
};

}  // namespace kv::client
