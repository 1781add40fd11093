// The deletions of the last positions: what a read that waits for a key's next version must know of keys that are
// not there any more (docs/protocol.md, GET). Part of the replicated state.
//
// They are kept in their order; one of a key that is there again stays until its time is over, and is not found.
// While they are held for a snapshot none goes away, though it is forgotten.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <unordered_map>

namespace kv {

inline constexpr std::uint64_t deletions_kept_positions = 100'000;
inline constexpr std::size_t deletions_kept_bytes = 64 << 20;

struct Deletion {
  std::uint64_t ts = 0;
  std::string key;
  bool operator==(const Deletion&) const = default;
};

class Deletions {
 public:
  Deletions() = default;
  // The keys of by_key_ lie in all_, where they stay when it is moved.
  Deletions(Deletions&&) = default;
  Deletions& operator=(Deletions&&) = default;

  // `ts` is not below that of any before.
  void add(std::uint64_t ts, std::string_view key);
  // The key is there again.
  void forget(std::string_view key) { by_key_.erase(key); }
  // `position` is the last applied: what is too long ago, or too much, is forgotten.
  void advance(std::uint64_t position);

  // The ts of the key's last deletion; 0: none is remembered.
  std::uint64_t find(std::string_view key) const;
  // All deletions after this position are remembered, and none at or before it.
  std::uint64_t floor() const { return floor_; }
  void set_floor(std::uint64_t floor) { floor_ = floor; }  // before any is added
  std::size_t size() const { return all_.size() - forgotten_; }

  // Those that are remembered now, by numbers from `first` to before `last`; at() gives them until release().
  struct Range {
    std::uint64_t first = 0;
    std::uint64_t last = 0;
  };
  Range hold();
  void release();
  const Deletion& at(std::uint64_t number) const { return all_[number - first_]; }
  Range range() const { return {first_ + forgotten_, first_ + all_.size()}; }

 private:
  void forget_first();

  std::deque<Deletion> all_;
  std::uint64_t first_ = 0;    // the number of the first in all_
  std::size_t forgotten_ = 0;  // so many at the beginning of all_ are there only because they are held
  std::size_t bytes_ = 0;      // of those that are remembered
  std::uint64_t floor_ = 0;
  bool held_ = false;
  std::unordered_map<std::string_view, std::uint64_t> by_key_;  // of absent keys: the last deletion's ts
};

}  // namespace kv
