// The replicated map: what all servers hold alike, because each applies the same commands in the same order.
//
// apply() is a function of the state and the command alone: no clock, no randomness, no iteration whose order
// could differ between machines. What it returns says both what to answer and what changed, so that waiting
// reads (and watches) live on it. Positions are the log's; a key's ts is the position of its last write.
//
// The state goes out as the records of a snapshot (docs/formats.md) by a walk, while commands are applied, and
// comes back by restore().
#pragma once

#include <absl/container/inlined_vector.h>

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/snapshot_format.hpp"
#include "server/command.hpp"
#include "server/deletions.hpp"
#include "server/item_map.hpp"
#include "server/outcome.hpp"
#include "server/store_walk.hpp"
#include "server/write_session.hpp"

namespace kv {

inline constexpr std::size_t sessions_kept = 10'000;
// Of the answers to transactions, in all sessions: then the idlest sessions are forgotten.
inline constexpr std::size_t results_kept_bytes = 128 << 20;
inline constexpr std::size_t max_txn_answer_bytes = 4 << 20;  // in JSON: a client's frame

// What a command did to one key.
struct Change {
  Item::Ref item;            // as it is now; if it is absent now, as it was
  std::uint64_t old_ts = 0;  // 0: the key was absent
  std::uint64_t new_ts = 0;  // 0: it is absent now

  std::string_view key() const { return item->key(); }
};

using Changes = absl::InlinedVector<Change, 1>;  // most commands change one key, and then it needs no memory

struct Applied {
  Outcome outcome;
  Changes changes;
};

class Store {
 public:
  explicit Store(std::size_t max_sessions = sessions_kept) : max_sessions_(max_sessions) {}

  // `position` is greater than that of every command before.
  Applied apply(std::uint64_t position, const command::Command& command);

  // What find(), or else apply(), of these keys will need is fetched into the processor's caches (ItemMap).
  void fetch_to_find(std::span<const std::string_view> keys) const { items_.fetch_to_find(keys); }
  void fetch_to_change(std::span<const std::string_view> keys) const { items_.fetch_to_change(keys); }
  const Item* find(std::string_view key) const;     // nullptr: absent; valid until the next apply
  std::uint64_t ts_of(std::string_view key) const;  // 0: absent
  // When an absent key was deleted last; 0: that is not remembered. All deletions after deletions_floor() are.
  std::uint64_t deleted_at(std::string_view key) const { return deletions_.find(key); }
  std::uint64_t deletions_floor() const { return deletions_.floor(); }
  // The items whose keys begin with `prefix` and are greater than `after`, in the order of their bytes: at most
  // `limit`, and no more than take `max_bytes` in JSON, but at least one. Valid until the next apply.
  struct Page {
    std::vector<const Item*> items;
    bool more = false;      // there are others behind them
    std::size_t bytes = 0;  // that they take in JSON, about
  };
  Page list(std::string_view prefix, std::string_view after, std::size_t limit, std::size_t max_bytes,
            bool keys_only) const;
  // Of the last command; after restore() the greatest position that was in the records.
  std::uint64_t position() const { return position_; }
  std::size_t keys() const { return items_.size(); }
  std::uint64_t bytes() const { return bytes_; }  // of keys and values
  // The cluster's id and members; nothing before the first entry of the log is applied.
  const std::optional<command::Members>& members() const { return members_; }
  // Of a backup: what it says of its own cluster means nothing to another.
  void forget_members() { members_.reset(); }
  std::size_t sessions() const { return sessions_.size(); }
  std::uint64_t forgotten_through() const { return forgotten_through_; }
  // Of everything that is replicated: two servers at one position have the same. Looks at all of it.
  std::uint64_t digest() const;
  // Of the items, kept up to date with each write: the sum of their snapshot::item_digest().
  std::uint64_t content_digest() const { return content_digest_; }
  snapshot::Totals totals() const { return {keys(), bytes_, content_digest_}; }

  // A walk gives the records of the state as it is now, whatever is applied until it ends. One at a time.
  void begin_walk();
  bool is_walking() const { return walk_.has_value(); }
  // Appends records until at least `bytes` more are there; false: these were the last. Where they are cut depends
  // on the state at begin_walk() and `bytes` alone. At least one record comes each time until there are no more.
  // Takes time for what it appends and for keys written since that it has to pass over.
  bool walk(std::size_t bytes, std::string& records);
  snapshot::Totals walk_totals() const;  // of the state that is walked through
  void end_walk();                       // also before it was through

  // Into a store that is new: the records of a snapshot, block after block; then check_totals(), and position()
  // must not be greater than the snapshot's. What is wrong, for a person: then the store is of no use. After the
  // last block it is as the walked one was when the walk began.
  std::optional<std::string> restore(std::string_view records);
  std::optional<std::string> check_totals(const snapshot::Totals& totals) const;

 private:
  Applied perform(std::uint64_t position, const command::Put& put);
  Applied perform(std::uint64_t position, const command::Delete& del);
  Applied perform(std::uint64_t position, const command::Txn& txn);
  Change put(std::uint64_t position, std::string_view key, std::string_view value);
  Change erase(std::uint64_t position, std::string_view key);
  Applied once(std::uint64_t position, const command::Session& asked, const auto& command);
  void keep_answer(WriteSession& session, const snapshot::Answer& answer);
  WriteSession* enter(std::uint64_t position, const command::Session& asked);
  void forget_the_idlest();
  void count(const Item& item);
  void retire(Item::Ref item);

  std::optional<std::string> restore_record(const snapshot::State& state);
  std::optional<std::string> restore_record(const snapshot::Item& item);
  std::optional<std::string> restore_record(snapshot::Session& session);
  std::optional<std::string> restore_record(const snapshot::DeletionsFloor& floor);
  std::optional<std::string> restore_record(const snapshot::Deletion& deletion);

  ItemMap items_;
  std::uint64_t bytes_ = 0;
  std::uint64_t content_digest_ = 0;
  std::uint64_t position_ = 0;
  std::optional<command::Members> members_;
  std::size_t max_sessions_;
  WriteSessions sessions_;
  std::map<std::uint64_t, const std::string*> sessions_by_use_;  // last position -> id, which sessions_ holds
  std::uint64_t forgotten_through_ = 0;
  std::size_t results_bytes_ = 0;  // that sessions_ keep
  Deletions deletions_;
  std::optional<StoreWalk> walk_;
  bool is_restored_ = false;    // a snapshot's state record was here
  bool has_deletions_ = false;  // and the one before its deletions
};

}  // namespace kv
