// Who belongs to the cluster, and who leads it: INIT of clients, the members' addresses in the log, handing
// leadership over at a stop and to the preferred leader.
#include <algorithm>
#include <utility>

#include "server/replica.hpp"

namespace kv {
namespace {

constexpr std::uint64_t preferred_memory = 60'000 / tick_ms;  // a loss within this doubles the wait
constexpr std::uint64_t caught_up_entries = 1000;
constexpr std::size_t max_waiting_inits = 100'000;

}  // namespace

// ---- INIT and members

void Replica::init(ClientId client, message::Request& request) {
  const auto& asked = std::get<message::Init>(request.body);
  if (asked.protocol != protocol_version) {
    refuse(client, request.id, message::Code::bad_request,
           "this server speaks protocol 1, not " + std::to_string(asked.protocol));
    return;
  }
  if (store_->members() || (roster_.bound() && raft_.commit() >= raft::Index(1))) {
    answer_init(client, request.id, request.cluster);
    return;
  }
  if (waiting_inits_.size() >= max_waiting_inits) {
    refuse(client, request.id, message::Code::overloaded, config_.self.node + " has too many waiting clients");
    return;
  }
  const std::uint64_t deadline = deadline_of(request.timeout_ms);
  expect(deadline);
  waiting_inits_.push_back({client, request.id, std::move(request.cluster), deadline});
}

// INIT_OK, or CLUSTER_MISMATCH where the client remembers another cluster.
void Replica::answer_init(ClientId client, std::uint64_t id, const std::string& remembered) {
  const command::Members& members = *roster_.bound();
  if (!remembered.empty() && remembered != members.cluster) {
    message::Error error;
    error.code = message::Code::cluster_mismatch;
    error.cluster = members.cluster;
    error.message = config_.self.node + " belongs to cluster " + members.cluster +
                    ", not to the one that the client remembers: forget what was learned of that one, or ask its "
                    "servers";
    answer(client, id, std::move(error));
    return;
  }
  message::InitOk ok;
  ok.server = config_.server;
  ok.cluster = members.cluster;
  ok.node = config_.self.node;
  ok.leader = raft_.leader().name;
  ok.applied = applied_.value;
  for (const auto& member : members.members) ok.members.push_back({member.node, member.client_address});
  answer(client, id, std::move(ok));
}

void Replica::keep_members_current() {
  if (members_proposed_ || stopping_ || now_ % config_.heartbeat_ticks != 0) return;
  const std::optional<command::Members> news = roster_.with_news();
  if (!news) return;
  if (raft_.propose({raft::Payload(command::encode(*news))})) members_proposed_ = true;
}

// ---- Leadership

// To whoever has most of the log, when this server stops.
void Replica::hand_over() {
  const raft::Progress* best = nullptr;
  std::string best_name;
  for (const std::string& name : roster_.names()) {
    const raft::Progress* progress = raft_.progress_of(raft::NodeId(name));
    if (!progress || progress->full || progress->needs_snapshot() || !roster_.is_reached(name)) continue;
    if (best && best->match >= progress->match) continue;
    best = progress;
    best_name = name;
  }
  if (best) raft_.transfer(raft::NodeId(best_name));
}

void Replica::keep_preferred_leader() {
  if (!raft_.leads() || raft_.transferring()) return;
  if (stopping_) {
    hand_over();
    return;
  }
  // Others may have room where this server has none.
  if (!has_room() && majority_has_room_ && now_ % config_.election_ticks == 0) {
    const char* what = disk_has_room_ ? "has no room for a snapshot" : "is full";
    notice(Notice::Level::info, std::string("handing leadership over: this server's disk ") + what);
    hand_over();
    return;
  }
  if (std::exchange(preferred_asked_, false)) note_preferred_loss();  // it was asked, and did not get elected
  const std::string& preferred = config_.preferred_leader;
  if (preferred.empty() || preferred == config_.self.node || !roster_.is_reached(preferred)) return;
  const raft::Progress* progress = raft_.progress_of(raft::NodeId(preferred));
  const bool caught_up = progress && progress->mode == raft::Progress::Mode::replicate &&
                         progress->match + caught_up_entries >= raft_.log().last_index() &&
                         progress->ticks_since_contact <= 2 * config_.heartbeat_ticks && !progress->full;
  preferred_ready_ticks_ = caught_up ? preferred_ready_ticks_ + 1 : 0;
  if (preferred_ready_ticks_ < preferred_wait_ticks_) return;
  preferred_ready_ticks_ = 0;
  preferred_asked_ = true;
  notice(Notice::Level::info, "handing leadership to " + preferred + ", the preferred leader");
  raft_.transfer(raft::NodeId(preferred));
}

// A node that keeps losing leadership, or fails to get it, is given it ever more seldom.
void Replica::note_preferred_loss() {
  const bool again =
      preferred_lost_at_ != 0 && now_ - preferred_lost_at_ < preferred_memory + preferred_wait_ticks_;
  preferred_wait_ticks_ = again ? std::min(2 * preferred_wait_ticks_, preferred_wait_most) : preferred_wait;
  preferred_lost_at_ = now_;
}

}  // namespace kv
