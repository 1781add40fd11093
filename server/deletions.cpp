#include "server/deletions.hpp"

#include <algorithm>
#include <cassert>

namespace kv {
namespace {

// Beside its key a deletion takes about so much.
constexpr std::size_t overhead_bytes = 96;

std::size_t bytes_of(const Deletion& deletion) {
  return deletion.key.size() + overhead_bytes;
}

}  // namespace

void Deletions::add(std::uint64_t ts, std::string_view key) {
  assert(all_.empty() || ts >= all_.back().ts);
  const Deletion& added = all_.emplace_back(Deletion{ts, std::string(key)});
  bytes_ += bytes_of(added);
  by_key_.erase(key);  // also for its key's bytes, which lie in an older one
  by_key_.emplace(added.key, ts);
}

void Deletions::advance(std::uint64_t position) {
  if (position > deletions_kept_positions) floor_ = std::max(floor_, position - deletions_kept_positions);
  while (size() > 0) {
    const std::uint64_t oldest = all_[forgotten_].ts;
    if (bytes_ > deletions_kept_bytes) floor_ = std::max(floor_, oldest);
    if (oldest > floor_) return;
    forget_first();
  }
}

void Deletions::forget_first() {
  const Deletion& oldest = all_[forgotten_];
  bytes_ -= bytes_of(oldest);
  const auto found = by_key_.find(oldest.key);
  if (found != by_key_.end() && found->first.data() == oldest.key.data()) by_key_.erase(found);
  ++forgotten_;
  if (!held_) release();
}

std::uint64_t Deletions::find(std::string_view key) const {
  const auto found = by_key_.find(key);
  return found == by_key_.end() ? 0 : found->second;
}

Deletions::Range Deletions::hold() {
  held_ = true;
  return range();
}

void Deletions::release() {
  held_ = false;
  first_ += forgotten_;
  all_.erase(all_.begin(), all_.begin() + static_cast<std::ptrdiff_t>(forgotten_));
  forgotten_ = 0;
}

}  // namespace kv
