#include "server/item.hpp"

#include <xxhash.h>

#include <cassert>
#include <cstring>
#include <limits>
#include <new>

#include "common/snapshot_format.hpp"

namespace kv {

Item::Item(std::string_view key, std::string_view value, std::uint64_t ts)
    : ts_(ts),
      digest_(snapshot::item_digest(key, value, ts)),
      value_bytes_(static_cast<std::uint32_t>(value.size())),
      key_bytes_(static_cast<std::uint16_t>(key.size())) {
  char* behind = reinterpret_cast<char*>(this + 1);
  if (!key.empty()) std::memcpy(behind, key.data(), key.size());
  if (!value.empty()) std::memcpy(behind + key.size(), value.data(), value.size());
}

Item::Ref Item::make(std::string_view key, std::string_view value, std::uint64_t ts) {
  assert(key.size() <= std::numeric_limits<std::uint16_t>::max());
  assert(value.size() <= std::numeric_limits<std::uint32_t>::max());
  void* memory = ::operator new(sizeof(Item) + key.size() + value.size());
  return Ref(new (memory) Item(key, value, ts));
}

void Item::free(const Item* item) {
  item->~Item();
  ::operator delete(const_cast<Item*>(item));
}

std::size_t ItemMap::Hash::operator()(std::string_view key) const {
  return XXH3_64bits(key.data(), key.size());
}

const Item* ItemMap::find(std::string_view key) const {
  const auto found = index_.find(key);
  return found == index_.end() ? nullptr : found->item;
}

const Item* ItemMap::last() const {
  return set_.empty() ? nullptr : set_.rbegin()->item.get();
}

Item::Ref ItemMap::put(Item::Ref item) {
  const std::string_view key = item->key();
  const auto known = index_.find(key);
  if (known == index_.end()) {
    index_.insert(Entry{item.get()});
    set_.insert(Slot{std::move(item)});
    return nullptr;
  }
  known->item = item.get();
  return std::exchange(set_.find(key)->item, std::move(item));
}

Item::Ref ItemMap::remove(std::string_view key) {
  const auto found = set_.find(key);
  if (found == set_.end()) return nullptr;
  index_.erase(key);
  Item::Ref item = std::move(found->item);
  set_.erase(found);
  return item;
}

void ItemMap::append(Item::Ref item) {
  set_.insert(set_.end(), Slot{std::move(item)});
}

// At once, for an index that grows on the way is made several times.
void ItemMap::index_appended() {
  assert(index_.empty());
  index_.reserve(set_.size());
  for (const Slot& slot : set_) index_.insert(Entry{slot.item.get()});
}

void ItemMap::erase(const_iterator first, const_iterator last) {
  for (auto item = first; item != last; ++item) index_.erase(item->key());
  set_.erase(first.slot_, last.slot_);
}

}  // namespace kv
