#include "server/raft/raft.hpp"

#include <algorithm>
#include <limits>
#include <utility>

#include "server/raft/invariant.hpp"

namespace kv::raft {
namespace {

// Entries; of a long log more.
constexpr std::uint64_t forgotten_at_once = 1024;

}  // namespace

Raft::Raft(Config config, Restored restored)
    : config_(std::move(config)),
      quorum_(config_.voters),
      log_(restored.base, restored.entries),
      hard_state_(std::move(restored.hard_state)),
      commit_(std::max(restored.commit, restored.base.index)),
      mark_(std::move(restored.mark_due)),
      begins_behind_(restored.has_begun ? Index{} : restored.base.index),
      lacks_state_(restored.lacks_state),
      random_(config_.seed),
      // Where the disk has not been told of the snapshot, it need not know its term either.
      handed_hard_state_(mark_ ? HardState{} : hard_state_),
      durable_hard_state_(handed_hard_state_),
      handed_(log_.last_index()),
      writing_last_(log_.last_index()),
      durable_(log_.last_index()),
      taken_(log_.base_index()) {
  invariant(quorum_.contains(config_.self), "this server is one of the voters");
  invariant(config_.heartbeat_ticks > 0 && config_.election_ticks > config_.heartbeat_ticks,
            "heartbeats come more often than elections");
  invariant(commit_ <= log_.last_index(), "what is committed is in the log");
  invariant(log_.last_term() <= hard_state_.term, "no entry is newer than the term");
  start_election_timer();
  told_ = {role(), term(), leader()};
}

Role Raft::role() const {
  switch (role_.index()) {
    case 0:
      return Role::follower;
    case 1:
      return Role::pre_candidate;
    case 2:
      return Role::candidate;
    default:
      return Role::leader;
  }
}

NodeId Raft::leader() const {
  if (leads()) return config_.self;
  const auto* follower = std::get_if<Follower>(&role_);
  return follower ? follower->leader : NodeId{};
}

bool Raft::transferring() const {
  const auto* leader = std::get_if<Leader>(&role_);
  return leader && leader->transfer;
}

const Progress* Raft::progress_of(const NodeId& peer) const {
  const auto* leader = std::get_if<Leader>(&role_);
  if (!leader) return nullptr;
  const auto found = leader->peers.find(peer);
  return found == leader->peers.end() ? nullptr : &found->second;
}

void Raft::tick() {
  if (writing_) ++write_ticks_;
  if (auto* leader = std::get_if<Leader>(&role_)) {
    tick_leader(*leader);
    return;
  }
  ++election_ticks_;
  if (election_ticks_ >= election_timeout_ && may_stand()) start_pre_vote();
}

void Raft::tick_leader(Leader& leader) {
  for (auto& [id, progress] : leader.peers) ++progress.ticks_since_contact;
  if (++leader.heartbeat_ticks >= config_.heartbeat_ticks) {
    leader.heartbeat_ticks = 0;
    for (auto& [id, progress] : leader.peers) progress.heartbeat_due = true;
  }
  if (leader.transfer && ++leader.transfer->ticks >= config_.election_ticks) leader.transfer.reset();
  if (disk_hangs()) {
    // Its heartbeats alone would keep the others from electing one that can write.
    become_follower(term(), NodeId{});
    return;
  }
  if (++leader.quorum_ticks < config_.election_ticks) return;
  // CheckQuorum: a leader that a majority no longer answers steps down, so that its clients hear of it and
  // the others' votes are free (dissertation §6.2).
  leader.quorum_ticks = 0;
  std::size_t active = 1;
  for (auto& [id, progress] : leader.peers) {
    if (std::exchange(progress.active, false)) ++active;
  }
  if (active < quorum_.majority()) become_follower(term(), NodeId{});
}

void Raft::receive(const NodeId& from, const Message& message) {
  if (from == config_.self || !quorum_.contains(from)) return;
  std::visit([&](const auto& m) { receive_from(from, m); }, message);
}

std::optional<Index> Raft::propose(std::vector<Payload> commands) {
  auto* leader = std::get_if<Leader>(&role_);
  if (!leader || leader->transfer || commands.empty()) return std::nullopt;
  const Index first = log_.last_index().next();
  for (Payload& command : commands) append_own(std::move(command));
  return first;
}

bool Raft::read(std::uint64_t id) {
  auto* leader = std::get_if<Leader>(&role_);
  if (!leader) return false;
  leader->waiting_reads.push_back(id);
  return true;
}

void Raft::written(std::uint64_t write_id) {
  invariant(writing_ == write_id, "the write that ends is the one under way");
  writing_.reset();
  write_ticks_ = 0;
  durable_hard_state_ = handed_hard_state_;
  durable_ = std::max(durable_, writing_last_);
  if (leads()) advance_commit();
}

void Raft::transfer(const NodeId& to) {
  auto* leader = std::get_if<Leader>(&role_);
  if (!leader || !leader->peers.contains(to)) return;
  if (leader->transfer && leader->transfer->to == to) return;
  leader->transfer = Transfer{to, 0, false};
}

void Raft::link_changed(const NodeId& peer) {
  auto* leader = std::get_if<Leader>(&role_);
  if (!leader) return;
  const auto found = leader->peers.find(peer);
  if (found == leader->peers.end()) return;
  found->second.restart(log_.last_index());
  found->second.heartbeat_due = true;
}

// ---- Snapshots

void Raft::snapshot_saved(SnapshotMark mark, Index droppable, Index forget) {
  invariant(mark.position.index <= taken_, "a snapshot holds what has been applied");
  invariant(std::max(droppable, forget) <= mark.position.index, "only what a snapshot holds is forgotten");
  if (!mark_ || !mark_->resets_log) mark_ = std::move(mark);
  droppable_ = std::max(droppable_, droppable);
  forget_up_to(forget);
  forget_some();
}

// To free much at once takes longer than a write should have to wait. What the disk has not been given yet must
// stay.
void Raft::forget_some() {
  if (!is_forgetting()) return;
  const std::uint64_t left = std::min(forget_, handed_) - log_.base_index();
  log_.compact(log_.base_index() + std::min(left, std::max(forgotten_at_once, left / 64)));
}

bool Raft::install(Position position, Payload context) {
  const bool has_it = lacks_state_ ? position.index < log_.base_index() : position.index <= commit_;
  if (!has_it) {
    begins_behind_ = context ? Index{} : position.index;
    mark_ = SnapshotMark{position, std::move(context), !log_.matches(position)};
    if (mark_->resets_log) {
      log_.reset(position);
      handed_ = position.index;
      // Nothing of this log is durable before the mark is; nor is what the write under way brings to the old one.
      durable_ = writing_last_ = Index{};
    }
    commit_ = std::max(commit_, position.index);
    taken_ = position.index;
    lacks_state_ = false;
  }
  // It is committed, so whoever leads has it.
  if (const auto* follower = std::get_if<Follower>(&role_); follower && !follower->leader.empty()) {
    acknowledge(follower->leader, position.index, round_answered_, true);
  }
  return !has_it;
}

void Raft::set_term(Term term) {
  invariant(term >= hard_state_.term, "terms only grow");
  if (term == hard_state_.term) return;  // the vote of this term stays (Raft §5.2)
  hard_state_ = HardState{term, NodeId{}};
  acknowledgement_.reset();
  round_answered_ = 0;
}

void Raft::become_follower(Term term, NodeId leader) {
  follow(term, std::move(leader));
  reset_election_timer();
}

void Raft::follow(Term term, NodeId leader) {
  if (auto* led = std::get_if<Leader>(&role_)) {
    if (led->asked) dropped_reads_.insert(dropped_reads_.end(), led->asked->ids.begin(), led->asked->ids.end());
    dropped_reads_.insert(dropped_reads_.end(), led->waiting_reads.begin(), led->waiting_reads.end());
  }
  set_term(term);
  role_ = Follower{std::move(leader)};
}

Output Raft::take_output() {
  Output output;
  take_write(output);
  if (auto* leader = std::get_if<Leader>(&role_)) {
    start_read_round(*leader);
    continue_transfer(*leader);
    feed_peers(*leader);
  }
  take_messages(output);
  forget_some();
  if (!lacks_state_) {
    invariant(commit_ <= log_.last_index(), "what is committed is in the log");
    output.committed = log_.slice(taken_.next(), commit_, std::numeric_limits<std::size_t>::max());
    taken_ = taken_ + output.committed.size();
  }
  output.reads = std::exchange(safe_reads_, {});
  output.dropped_reads = std::exchange(dropped_reads_, {});
  if (const Output::Changed now{role(), term(), leader()}; now != told_) {
    told_ = now;
    output.changed = now;
  }
  return output;
}

// That this server's own state is in a snapshot may be said of what the disk's log holds.
bool Raft::mark_is_due() const {
  return mark_ && (mark_->resets_log || mark_->position.index <= durable_);
}

void Raft::take_write(Output& output) {
  if (writing_) return;
  const bool new_hard_state = hard_state_ != handed_hard_state_;
  if (!new_hard_state && handed_ == log_.last_index() && !mark_is_due()) return;
  Write write;
  write.id = next_write_++;
  if (new_hard_state) write.hard_state = hard_state_;
  write.entries = log_.slice(handed_.next(), log_.last_index(), config_.limits.max_write_bytes);
  handed_ = handed_ + write.entries.size();
  write.commit = std::min(commit_, handed_);
  if (mark_is_due()) {
    write.snapshot = std::exchange(mark_, std::nullopt);
    handed_mark_ = write.snapshot->position.index;
  }
  // Without a mark that accounts for it, what was dropped would be missed.
  write.droppable = std::min(droppable_, handed_mark_);
  writing_ = write.id;
  handed_hard_state_ = hard_state_;
  writing_last_ = handed_;
  output.write = std::move(write);
}

// What a leader must know of this server beside its answer.
void Raft::add_condition(std::vector<Envelope>& envelopes) const {
  if (!full_ && !lacks_state_) return;
  for (Envelope& envelope : envelopes) {
    auto* reply = std::get_if<AppendReply>(&envelope.message);
    if (!reply) continue;
    reply->full = full_;
    if (lacks_state_) reply->wants_snapshot = log_.base_index();
  }
}

void Raft::take_messages(Output& output) {
  add_condition(send_);
  output.send = std::exchange(send_, {});
  const bool earlier_write_under_way = writing_ && !output.write;
  if (earlier_write_under_way) return;  // what waits for the disk leaves with the next write
  if (acknowledgement_) {
    // A big batch goes to the disk in parts: what this one covers is acknowledged with it.
    const Index covered = std::min(acknowledgement_->verified, handed_);
    send_after_.push_back(
        {acknowledgement_->to, AppendReply{term(), true, covered, acknowledgement_->round, {}, {}, {}}});
    if (covered == acknowledgement_->verified) acknowledgement_.reset();
  }
  add_condition(send_after_);
  if (output.write) {
    output.send_after = std::exchange(send_after_, {});
    return;
  }
  // Nothing is left to write: all that these promise is durable already.
  std::move(send_after_.begin(), send_after_.end(), std::back_inserter(output.send));
  send_after_.clear();
}

}  // namespace kv::raft
