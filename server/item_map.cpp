#include "server/item_map.hpp"

#include <absl/base/config.h>
#include <xxhash.h>

#include <algorithm>
#include <cassert>
#include <utility>

namespace kv {
namespace {

constexpr std::size_t fetched_at_once = 32;
constexpr std::size_t bytes_fetched_of_an_item = 192;  // the rest of a long value follows by itself

}  // namespace

std::size_t ItemMap::Hash::operator()(std::string_view key) const {
  return XXH3_64bits(key.data(), key.size());
}

const Item* ItemMap::find(std::string_view key) const {
  const auto found = index_.find(key);
  return found == index_.end() ? nullptr : found->item;
}

// The one whose hash has the same part that the index keeps; nullptr: there is none. Later versions of the library
// may check that what is equal has equal hashes, by reading items; there the item itself is looked for.
const Item* ItemMap::most_likely(std::string_view key) const {
#if defined(ABSL_LTS_RELEASE_VERSION) && ABSL_LTS_RELEASE_VERSION <= 20220623
  const auto found = index_.find(Guess{Hash()(key)});
#else
  const auto found = index_.find(key);
#endif
  return found == index_.end() ? nullptr : found->item;
}

// Each loop reads what the one before has had fetched.
void ItemMap::fetch_to_find(std::span<const std::string_view> keys) const {
  for (; !keys.empty(); keys = keys.subspan(std::min(keys.size(), fetched_at_once))) {
    const auto some = keys.first(std::min(keys.size(), fetched_at_once));
    for (const std::string_view key : some) index_.prefetch(key);
    for (const std::string_view key : some) {
      if (const Item* item = most_likely(key)) fetch_memory(item, bytes_fetched_of_an_item);
    }
  }
}

void ItemMap::fetch_to_change(std::span<const std::string_view> keys) const {
  fetch_to_find(keys);
  for (const std::string_view key : keys) {
    if (const Item* item = most_likely(key)) order_.fetch(*item);
  }
}

Item::Ref ItemMap::put(Item::Ref item) {
  const auto known = index_.find(item->key());
  if (known == index_.end()) {
    index_.insert(Entry{item.get()});
    order_.insert(std::move(item));
    return nullptr;
  }
  const Item& old = *std::exchange(known->item, item.get());
  return order_.replace(old, std::move(item));
}

Item::Ref ItemMap::remove(std::string_view key) {
  const auto known = index_.find(key);
  if (known == index_.end()) return nullptr;
  const Item& old = *known->item;
  index_.erase(known);
  return order_.remove(old);
}

// At once, for an index that grows on the way is made several times.
void ItemMap::index_appended() {
  assert(index_.empty());
  index_.reserve(order_.size());
  for (const Item& item : order_) index_.insert(Entry{&item});
}

void ItemMap::erase_until(const_iterator end) {
  for (auto item = begin(); item != end; ++item) index_.erase(item->key());
  order_.erase_until(end);
}

}  // namespace kv
