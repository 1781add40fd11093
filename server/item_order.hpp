// The items of a map by key, in blocks of some dozens each. An item knows its block, so that another takes its
// place without a search among the keys, each of which would be a look into memory that no cache holds.
//
// Part of ItemMap, which see.
#pragma once

#include <absl/container/btree_set.h>

#include <array>
#include <cstddef>
#include <memory>
#include <string_view>

#include "server/item.hpp"

namespace kv {

class ItemOrder {
 private:
  static constexpr std::size_t capacity = 63;  // with their number, 512 bytes: no allocator rounds that up
  struct Order {
    using is_transparent = void;
    static std::string_view key(const std::unique_ptr<ItemBlock>& block);  // its first
    static std::string_view key(std::string_view key) { return key; }
    bool operator()(const auto& a, const auto& b) const { return key(a) < key(b); }
  };
  // None is empty.
  using Blocks = absl::btree_set<std::unique_ptr<ItemBlock>, Order>;
  friend ItemBlock;

 public:
  class const_iterator {
   public:
    const_iterator() = default;
    const Item& operator*() const;
    const Item* operator->() const { return &**this; }
    const_iterator& operator++();
    bool operator==(const const_iterator&) const = default;

   private:
    friend ItemOrder;
    const_iterator(Blocks::const_iterator block, std::size_t at) : block_(block), at_(at) {}
    Blocks::const_iterator block_;
    std::size_t at_ = 0;  // in the block
  };

  ItemOrder();
  ~ItemOrder();
  ItemOrder(ItemOrder&& other) noexcept;
  ItemOrder& operator=(ItemOrder&& other) noexcept;

  std::size_t size() const { return size_; }
  const_iterator begin() const { return {blocks_.begin(), 0}; }
  const_iterator end() const { return {blocks_.end(), 0}; }
  const_iterator lower_bound(std::string_view key) const;
  const_iterator upper_bound(std::string_view key) const;
  const Item* last() const;  // nullptr: there is none

  void insert(Item::Ref item);                           // no other has its key
  void append(Item::Ref item);                           // its key is greater than all others
  Item::Ref replace(const Item& there, Item::Ref with);  // by one with the same key
  Item::Ref remove(const Item& there);
  void erase_until(const_iterator end);  // from the first on
  // What replace() and remove() will look through, into the processor's caches.
  void fetch(const Item& there) const;

 private:
  template <class IsBefore>
  const_iterator first_not(std::string_view key, IsBefore is_before) const;
  void merge_with_next(Blocks::iterator place);

  Blocks blocks_;
  std::size_t size_ = 0;
};

}  // namespace kv
