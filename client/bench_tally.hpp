// What a load has come to: the answers that were right, how long they took, and what there was instead of others.
// Only what falls into the time that is measured counts.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "client/call.hpp"
#include "client/histogram.hpp"

namespace kv::client {

// A kind of request, as it is told apart in the report.
struct BenchSeries {
  std::string name;
  std::uint64_t right = 0;  // answers
  Histogram latency;        // of those, and of those that were due within the time
};

class BenchTally {
 public:
  // All series are there from the beginning. `by_due`: a right answer counts if it was due within the time, not if
  // it came within it.
  explicit BenchTally(const std::vector<std::string>& series, bool by_due = false);

  // What happens from now on counts, until end().
  void begin(Clock::time_point now) { began_ = now; }
  void end(Clock::time_point now) { ended_ = now; }
  Clock::time_point began() const { return began_; }
  Clock::time_point ended() const { return ended_; }
  bool is_measured(Clock::time_point when) const { return began_ <= when && when < ended_; }
  double seconds(Clock::time_point now) const;

  // A right answer at `now` to what was due at `due`.
  void right(std::size_t series, Clock::time_point due, Clock::time_point now);
  // Anything else, by its name: an ERROR's code, "connection lost", "wrong value".
  void other(std::string_view what, Clock::time_point when, std::uint64_t count = 1);
  // A WAIT_FOR_RESPONSE came before the answer.
  void waited(Clock::time_point now) { waited_ += is_measured(now) ? 1 : 0; }

  const std::vector<BenchSeries>& series() const { return series_; }
  const std::map<std::string, std::uint64_t, std::less<>>& others() const { return others_; }
  std::uint64_t total_right() const;
  std::uint64_t total_waited() const { return waited_; }

 private:
  bool by_due_;
  std::vector<BenchSeries> series_;
  std::map<std::string, std::uint64_t, std::less<>> others_;
  std::uint64_t waited_ = 0;
  Clock::time_point began_ = Clock::time_point::max();
  Clock::time_point ended_ = Clock::time_point::max();
};

}  // namespace kv::client
