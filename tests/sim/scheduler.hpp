// Simulated time: what happens when. Events at the same time happen in the order in which they were scheduled.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace kv::sim {

using Time = std::uint64_t;  // microseconds since the run began
inline constexpr Time ms = 1000;
inline constexpr Time second = 1000 * ms;

// A call that is made once. Unlike std::function it may own what cannot be copied.
class Task {
 public:
  template <class F>
  Task(F call) : call_(std::make_unique<Holder<F>>(std::move(call))) {}  // NOLINT: implicit, as lambdas are passed
  void operator()() { call_->run(); }

 private:
  struct Call {
    virtual ~Call() = default;
    virtual void run() = 0;
  };
  template <class F>
  struct Holder final : Call {
    explicit Holder(F f) : call(std::move(f)) {}
    void run() override { call(); }
    F call;
  };
  std::unique_ptr<Call> call_;
};

class Scheduler {
 public:
  Time now() const { return now_; }

  void at(Time when, Task task) {
    heap_.push_back({std::max(when, now_), next_++, std::move(task)});
    std::push_heap(heap_.begin(), heap_.end(), later);
  }
  void after(Time delay, Task task) { at(now_ + delay, std::move(task)); }

  // Lets the next event happen, if there is one up to `end`. Otherwise false, and the time is `end`.
  bool step(Time end) {
    if (heap_.empty() || heap_.front().when > end) {
      now_ = std::max(now_, end);
      return false;
    }
    std::pop_heap(heap_.begin(), heap_.end(), later);
    Event event = std::move(heap_.back());
    heap_.pop_back();
    now_ = event.when;
    event.task();
    return true;
  }

 private:
  struct Event {
    Time when = 0;
    std::uint64_t number = 0;
    Task task;
  };
  static bool later(const Event& a, const Event& b) {
    return a.when != b.when ? a.when > b.when : a.number > b.number;
  }

  std::vector<Event> heap_;
  Time now_ = 0;
  std::uint64_t next_ = 0;
};

}  // namespace kv::sim
