// What a command came to, and the form in which a write session keeps it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/snapshot_format.hpp"
#include "server/command.hpp"

namespace kv {

struct Written {
  std::uint64_t ts = 0;
  bool operator==(const Written&) const = default;
};
struct Deleted {
  std::uint64_t ts = 0;
  bool found = false;
  bool operator==(const Deleted&) const = default;
};
struct Conflict {
  std::uint64_t current_ts = 0;  // 0: the key is absent
  bool operator==(const Conflict&) const = default;
};
struct SessionExpired {
  bool operator==(const SessionExpired&) const = default;
};

// Of one operation of a transaction.
struct TxnResult {
  command::Operation::What what = command::Operation::What::get;
  std::string key;
  std::optional<std::string> value;  // of a get: nothing, and ts 0, where the key is absent
  std::uint64_t ts = 0;
  bool found = false;  // of a delete
  bool operator==(const TxnResult&) const = default;
};
struct TxnDone {
  std::uint64_t ts = 0;
  bool succeeded = false;
  std::vector<TxnResult> results;
  bool operator==(const TxnDone&) const = default;
};
// The answer would not fit into a frame; nothing was done.
struct TxnTooLarge {
  bool operator==(const TxnTooLarge&) const = default;
};
struct MembersNoted {
  bool operator==(const MembersNoted&) const = default;
};

// The same again for a repeated (session, seq).
using Outcome = std::variant<Written, Deleted, Conflict, SessionExpired, TxnDone, TxnTooLarge, MembersNoted>;

// Of the values that it holds.
std::size_t value_bytes(const Outcome& outcome);

// As a session keeps it; aborts for MembersNoted, which belongs to none.
snapshot::Answer kept_answer(std::uint64_t seq, const Outcome& outcome);
Outcome outcome_of(const snapshot::Answer& answer);
// Whether outcome_of() can be asked of it: its bytes are what kept_answer() has made.
bool is_sound(const snapshot::Answer& answer);

}  // namespace kv
