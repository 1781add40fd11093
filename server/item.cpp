#include "server/item.hpp"

#include <cassert>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

namespace kv {

Item::Item(std::string_view key, std::string_view value, std::uint64_t ts)
    : ts_(ts),
      key_bytes_(static_cast<std::uint32_t>(key.size())),
      value_bytes_(static_cast<std::uint32_t>(value.size())) {
  char* behind = reinterpret_cast<char*>(this + 1);
  if (!key.empty()) std::memcpy(behind, key.data(), key.size());
  if (!value.empty()) std::memcpy(behind + key.size(), value.data(), value.size());
}

Item::Owner Item::make(std::string_view key, std::string_view value, std::uint64_t ts) {
  assert(key.size() <= std::numeric_limits<std::uint32_t>::max());
  assert(value.size() <= std::numeric_limits<std::uint32_t>::max());
  void* memory = ::operator new(sizeof(Item) + key.size() + value.size());
  return Owner(new (memory) Item(key, value, ts));
}

void Item::Free::operator()(Item* item) const {
  item->~Item();
  ::operator delete(item);
}

const Item* ItemMap::find(std::string_view key) const {
  const auto found = set_.find(key);
  return found == set_.end() ? nullptr : found->item.get();
}

const Item* ItemMap::last() const {
  return set_.empty() ? nullptr : set_.rbegin()->item.get();
}

Item::Owner ItemMap::put(Item::Owner item) {
  const auto place = set_.lower_bound(item->key());
  if (place != set_.end() && place->item->key() == item->key()) return std::exchange(place->item, std::move(item));
  set_.insert(place, Slot{std::move(item)});
  return nullptr;
}

Item::Owner ItemMap::remove(std::string_view key) {
  const auto found = set_.find(key);
  if (found == set_.end()) return nullptr;
  Item::Owner item = std::move(found->item);
  set_.erase(found);
  return item;
}

void ItemMap::append(Item::Owner item) {
  set_.insert(set_.end(), Slot{std::move(item)});
}

}  // namespace kv
