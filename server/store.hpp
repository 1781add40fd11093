// The replicated map: what all servers hold alike, because each applies the same commands in the same order.
//
// apply() is a function of the state and the command alone: no clock, no randomness, no iteration whose order
// could differ between machines. What it returns says both what to answer and what changed, so that waiting
// reads (and watches) live on it. Positions are the log's; a key's ts is the position of its last write.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "server/command.hpp"

namespace kv {

inline constexpr std::size_t answers_kept_per_session = 256;
inline constexpr std::size_t sessions_kept = 10'000;

// What a write came to. The same again for a repeated (session, seq).
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
struct MembersNoted {
  bool operator==(const MembersNoted&) const = default;
};
using Outcome = std::variant<Written, Deleted, Conflict, SessionExpired, MembersNoted>;

// What a command did to one key.
struct Change {
  std::string key;
  std::uint64_t old_ts = 0;  // 0: the key was absent
  std::uint64_t new_ts = 0;  // 0: it is absent now
};

struct Applied {
  Outcome outcome;
  std::vector<Change> changes;
};

class Store {
 public:
  struct Item {
    std::string value;
    std::uint64_t ts = 0;
  };

  explicit Store(std::size_t max_sessions = sessions_kept) : max_sessions_(max_sessions) {}

  // `position` is greater than that of every command before.
  Applied apply(std::uint64_t position, const command::Command& command);

  const Item* find(std::string_view key) const;  // nullptr: absent; valid until the next apply
  std::size_t keys() const { return items_.size(); }
  std::uint64_t bytes() const { return bytes_; }  // of keys and values
  // The cluster's id and members; nothing before the first entry of the log is applied.
  const std::optional<command::Members>& members() const { return members_; }
  std::size_t sessions() const { return sessions_.size(); }
  std::uint64_t forgotten_through() const { return forgotten_through_; }
  // Of everything that is replicated: two servers at one position have the same. Looks at all of it.
  std::uint64_t digest() const;

 private:
  // The answers to the last writes of one client session, by seq (docs/protocol.md, PUT).
  struct Session {
    std::uint64_t last_position = 0;
    std::uint64_t dropped_through = 0;  // the highest seq whose answer is gone
    std::map<std::uint64_t, Outcome> answers;
  };

  Applied perform(std::uint64_t position, const command::Put& put);
  Applied perform(std::uint64_t position, const command::Delete& del);
  Applied once(std::uint64_t position, const command::Session& asked, const auto& command);
  Session* enter(std::uint64_t position, const command::Session& asked);
  void forget_the_idlest();

  std::map<std::string, Item, std::less<>> items_;
  std::uint64_t bytes_ = 0;
  std::optional<command::Members> members_;
  std::size_t max_sessions_;
  std::map<std::string, Session> sessions_;
  std::map<std::uint64_t, std::string> sessions_by_use_;  // last position -> id
  std::uint64_t forgotten_through_ = 0;
};

}  // namespace kv
