#include "server/item.hpp"

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

}  // namespace kv
