// A walk through the store while it goes on changing: what was there when the walk began, in order, a piece at a
// time. The store owns it, tells it what is about to go, and gives it what is there now.
//
// What a record was written at tells whether it is from before the walk began or not, so nothing is remembered of
// what came later, nor of what the walk has passed. Kept is only the old version of what is changed ahead of it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/snapshot_format.hpp"
#include "server/deletions.hpp"
#include "server/item_map.hpp"
#include "server/write_session.hpp"

namespace kv {

class StoreWalk {
 public:
  // `position`: of the last command applied. The others: of the state then (common/snapshot_format.hpp).
  StoreWalk(std::uint64_t position, const snapshot::Totals& totals, std::string members,
            std::uint64_t forgotten_through, Deletions& deletions);

  // An item that is no longer in the store.
  void keep(Item::Ref item);
  // Asked before a session changes or goes: is it to be kept as it is?
  bool wants(std::string_view id, const WriteSession& session) const;
  void keep(WriteSessions::node_type session) { kept_sessions_.insert(std::move(session)); }
  void keep(const std::string& id, const WriteSession& session) { kept_sessions_.emplace(id, session); }

  // As Store::walk().
  bool step(const ItemMap& items, const WriteSessions& sessions, const Deletions& deletions, std::size_t bytes,
            std::string& records);
  const snapshot::Totals& totals() const { return totals_; }

 private:
  enum class Part { state, items, sessions, deletions, done };

  bool has_passed(Part part, std::string_view key) const;
  template <class Map>
  bool step_through(const Map& now, Map& kept, std::size_t enough, std::string& records);
  bool step_through(const Deletions& deletions, std::size_t enough, std::string& records);
  void go_to(Part part);

  std::uint64_t position_;
  snapshot::Totals totals_;
  std::string members_;
  std::uint64_t forgotten_through_;
  std::uint64_t deletions_floor_;
  Deletions::Range deletions_;  // those that are still to be written
  Part part_ = Part::state;
  std::optional<std::string> last_;  // key or id in this part up to which all is done; nothing: none yet
  ItemMap kept_items_;               // all of them ahead
  WriteSessions kept_sessions_;
};

}  // namespace kv
