#include "server/log_pace.hpp"

#include <algorithm>

namespace kv {
namespace {

constexpr double part_for_all = 0.4;  // of the limit
constexpr double least_part = 0.1;

}  // namespace

bool LogPace::takes_more(double saved, std::size_t bytes, std::size_t room) {
  const std::size_t came = came_ + bytes;
  if (!start_) start_ = Start{saved, came, for_the_rest(came, room)};
  const double gone_by = start_->saved < 1 ? (saved - start_->saved) / (1 - start_->saved) : 1;
  return static_cast<double>(came - start_->came) <= gone_by * start_->for_the_rest;
}

double LogPace::for_the_rest(std::size_t came, std::size_t room) const {
  const double usual = std::max(part_for_all * most_ - static_cast<double>(came), least_part * most_);
  return std::min(usual, static_cast<double>(room));
}

}  // namespace kv
