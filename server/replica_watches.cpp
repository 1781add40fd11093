// Who is told of changes: watches, and reads that wait for a key's next version.
#include <utility>

#include "server/replica.hpp"

namespace kv {

void Replica::watch(ClientId client, message::Request& request, const message::Watch& asked) {
  watches_.watch(client, request.id, asked, applied_.value, effects_.answers);
}

// What it got in this turn stands before the answer; behind it nothing of the watch comes.
void Replica::cancel(ClientId client, message::Request& request, const message::Cancel& asked) {
  const bool found = watches_.cancel(client, asked.watch);
  answer(client, request.id, message::CancelOk{asked.watch, found});
}

// The store is as the command at this position has left it.
void Replica::note_changes(std::uint64_t position, const std::vector<Change>& changes) {
  std::vector<WatchedChange> watched;
  watched.reserve(changes.size());
  for (const Change& change : changes) {
    const Item* item = change.new_ts == 0 ? nullptr : store_->find(change.key);
    watched.push_back({change.key, item ? std::optional<std::string>(item->value()) : std::nullopt});
    if (!newer_.empty()) wake_newer(change.key);
  }
  if (!watched.empty()) watches_.record(position, std::move(watched), effects_.answers);
}

}  // namespace kv
