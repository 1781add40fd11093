#include "client/progress.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/text.hpp"

namespace kv::client {
namespace {

constexpr std::chrono::milliseconds interval{100};

std::uint64_t a_second(std::uint64_t count, double seconds) {
  return static_cast<std::uint64_t>(static_cast<double>(count) / std::max(seconds, 0.001));
}

}  // namespace

// What is done at once needs no line.
Progress::Progress(Printer& printer, std::string what)
    : printer_(printer), what_(std::move(what)), next_(started_ + interval) {}

Progress::~Progress() {
  printer_.progress("");
}

bool Progress::is_due() {
  const Clock::time_point now = Clock::now();
  if (now < next_) return false;
  next_ = now + interval;
  return true;
}

double Progress::seconds() const {
  return std::chrono::duration<double>(Clock::now() - started_).count();
}

void Progress::bytes(std::uint64_t done, std::uint64_t total) {
  if (!is_due()) return;
  const std::uint64_t percent = total == 0 ? 100 : done * 100 / total;
  printer_.progress(what_ + ": " + format_size(done) + " of " + format_size(total) + "  " +
                    std::to_string(percent) + "%  " + format_size(a_second(done, seconds())) + "/s");
}

void Progress::items(std::uint64_t done) {
  if (!is_due()) return;
  printer_.progress(what_ + ": " + std::to_string(done) + " items  " + std::to_string(a_second(done, seconds())) +
                    "/s");
}

void Progress::waiting(const std::string& why) {
  printer_.progress(what_ + ": " + why);
}

}  // namespace kv::client
