#include "server/store_walk.hpp"

#include <utility>

namespace kv {
namespace {

using SessionEntry = WriteSessions::value_type;

// What items and sessions have in common.
std::string_view key_of(const Item& item) {
  return item.key();
}
std::string_view key_of(const SessionEntry& entry) {
  return entry.first;
}

std::uint64_t written_at(const Item& item) {
  return item.ts();
}
std::uint64_t written_at(const SessionEntry& entry) {
  return entry.second.last_position;
}

void erase_until(ItemMap& items, ItemMap::const_iterator end) {
  items.erase_until(end);
}
void erase_until(WriteSessions& sessions, WriteSessions::const_iterator end) {
  sessions.erase(sessions.begin(), end);
}

void append(std::string& records, const Item& item) {
  append_record(records, snapshot::Item{item.ts(), item.key(), item.value()});
}
void append(std::string& records, const SessionEntry& entry) {
  const auto& [id, session] = entry;
  append_record(
      records,
      snapshot::Session{
          id, session.last_position, session.dropped_through, {session.answers.begin(), session.answers.end()}});
}

}  // namespace

StoreWalk::StoreWalk(std::uint64_t position, const snapshot::Totals& totals, std::string members,
                     std::uint64_t forgotten_through, Deletions& deletions)
    : position_(position),
      totals_(totals),
      members_(std::move(members)),
      forgotten_through_(forgotten_through),
      deletions_floor_(deletions.floor()),
      deletions_(deletions.hold()) {}

bool StoreWalk::has_passed(Part part, std::string_view key) const {
  return part_ > part || (part_ == part && last_ && key <= *last_);
}

void StoreWalk::keep(Item::Ref item) {
  if (item->ts() <= position_ && !has_passed(Part::items, item->key())) kept_items_.put(std::move(item));
}

bool StoreWalk::wants(std::string_view id, const WriteSession& session) const {
  return session.last_position <= position_ && !has_passed(Part::sessions, id);
}

bool StoreWalk::step(const ItemMap& items, const WriteSessions& sessions, const Deletions& deletions,
                     std::size_t bytes, std::string& records) {
  const std::size_t enough = records.size() + bytes;
  if (part_ == Part::state) {
    append_record(records, snapshot::State{members_, forgotten_through_});
    go_to(Part::items);
  }
  if (part_ == Part::items && !step_through(items, kept_items_, enough, records)) go_to(Part::sessions);
  if (part_ == Part::sessions && !step_through(sessions, kept_sessions_, enough, records)) {
    append_record(records, snapshot::DeletionsFloor{deletions_floor_});
    go_to(Part::deletions);
  }
  if (part_ == Part::deletions && !step_through(deletions, enough, records)) go_to(Part::done);
  return part_ != Part::done;
}

bool StoreWalk::step_through(const Deletions& deletions, std::size_t enough, std::string& records) {
  for (; deletions_.first < deletions_.last && records.size() < enough; ++deletions_.first) {
    const Deletion& deletion = deletions.at(deletions_.first);
    append_record(records, snapshot::Deletion{deletion.ts, deletion.key});
  }
  return deletions_.first < deletions_.last;
}

// Merges what is there now and has not been written since with what was kept. No key is in both. False: there is
// nothing more in this part.
template <class Map>
bool StoreWalk::step_through(const Map& now, Map& kept, std::size_t enough, std::string& records) {
  typename Map::const_iterator current = last_ ? now.upper_bound(*last_) : now.begin();
  typename Map::const_iterator old = kept.begin();
  std::optional<std::string_view> last;
  bool more = false;
  while (true) {
    while (current != now.end() && written_at(*current) > position_) ++current;
    more = current != now.end() || old != kept.end();
    if (!more || records.size() >= enough) break;
    const bool is_kept = current == now.end() || (old != kept.end() && key_of(*old) < key_of(*current));
    const auto entry = is_kept ? old : current;
    append(records, *entry);
    last = key_of(*entry);
    ++(is_kept ? old : current);
  }
  if (last) last_ = *last;
  erase_until(kept, old);
  return more;
}

void StoreWalk::go_to(Part part) {
  part_ = part;
  last_.reset();
}

}  // namespace kv
