// A second question beside a read that its first server has not answered: another server is asked the same, and
// the first value that comes is the read's.
//
// Begun at once where the first server is behind and another one is known to be fresh enough; after a moment where
// others may be; after a longer one where the first server says nothing at all. One at a time: a second server
// that is behind too, fails or says nothing is left for the next one, as long as there are others. Never for
// writes.
//
// It has no coroutine of its own: the one that waits for the first answer calls step() whenever its call wakes.
// The pool must outlive it. One thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "client/call.hpp"
#include "client/link.hpp"
#include "client/server_pool.hpp"
#include "common/message.hpp"

namespace kv::client {

struct HedgeTimes {
  std::chrono::milliseconds behind{50};  // after WAIT_FOR_RESPONSE
  std::chrono::milliseconds silent{500};
};

class Hedge {
 public:
  using WaitHandler = std::function<void(const message::WaitForResponse&)>;
  struct Answered {
    ServerPool::ServerPtr server;
    message::Answer answer;  // no ERROR
  };

  // `request` was sent to `first`, and `call` waits for the answer. `position` is what it must see. `on_wait` hears
  // each WAIT_FOR_RESPONSE, and must outlive this.
  Hedge(ServerPool& pool, std::shared_ptr<Call> call, message::Request request, std::uint64_t position,
        ServerPool::ServerPtr first, const WaitHandler& on_wait, HedgeTimes times);
  ~Hedge() { leave(); }
  Hedge(const Hedge&) = delete;
  Hedge& operator=(const Hedge&) = delete;

  // The first server has said WAIT_FOR_RESPONSE.
  void first_waits();
  // Does what there is to do now. An answer: the read is over.
  std::optional<Answered> step();
  // When to call step() at the latest.
  Clock::time_point next_event() const { return next_event_; }

 private:
  bool choose();
  std::optional<Answered> take_answer();
  bool is_over(Clock::time_point now);
  void leave();

  ServerPool& pool_;
  std::shared_ptr<Call> call_;
  std::shared_ptr<Call> inbox_;  // for the second server's answers
  message::Request request_;
  std::uint64_t position_;
  ServerPool::ServerPtr first_;
  const WaitHandler& on_wait_;
  HedgeTimes times_;
  bool first_said_wait_ = false;
  bool has_begun_ = false;
  Clock::time_point next_event_;
  std::vector<ServerPool::ServerPtr> others_;  // not asked yet, the best one last
  ServerPool::ServerPtr server_;               // the one that is being connected to or asked
  std::shared_ptr<Link> link_;                 // once asked
  std::uint64_t id_ = 0;
};

}  // namespace kv::client
