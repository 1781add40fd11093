// The items of a store: in byte order for those who go through them, and by hash for those who look for one, which
// takes no longer among a million than among a few.
#pragma once

#include <absl/container/flat_hash_set.h>

#include <cstddef>
#include <span>
#include <string_view>

#include "server/item.hpp"
#include "server/item_order.hpp"

namespace kv {

// An item is in one map at a time. Iterators live until the next change.
class ItemMap {
 private:
  struct Entry {
    mutable const Item* item;  // replaced only by one with the same key
  };
  // Stands for any key with this hash: to find out where an item most likely is without reading it (most_likely()).
  struct Guess {
    std::size_t hash;
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view key) const;
    std::size_t operator()(Entry entry) const { return (*this)(entry.item->key()); }
    std::size_t operator()(Guess guess) const { return guess.hash; }
  };
  struct Equal {
    using is_transparent = void;
    static std::string_view key(Entry entry) { return entry.item->key(); }
    static std::string_view key(std::string_view key) { return key; }
    bool operator()(const auto& a, const auto& b) const { return key(a) == key(b); }
    bool operator()(Entry, Guess) const { return true; }  // the index has compared a part of the hash
  };
  using Index = absl::flat_hash_set<Entry, Hash, Equal>;

 public:
  using const_iterator = ItemOrder::const_iterator;

  std::size_t size() const { return order_.size(); }
  const Item* find(std::string_view key) const;       // nullptr: absent
  const Item* last() const { return order_.last(); }  // with the greatest key; nullptr: the map is empty

  // Has the processor fetch into its caches what find(), or else put() and remove(), of these keys will touch: so
  // it waits for several pieces of memory at once, and not for one behind the other.
  void fetch_to_find(std::span<const std::string_view> keys) const;
  void fetch_to_change(std::span<const std::string_view> keys) const;

  // Both return the item that was there, if one was.
  Item::Ref put(Item::Ref item);
  Item::Ref remove(std::string_view key);
  // For filling an empty map: each key is greater than those before, and none is found before all are indexed.
  void append(Item::Ref item) { order_.append(std::move(item)); }
  void index_appended();

  const_iterator begin() const { return order_.begin(); }
  const_iterator end() const { return order_.end(); }
  const_iterator lower_bound(std::string_view key) const { return order_.lower_bound(key); }
  const_iterator upper_bound(std::string_view key) const { return order_.upper_bound(key); }
  void erase_until(const_iterator end);  // from the first on

 private:
  const Item* most_likely(std::string_view key) const;

  ItemOrder order_;
  Index index_;  // the same items
};

}  // namespace kv
