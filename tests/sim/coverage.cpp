#include "tests/sim/coverage.hpp"

#include <numeric>

namespace kv::sim {
namespace {

constexpr std::array<std::string_view, rules> rule_names = {
    "one leader a term",
    "one vote a term, across restarts",
    "log matching",
    "leader completeness",
    "what is committed is alike everywhere",
    "a leader counts copies of its own term only",
    "what a leader commits is on a majority of disks",
    "nothing is promised before it is durable",
    "term, commit and applied only grow",
    "recovery gives back what was durable",
    "damage is found",
    "a snapshot is the state at its position",
    "a disk error is final",
    "a server gives up only where its disk has failed or is full",
    "only known identities are heard",
    "an answered write is on a majority of disks",
    "equal digests at equal positions",
    "the state is what the model says",
    "a read is a true state",
    "a session read is as fresh as was asked",
    "a linearizable read is current",
    "a newer version is newer",
    "a newer version is not waited for in vain",
    "a list is a true state",
    "a transaction is what the model says",
    "a watch brings the next change",
    "a watch misses nothing",
    "a watch ends for cause",
    "nothing comes behind the end of a watch",
    "events come only to who takes them",
    "who watches on has all in the end",
    "one final answer a request",
    "a 'no' is never applied later",
    "a connection's writes enter the log in their order",
    "every request is answered",
    "a healed majority answers again",
    "a leader with a majority stays",
    "healed servers converge",
    "the clients' history holds",
};

constexpr std::array<std::string_view, faults> fault_names = {
    "process killed",
    "power lost",
    "killed during recovery",
    "terminated in order",
    "paused",
    "cut in one direction",
    "partition",
    "isolated server",
    "bridge",
    "link between servers reset",
    "message lost",
    "message delivered twice",
    "message overtaken",
    "message late",
    "client's connection reset",
    "slow disk",
    "hung disk",
    "sync failed",
    "write failed",
    "disk full",
    "write torn",
    "change of a name lost",
    "pages dropped after a failed sync",
    "bit flipped",
    "snapshot damaged",
    "a follower needs a snapshot",
    "disk wiped",
    "wiped disk given back",
    "clock drifts",
    "write retried",
    "read of the future",
    "a read waits for a newer version",
    "transaction retried",
    "watched on at another place",
    "watch from the past",
    "watch from the future",
    "watch cancelled",
    "watch refused or ended: compacted",
    "watch refused or ended: overloaded",
    "watch ended: shutting down",
    "client takes no events",
};

}  // namespace

std::string_view name_of(Rule rule) {
  return rule_names[static_cast<std::size_t>(rule)];
}

std::string_view name_of(Fault fault) {
  return fault_names[static_cast<std::size_t>(fault)];
}

std::uint64_t Coverage::all_faults() const {
  return std::accumulate(happened.begin(), happened.end(), std::uint64_t{0});
}

void Coverage::add(const Coverage& other) {
  for (std::size_t i = 0; i < rules; ++i) checked[i] += other.checked[i];
  for (std::size_t i = 0; i < faults; ++i) happened[i] += other.happened[i];
}

}  // namespace kv::sim
