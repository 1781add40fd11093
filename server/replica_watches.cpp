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

void Replica::note_changes(std::uint64_t position, Changes changes) {
  if (changes.empty()) return;
  WatchedChanges watched;
  watched.reserve(changes.size());
  for (Change& change : changes) {
    if (!newer_.empty()) wake_newer(change.key());
    watched.push_back({std::move(change.item), change.new_ts == 0});
  }
  watches_.record(position, std::move(watched), effects_.answers);
}

}  // namespace kv
