// What a server says of itself when it is asked how it is.
#include "common/snapshot_format.hpp"
#include "server/replica.hpp"

namespace kv {
namespace {

std::string_view name_of(raft::Role role) {
  switch (role) {
    case raft::Role::leader:
      return "leader";
    case raft::Role::follower:
      return "follower";
    case raft::Role::candidate:
    case raft::Role::pre_candidate:
      return "candidate";
  }
  return "";
}

}  // namespace

message::StatusOk Replica::status() const {
  message::StatusOk status;
  status.node = config_.self.node;
  status.cluster = roster_.cluster();
  status.role = name_of(raft_.role());
  status.term = raft_.term().value;
  status.leader = raft_.leader().name;
  status.committed = raft_.commit().value;
  status.applied = applied_.value;
  status.log_first = raft_.log().first_index().value;
  status.log_last = raft_.log().last_index().value;
  status.snapshot = snapshot_.index.value;
  status.keys = store_->keys();
  status.bytes = store_->bytes();
  status.quota = config_.quota;
  status.full = !may_add() || (config_.quota != 0 && store_->bytes() >= config_.quota);
  status.digest = snapshot::digest_text(store_->content_digest());
  status.waiting = waiting_reads();
  status.watching = watches_.size();
  status.delay_ms = config_.delay_ticks * tick_ms;
  for (const std::string& name : roster_.names()) {
    const raft::Progress* progress = raft_.progress_of(raft::NodeId(name));
    if (progress) status.peers.push_back({name, progress->match.value, progress->ticks_since_contact * tick_ms});
  }
  return status;
}

}  // namespace kv
