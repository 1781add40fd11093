// The answers to the last writes of a client's session (docs/protocol.md, PUT), so that a repeated write gets its
// first answer again and is not applied again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>

#include "common/snapshot_format.hpp"

namespace kv {

inline constexpr std::size_t answers_kept_per_session = 256;
// Of transactions' results; the last answer is kept however long it is.
inline constexpr std::size_t results_kept_per_session = 8 << 20;

struct WriteSession {
  std::uint64_t last_position = 0;       // of the last write that named the session
  std::uint64_t dropped_through = 0;     // the highest seq whose answer is gone
  std::deque<snapshot::Answer> answers;  // by seq: most come at the end and go at the beginning
  std::size_t results_bytes = 0;         // of all of them

  const snapshot::Answer* find(std::uint64_t seq) const;  // nullptr: not answered, or dropped
  // For a seq that is not there and above dropped_through. What is too much drops those with the lowest seq.
  void add(const snapshot::Answer& answer);

 private:
  void drop_first();
};

using WriteSessions = std::map<std::string, WriteSession, std::less<>>;  // by id

}  // namespace kv
