#include "client/diagnosis.hpp"

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>
#include <variant>

#include "common/text.hpp"

namespace kv::client {
namespace {

using std::chrono::milliseconds;

// A follower hears from its leader, and answers, many times in this.
constexpr std::uint64_t silent_ms = 1000;
// With fewer it is only on its way: writes are going on.
constexpr std::uint64_t many_positions = 1000;

const message::StatusOk* status_of(const NodeStatus& row) {
  return std::get_if<message::StatusOk>(&row.result);
}

const message::StatusOk* leader_of(const std::vector<NodeStatus>& rows) {
  const message::StatusOk* leader = nullptr;
  for (const NodeStatus& row : rows) {
    const message::StatusOk* status = status_of(row);
    // One that was replaced may not know yet.
    if (status && status->role == "leader" && (!leader || status->term > leader->term)) leader = status;
  }
  return leader;
}

std::string shown(std::uint64_t ms) {
  return format_duration(milliseconds(ms));
}

// Of a server that lacks what others have committed.
std::string why_it_lacks(const message::StatusOk& status, std::uint64_t behind, const message::StatusOk* leader) {
  if (!leader) return "and no leader could be asked why";
  const std::string name = escape_control(leader->node);
  const auto peer = std::find_if(leader->peers.begin(), leader->peers.end(),
                                 [&](const message::PeerStatus& one) { return one.node == status.node; });
  if (peer != leader->peers.end() && peer->last_contact_ms > silent_ms) {
    return "the leader " + name + " has heard nothing from it for " + shown(peer->last_contact_ms) +
           ": look at the network between them, and at its log";
  }
  if (behind < many_positions) return "";
  return "the leader " + name + " is sending it what it lacks (it has the log up to " +
         std::to_string(status.log_last) + ")";
}

// Empty: nothing that needs to be told.
std::string why_behind(const message::StatusOk& status, std::uint64_t committed, const message::StatusOk* leader) {
  const std::uint64_t behind = committed - std::min(committed, status.applied);
  if (behind == 0) return "";
  std::string why;
  if (status.log_last < committed) {
    why = why_it_lacks(status, behind, leader);
  } else if (status.delay_ms > 0) {
    why = "it has everything and applies it " + shown(status.delay_ms) + " late: --delay-replication";
  } else if (behind >= many_positions) {
    why = "it has everything in its log and is applying it";
  }
  return why.empty() ? "" : escape_control(status.node) + " is " + std::to_string(behind) + " behind: " + why;
}

std::string why_full(const message::StatusOk& status) {
  if (status.quota != 0 && status.bytes >= status.quota) {
    return " has reached its quota (" + format_size(status.bytes) + " of " + format_size(status.quota) +
           "): writes that add get NO_SPACE; delete keys, or raise --quota";
  }
  return " has no room, on its disk or on those of a majority: writes that add get NO_SPACE; make room there "
         "(deleting keys helps if a snapshot of the rest fits beside the log)";
}

// What two servers have applied up to one position is the same, or the first promise of all is broken.
std::vector<std::string> contradictions(const std::vector<NodeStatus>& rows) {
  std::map<std::uint64_t, const message::StatusOk*> first_at;
  std::vector<std::string> found;
  for (const NodeStatus& row : rows) {
    const message::StatusOk* status = status_of(row);
    if (!status || status->digest.empty()) continue;
    const message::StatusOk* first = first_at.try_emplace(status->applied, status).first->second;
    if (first->digest == status->digest) continue;
    found.push_back("the data of " + escape_control(first->node) + " and " + escape_control(status->node) +
                    " differ at " + std::to_string(status->applied) +
                    ", which must never be: stop writing, keep their data directories, and report it");
  }
  return found;
}

}  // namespace

std::uint64_t highest_committed(const std::vector<NodeStatus>& rows) {
  std::uint64_t highest = 0;
  for (const NodeStatus& row : rows) {
    if (const message::StatusOk* ok = status_of(row)) highest = std::max({highest, ok->committed, ok->applied});
  }
  return highest;
}

bool has_leader(const std::vector<NodeStatus>& rows) {
  return leader_of(rows) != nullptr;
}

std::vector<std::string> troubles_of(const std::vector<NodeStatus>& rows) {
  const std::uint64_t committed = highest_committed(rows);
  const message::StatusOk* leader = leader_of(rows);
  std::vector<std::string> troubles;
  for (const NodeStatus& row : rows) {
    const message::StatusOk* status = status_of(row);
    if (!status) {
      troubles.push_back(row.address + ": " + escape_control(std::get<std::string>(row.result)));
      continue;
    }
    const std::string node = escape_control(status->node);
    if (const std::string why = why_behind(*status, committed, leader); !why.empty()) troubles.push_back(why);
    if (status->role != "leader" && status->leader.empty()) {
      troubles.push_back(node +
                         " knows no leader: an election is under way, it reaches no majority of the members, or "
                         "its disk takes no write");
    }
    if (status->full) troubles.push_back(node + why_full(*status));
  }
  for (std::string& one : contradictions(rows)) troubles.push_back(std::move(one));
  return troubles;
}

}  // namespace kv::client
