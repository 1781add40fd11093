// Pages of the items in their order.
#include <algorithm>

#include "common/json_text.hpp"
#include "server/store.hpp"

namespace kv {
namespace {

// Of an item in a LIST_OK: names, its ts, quotes, commas.
constexpr std::size_t item_overhead_bytes = 64;

std::size_t json_bytes(const Item& item, bool keys_only) {
  const std::size_t key_bytes = item.key().size() + json::needs_of(item.key()).escape_bytes;
  return item_overhead_bytes + key_bytes + (keys_only ? 0 : json::form_of_value(item.value()).bytes);
}

}  // namespace

Store::Page Store::list(std::string_view prefix, std::string_view after, std::size_t limit, std::size_t max_bytes,
                        bool keys_only) const {
  Page page;
  for (auto item = after < prefix ? items_.lower_bound(prefix) : items_.upper_bound(after);
       item != items_.end() && item->key().starts_with(prefix); ++item) {
    const std::size_t bytes = json_bytes(*item, keys_only);
    page.more = page.items.size() == limit || (page.bytes + bytes > max_bytes && !page.items.empty());
    if (page.more) break;
    page.bytes += bytes;
    page.items.push_back(&*item);
  }
  return page;
}

}  // namespace kv
