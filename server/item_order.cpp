#include "server/item_order.hpp"

#include <algorithm>
#include <cassert>
#include <functional>
#include <iterator>
#include <utility>

namespace kv {

struct ItemBlock {
  std::size_t size = 0;
  std::array<Item::Ref, ItemOrder::capacity> items;

  std::string_view first() const { return items[0]->key(); }
  auto begin() { return items.begin(); }
  auto end() { return items.begin() + static_cast<std::ptrdiff_t>(size); }
  bool is_full() const { return size == items.size(); }

  std::size_t place_of(const Item& item) {
    const auto place = std::find_if(begin(), end(), [&item](const Item::Ref& one) { return one.get() == &item; });
    assert(place != end());
    return static_cast<std::size_t>(place - begin());
  }
  void put(std::size_t at, Item::Ref item) {
    std::move_backward(begin() + static_cast<std::ptrdiff_t>(at), end(), end() + 1);
    item->block_ = this;
    items[at] = std::move(item);
    ++size;
  }
  Item::Ref take(std::size_t at) {
    Item::Ref item = std::move(items[at]);
    std::move(begin() + static_cast<std::ptrdiff_t>(at) + 1, end(), begin() + static_cast<std::ptrdiff_t>(at));
    --size;
    return item;
  }
  // Those from `at` on, behind the other's.
  void move_from(std::size_t at, ItemBlock& to) {
    for (std::size_t i = at; i < size; ++i) to.put(to.size, std::move(items[i]));
    size = at;
  }
};

std::string_view ItemOrder::Order::key(const std::unique_ptr<ItemBlock>& block) {
  return block->first();
}

ItemOrder::ItemOrder() = default;
ItemOrder::~ItemOrder() = default;
ItemOrder::ItemOrder(ItemOrder&& other) noexcept
    : blocks_(std::exchange(other.blocks_, {})), size_(std::exchange(other.size_, 0)) {}
ItemOrder& ItemOrder::operator=(ItemOrder&& other) noexcept {
  std::swap(blocks_, other.blocks_);
  std::swap(size_, other.size_);
  return *this;
}

const Item& ItemOrder::const_iterator::operator*() const {
  return *(*block_)->items[at_];
}

ItemOrder::const_iterator& ItemOrder::const_iterator::operator++() {
  if (++at_ == (*block_)->size) {
    ++block_;
    at_ = 0;
  }
  return *this;
}

// The first item whose key is not before `key`, as is_before(its key, key) has it.
template <class IsBefore>
ItemOrder::const_iterator ItemOrder::first_not(std::string_view key, IsBefore is_before) const {
  const auto next = blocks_.upper_bound(key);
  if (next == blocks_.begin()) return begin();
  const auto block = std::prev(next);
  ItemBlock& items = **block;
  const auto place = std::partition_point(items.begin(), items.end(),
                                          [&](const Item::Ref& item) { return is_before(item->key(), key); });
  if (place == items.end()) return {next, 0};
  return {block, static_cast<std::size_t>(place - items.begin())};
}

ItemOrder::const_iterator ItemOrder::lower_bound(std::string_view key) const {
  return first_not(key, std::less<>());
}

ItemOrder::const_iterator ItemOrder::upper_bound(std::string_view key) const {
  return first_not(key, std::less_equal<>());
}

const Item* ItemOrder::last() const {
  if (blocks_.empty()) return nullptr;
  const ItemBlock& block = **blocks_.rbegin();
  return block.items[block.size - 1].get();
}

void ItemOrder::append(Item::Ref item) {
  ++size_;
  if (!blocks_.empty() && !(*blocks_.rbegin())->is_full()) {
    ItemBlock& block = **blocks_.rbegin();
    return block.put(block.size, std::move(item));
  }
  auto block = std::make_unique<ItemBlock>();
  block->put(0, std::move(item));
  blocks_.insert(blocks_.end(), std::move(block));
}

void ItemOrder::insert(Item::Ref item) {
  if (blocks_.empty()) return append(std::move(item));
  ++size_;
  const auto next = blocks_.upper_bound(item->key());
  ItemBlock& block = next == blocks_.begin() ? **next : **std::prev(next);
  const auto place = std::partition_point(block.begin(), block.end(),
                                          [&](const Item::Ref& one) { return one->key() < item->key(); });
  const auto at = static_cast<std::size_t>(place - block.begin());
  if (!block.is_full()) return block.put(at, std::move(item));

  // Keys that come in their order leave full blocks behind; others halves.
  auto behind = std::make_unique<ItemBlock>();
  const std::size_t kept = at == block.size ? block.size : block.size / 2;
  block.move_from(kept, *behind);
  if (at < kept) {
    block.put(at, std::move(item));
  } else {
    behind->put(at - kept, std::move(item));
  }
  blocks_.insert(next == blocks_.begin() ? std::next(next) : next, std::move(behind));
}

Item::Ref ItemOrder::replace(const Item& there, Item::Ref with) {
  assert(there.key() == with->key());
  ItemBlock& block = *there.block_;
  with->block_ = &block;
  return std::exchange(block.items[block.place_of(there)], std::move(with));
}

Item::Ref ItemOrder::remove(const Item& there) {
  --size_;
  ItemBlock& block = *there.block_;
  const std::size_t at = block.place_of(there);
  if (block.size > capacity / 4) return block.take(at);
  const auto place = blocks_.find(block.first());
  Item::Ref item = block.take(at);
  if (block.size == 0) {
    blocks_.erase(place);
  } else {
    merge_with_next(place);
  }
  return item;
}

// If the two together leave a good part of a block free, so that they do not have to part again soon.
void ItemOrder::merge_with_next(Blocks::iterator place) {
  const auto next = std::next(place);
  if (next == blocks_.end() || (*place)->size + (*next)->size > capacity / 2) return;
  (*next)->move_from(0, **place);
  blocks_.erase(next);
}

void ItemOrder::erase_until(const_iterator end) {
  for (auto block = blocks_.begin(); block != end.block_; ++block) size_ -= (*block)->size;
  blocks_.erase(blocks_.begin(), end.block_);
  if (end.at_ == 0) return;
  ItemBlock& block = **blocks_.begin();
  const auto kept = std::move(block.begin() + static_cast<std::ptrdiff_t>(end.at_), block.end(), block.begin());
  std::fill(kept, block.end(), nullptr);
  block.size -= end.at_;
  size_ -= end.at_;
}

void ItemOrder::fetch(const Item& there) const {
  fetch_memory(there.block_, sizeof(ItemBlock));
}

}  // namespace kv
