// One key with its value, in one piece of memory, and the map of them: nearly all that a server keeps in memory, so
// nothing is spent on it that can be saved. For a key of 16 bytes and a value of 100 an item takes 160, its place
// in the order of keys 8 to 12, and its place in the index by hash 10 to 21.
#pragma once

#include <absl/container/btree_set.h>
#include <absl/container/flat_hash_set.h>

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace kv {

// Never changed: another value of a key is another item. The bytes of key and value lie behind the object itself.
class Item {
 public:
  class Ref;

  static constexpr std::size_t max_key_bytes = UINT16_MAX;
  // The value has less than 4 GiB.
  static Ref make(std::string_view key, std::string_view value, std::uint64_t ts);

  Item(const Item&) = delete;
  Item& operator=(const Item&) = delete;

  std::string_view key() const { return {bytes(), key_bytes_}; }
  std::string_view value() const { return {bytes() + key_bytes_, value_bytes_}; }
  std::uint64_t ts() const { return ts_; }
  std::uint64_t digest() const { return digest_; }  // snapshot::item_digest(), which takes long to find out

 private:
  Item(std::string_view key, std::string_view value, std::uint64_t ts);

  const char* bytes() const { return reinterpret_cast<const char*>(this + 1); }
  static void free(const Item* item);

  std::uint64_t ts_;
  std::uint64_t digest_;
  std::uint32_t value_bytes_;
  std::uint16_t key_bytes_;
  mutable std::uint16_t refs_ = 0;
};

// Keeps an item alive; may be null. The count is not atomic: all that hold one item do so on one thread at a time,
// and hand over a map of them only when nobody else holds any. There are few: the map, a walk, the ring of changes.
class Item::Ref {
 public:
  Ref() = default;
  Ref(std::nullptr_t) {}
  explicit Ref(const Item* item) : item_(item) {
    if (item_) ++item_->refs_;
  }
  Ref(const Ref& other) : Ref(other.item_) {}
  Ref(Ref&& other) noexcept : item_(std::exchange(other.item_, nullptr)) {}
  Ref& operator=(Ref other) noexcept {
    std::swap(item_, other.item_);
    return *this;
  }
  ~Ref() {
    if (item_ && --item_->refs_ == 0) free(item_);
  }

  const Item& operator*() const { return *item_; }
  const Item* operator->() const { return item_; }
  const Item* get() const { return item_; }
  explicit operator bool() const { return item_ != nullptr; }

 private:
  const Item* item_ = nullptr;
};

// The items by key: in byte order for those who go through them, and by hash for those who look for one, which
// takes no longer among a million than among a few. Iterators live until the next change.
class ItemMap {
 private:
  struct Slot {
    mutable Item::Ref item;  // replaced only by one with the same key
  };
  struct Order {
    using is_transparent = void;
    static std::string_view key(const Slot& slot) { return slot.item->key(); }
    static std::string_view key(std::string_view key) { return key; }
    bool operator()(const auto& a, const auto& b) const { return key(a) < key(b); }
  };
  using Set = absl::btree_set<Slot, Order>;
  struct Entry {
    mutable const Item* item;  // replaced with the slot's
  };
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view key) const;
    std::size_t operator()(Entry entry) const { return (*this)(entry.item->key()); }
  };
  struct Equal {
    using is_transparent = void;
    static std::string_view key(Entry entry) { return entry.item->key(); }
    static std::string_view key(std::string_view key) { return key; }
    bool operator()(const auto& a, const auto& b) const { return key(a) == key(b); }
  };
  using Index = absl::flat_hash_set<Entry, Hash, Equal>;

 public:
  class const_iterator {
   public:
    const Item& operator*() const { return *slot_->item; }
    const Item* operator->() const { return slot_->item.get(); }
    const_iterator& operator++() {
      ++slot_;
      return *this;
    }
    bool operator==(const const_iterator& other) const { return slot_ == other.slot_; }

   private:
    friend ItemMap;
    explicit const_iterator(Set::const_iterator slot) : slot_(slot) {}
    Set::const_iterator slot_;
  };

  std::size_t size() const { return set_.size(); }
  const Item* find(std::string_view key) const;  // nullptr: absent
  const Item* last() const;                      // with the greatest key; nullptr: the map is empty

  // Both return the item that was there, if one was.
  Item::Ref put(Item::Ref item);
  Item::Ref remove(std::string_view key);
  // For filling an empty map: each key is greater than those before, and none is found before all are indexed.
  void append(Item::Ref item);
  void index_appended();

  const_iterator begin() const { return const_iterator(set_.begin()); }
  const_iterator end() const { return const_iterator(set_.end()); }
  const_iterator lower_bound(std::string_view key) const { return const_iterator(set_.lower_bound(key)); }
  const_iterator upper_bound(std::string_view key) const { return const_iterator(set_.upper_bound(key)); }
  void erase(const_iterator first, const_iterator last);

 private:
  Set set_;
  Index index_;  // the same items
};

}  // namespace kv
