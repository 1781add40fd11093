// Transactions: what each operation would come to is found out first, so that one whose answer is too long changes
// nothing. An operation sees what those before it have done.
#include <unordered_map>
#include <utility>

#include "common/json_text.hpp"
#include "server/store.hpp"

namespace kv {
namespace {

using What = command::Operation::What;

// Of a frame and of each result in it: names, numbers, quotes, commas.
constexpr std::size_t answer_overhead_bytes = 128;
constexpr std::size_t result_overhead_bytes = 80;

std::size_t json_bytes(const TxnResult& result) {
  const std::size_t key_bytes = result.key.size() + json::needs_of(result.key).escape_bytes;
  return result_overhead_bytes + key_bytes + (result.value ? json::form_of_value(*result.value).bytes : 0);
}

// By key: the last operation that writes it, of those looked at so far.
using Writes = std::unordered_map<std::string_view, const command::Operation*>;

// What the operation finds: a value and its ts, or nothing.
struct Found {
  std::optional<std::string_view> value;
  std::uint64_t ts = 0;
};

Found state_of(const ItemMap& items, const Writes& writes, std::string_view key, std::uint64_t position) {
  if (const auto write = writes.find(key); write != writes.end()) {
    if (write->second->what == What::erase) return {};
    return {write->second->value, position};
  }
  const Item* item = items.find(key);
  return item ? Found{item->value(), item->ts()} : Found{};
}

TxnResult result_of(const command::Operation& operation, const Found& found, std::uint64_t position) {
  TxnResult result{operation.what, std::string(operation.key), {}, position, false};
  if (operation.what == What::erase) result.found = found.value.has_value();
  if (operation.what != What::get) return result;
  if (found.value) result.value = std::string(*found.value);
  result.ts = found.ts;
  return result;
}

}  // namespace

Applied Store::perform(std::uint64_t position, const command::Txn& txn) {
  TxnDone done{position, true, {}};
  for (const command::Condition& condition : txn.conditions) {
    if (condition.ts != ts_of(condition.key)) done.succeeded = false;
  }
  const std::vector<command::Operation>& operations = done.succeeded ? txn.then : txn.otherwise;

  Writes writes;
  std::size_t bytes = answer_overhead_bytes;
  for (const command::Operation& operation : operations) {
    const Found found = state_of(items_, writes, operation.key, position);
    const TxnResult& result = done.results.emplace_back(result_of(operation, found, position));
    bytes += json_bytes(result);
    if (bytes > max_txn_answer_bytes) return {TxnTooLarge{}, {}};
    if (operation.what != What::get) writes[operation.key] = &operation;
  }

  // A key that is written more than once has changed once.
  Applied applied{std::move(done), {}};
  for (const command::Operation& operation : operations) {
    const auto write = writes.find(operation.key);
    if (write == writes.end() || write->second != &operation) continue;
    if (operation.what == What::put) {
      applied.changes.push_back(put(position, operation.key, operation.value));
    } else if (items_.find(operation.key)) {
      applied.changes.push_back(erase(position, operation.key));
    }
  }
  return applied;
}

}  // namespace kv
