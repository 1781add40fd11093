#include "server/raft/tracker.hpp"

#include <algorithm>
#include <functional>
#include <utility>

#include "server/raft/invariant.hpp"

namespace kv::raft {

void Progress::restart(Index last) {
  mode = Mode::probe;
  next = (match == Index{} ? last : match).next();
  probe_sent = false;
  in_flight.clear();
  in_flight_bytes = 0;
}

void Progress::acknowledge(Index matched) {
  if (matched > match) match = matched;
  if (next <= match) next = match.next();
  while (!in_flight.empty() && in_flight.front().last <= match) {
    in_flight_bytes -= in_flight.front().bytes;
    in_flight.pop_front();
  }
  probe_sent = false;
}

void Progress::note_sent(Sent sent) {
  in_flight.push_back(sent);
  in_flight_bytes += sent.bytes;
  next = sent.last.next();
}

Quorum::Quorum(std::vector<NodeId> voters) : voters_(std::move(voters)) {
  std::sort(voters_.begin(), voters_.end());
  invariant(!voters_.empty(), "a cluster has at least one voter");
  invariant(std::adjacent_find(voters_.begin(), voters_.end()) == voters_.end(), "voters are distinct");
}

bool Quorum::contains(const NodeId& id) const {
  return std::binary_search(voters_.begin(), voters_.end(), id);
}

Index Quorum::reached(std::vector<Index> positions) const {
  invariant(positions.size() == voters_.size(), "one position a voter");
  const auto at = positions.begin() + static_cast<std::ptrdiff_t>(majority() - 1);
  std::nth_element(positions.begin(), at, positions.end(), std::greater<>{});
  return *at;
}

void Votes::record(const NodeId& from, bool granted) {
  // A refusal may be of an earlier question, late on its way; a vote that was given once stands.
  if (granted) granted_.insert(from);
}

}  // namespace kv::raft
