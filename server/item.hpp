// One key with its value, in one piece of memory: nearly all that a server keeps in memory, so nothing is spent on
// it that can be saved. For a key of 16 bytes and a value of 100 an item takes 160, its place in the order of keys
// 8 to 16, and its place in the index by hash 10 to 21.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace kv {

struct ItemBlock;  // see item_order.hpp

// Into the processor's caches.
inline void fetch_memory(const void* from, std::size_t bytes) {
  constexpr std::size_t cache_line = 64;
  for (std::size_t at = 0; at < bytes; at += cache_line) __builtin_prefetch(static_cast<const char*>(from) + at);
}

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

  friend ItemBlock;
  friend class ItemOrder;
  std::uint64_t ts_;
  std::uint64_t digest_;
  mutable ItemBlock* block_ = nullptr;  // in the map that has it
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

}  // namespace kv
