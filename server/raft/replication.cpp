// Replication: both sides of AppendEntries (Raft §5.3), the commit rule (§5.4.2), linearizable reads
// (dissertation §6.4) and the leader's side of a transfer (§3.10).
#include <algorithm>
#include <utility>

#include "server/raft/invariant.hpp"
#include "server/raft/raft.hpp"

namespace kv::raft {
namespace {

constexpr std::size_t max_waiting_refusals = 64;  // while the disk hangs

}  // namespace

// ---- The follower's side

bool Raft::is_well_formed(const AppendRequest& request) const {
  Position before{request.prev_index, request.prev_term};
  for (const Entry& entry : request.entries) {
    if (entry.index != before.index.next() || entry.term < before.term) return false;
    before = {entry.index, entry.term};
  }
  return before.term <= request.term;
}

bool Raft::hear_leader(const NodeId& from, Term its_term) {
  if (from == config_.self || !quorum_.contains(from)) return false;
  if (its_term < term()) {
    // The answer's term makes the old leader step down (Raft figure 2, AppendEntries 1). It says nothing else: the
    // rounds and positions of the old term mean something different to a leader of this one.
    send_.push_back({from, AppendReply{term(), false, {}, 0, {}, {}, {}}});
    return false;
  }
  if (its_term == term() && leads()) return false;  // there is one leader a term; this is not from a peer of ours
  const auto* follower = std::get_if<Follower>(&role_);
  if (its_term > term() || !follower || follower->leader != from) become_follower(its_term, from);
  reset_election_timer();
  return true;
}

void Raft::receive_from(const NodeId& from, const AppendRequest& request) {
  if (request.leader != from || !is_well_formed(request)) return;
  if (!hear_leader(from, request.term)) return;
  const Position previous{request.prev_index, request.prev_term};
  if (request.prev_index >= log_.base_index() && !log_.matches(previous)) {
    refuse(from, request);
    return;
  }
  const bool brought_entries = accept(request);
  // Never past what this very message has verified (Raft figure 2, AppendEntries 5).
  const Index verified = std::max(request.prev_index + request.entries.size(), log_.base_index());
  commit_ = std::max(commit_, std::min(request.commit, verified));
  acknowledge(from, verified, request.round, brought_entries);
}

void Raft::refuse(const NodeId& from, const AppendRequest& request) {
  const Position hint = log_.last_at_most({request.prev_index, request.prev_term});
  const AppendReply reply{term(), false, {}, request.round, request.prev_index, hint.index, hint.term};
  // It promises no entry, but the term has to be durable as for every answer.
  if (term_is_durable()) {
    send_.push_back({from, reply});
  } else if (send_after_.size() < max_waiting_refusals) {
    send_after_.push_back({from, reply});  // a lost one is asked for again with the next heartbeat
  }
}

// Whether the log has got anything new.
bool Raft::accept(const AppendRequest& request) {
  bool brought_entries = false;
  for (const Entry& entry : request.entries) {
    if (entry.index <= log_.base_index()) continue;  // part of a snapshot, so committed
    const std::optional<Term> ours = log_.term_at(entry.index);
    if (ours == entry.term) continue;  // a repeated message must not cut what came after it
    if (ours) {
      invariant(entry.index > commit_, "a committed entry is never replaced");
      log_.truncate_from(entry.index);
      const Index kept = entry.index.previous();
      handed_ = std::min(handed_, kept);
      writing_last_ = std::min(writing_last_, kept);
      durable_ = std::min(durable_, kept);
    }
    log_.append(entry);
    brought_entries = true;
  }
  return brought_entries;
}

void Raft::acknowledge(const NodeId& from, Index verified, std::uint64_t round, bool brought_entries) {
  // What is durable is acknowledged at once. So is a heartbeat and the question of a new round, which promise no
  // entry: a slow disk delays promises and nothing but promises.
  const bool all_durable = verified <= durable_;
  if (term_is_durable() && (all_durable || !brought_entries || round > round_answered_)) {
    send_.push_back({from, AppendReply{term(), true, std::min(verified, durable_), round, {}, {}, {}}});
    round_answered_ = std::max(round_answered_, round);
    if (all_durable) return;
  }
  if (acknowledgement_ && acknowledgement_->to == from) verified = std::max(verified, acknowledgement_->verified);
  acknowledgement_ = Acknowledgement{from, verified, round};
}

// ---- The leader's side

void Raft::append_own(Payload command) {
  log_.append(Entry{term(), log_.last_index().next(), std::move(command)});
}

void Raft::receive_from(const NodeId& from, const AppendReply& reply) {
  if (reply.term > term()) {
    become_follower(reply.term, NodeId{});
    return;
  }
  auto* leader = std::get_if<Leader>(&role_);
  if (!leader || reply.term < term()) return;
  Progress& progress = leader->peers.at(from);
  progress.active = true;
  progress.ticks_since_contact = 0;
  progress.full = reply.full;
  progress.wants_snapshot = reply.wants_snapshot;
  if (reply.round <= leader->round) progress.round_acked = std::max(progress.round_acked, reply.round);
  if (!reply.success) {
    back_up(progress, reply);
  } else if (reply.match <= log_.last_index()) {
    progress.acknowledge(reply.match);
    // Who needs a snapshot has it when it has got to where the log begins.
    const bool follows = progress.mode != Progress::Mode::snapshot || progress.match >= log_.base_index();
    if (follows) progress.mode = Progress::Mode::replicate;
    advance_commit();
  }
  confirm_reads(*leader);
}

void Raft::back_up(Progress& progress, const AppendReply& reply) {
  if (reply.rejected <= progress.match) return;           // late: a newer answer has matched further
  if (progress.mode == Progress::Mode::snapshot) return;  // it still has to get what it lacks
  if (progress.mode == Progress::Mode::replicate) {
    progress.restart(log_.last_index());  // a message was lost on the way
    return;
  }
  if (reply.rejected != progress.next.previous()) return;  // not the probe that was asked last
  const Position agreed =
      log_.last_at_most({std::min(reply.hint_index, reply.rejected.previous()), reply.hint_term});
  progress.next = std::max(agreed.index, progress.match).next();
  progress.probe_sent = false;
}

void Raft::advance_commit() {
  auto& leader = std::get<Leader>(role_);
  std::vector<Index> matches{durable_};  // its own copy counts when it is durable, like the others'
  for (const auto& [id, progress] : leader.peers) matches.push_back(progress.match);
  const Index reached = quorum_.reached(std::move(matches));
  // Counting copies commits entries of the own term only; they carry the older ones along (Raft §5.4.2).
  if (reached > commit_ && log_.term_at(reached) == term()) commit_ = reached;
}

void Raft::feed_peers(Leader& leader) {
  for (auto& [peer, progress] : leader.peers) feed(leader, peer, progress);
}

void Raft::feed(Leader& leader, const NodeId& peer, Progress& progress) {
  if (progress.heartbeat_due) progress.probe_sent = false;
  if (progress.next <= log_.base_index()) {
    progress.mode = Progress::Mode::snapshot;
    // Its heartbeats ask for the place from which the log could follow: so it is seen when it has come there.
    progress.next = log_.base_index().next();
  }
  bool sent = false;
  if (progress.mode == Progress::Mode::probe) {
    if (!progress.probe_sent) {
      send_append(leader, peer, progress,
                  log_.slice(progress.next, log_.last_index(), config_.limits.max_append_bytes));
      progress.probe_sent = true;
      sent = true;
    }
  } else if (progress.mode == Progress::Mode::replicate) {
    while (progress.next <= due(progress) && has_window(progress)) {
      auto entries = log_.slice(progress.next, due(progress), config_.limits.max_append_bytes);
      Progress::Sent message{entries.back().index, 0};
      for (const Entry& entry : entries) message.bytes += entry.bytes();
      send_append(leader, peer, progress, std::move(entries));
      progress.note_sent(message);
      sent = true;
    }
  }
  // A reads' question and a heartbeat go out at once, alone if need be; and so does a new commit position, but for
  // entries that go in a moment and take it along.
  const bool news = progress.mode == Progress::Mode::replicate && progress.commit_sent < commit_ &&
                    progress.next > log_.last_index();
  if (!sent && (news || progress.heartbeat_due || progress.round_sent < leader.round)) {
    send_append(leader, peer, progress, {});
  }
  progress.heartbeat_due = false;
}

// The last entry that should go to a peer now. While it has not answered for what it has got, what comes in gathers
// until our own disk takes it as well: a batch costs everyone much the same, however few entries are in it.
Index Raft::due(const Progress& progress) const {
  return progress.in_flight.empty() ? log_.last_index() : handed_;
}

bool Raft::has_window(const Progress& progress) const {
  return progress.in_flight.size() < config_.limits.max_in_flight &&
         progress.in_flight_bytes < config_.limits.max_in_flight_bytes;
}

void Raft::send_append(Leader& leader, const NodeId& peer, Progress& progress, std::vector<Entry> entries) {
  const Index previous = progress.next.previous();
  const std::optional<Term> previous_term = log_.term_at(previous);
  invariant(previous_term.has_value(), "the entry before the next one is in the log");
  send_.push_back({peer, AppendRequest{term(), config_.self, previous, *previous_term, std::move(entries), commit_,
                                       leader.round}});
  progress.commit_sent = commit_;
  progress.round_sent = leader.round;
}

// ---- Linearizable reads: a round of questions to all for each batch of reads

void Raft::start_read_round(Leader& leader) {
  if (leader.asked || leader.waiting_reads.empty()) return;
  // Before an entry of its own term is committed a leader does not know what is (dissertation §6.4, step 1).
  if (commit_ < leader.first_of_term) return;
  ++leader.round;
  leader.asked = ReadRound{leader.round, commit_, std::exchange(leader.waiting_reads, {})};
  confirm_reads(leader);
}

void Raft::confirm_reads(Leader& leader) {
  if (!leader.asked) return;
  std::size_t confirmed = 1;
  for (const auto& [id, progress] : leader.peers) {
    if (progress.round_acked >= leader.asked->round) ++confirmed;
  }
  if (confirmed < quorum_.majority()) return;
  for (const std::uint64_t id : leader.asked->ids) safe_reads_.push_back({id, leader.asked->index});
  leader.asked.reset();
}

void Raft::continue_transfer(Leader& leader) {
  if (!leader.transfer || leader.transfer->told) return;
  if (leader.peers.at(leader.transfer->to).match != log_.last_index()) return;
  send_.push_back({leader.transfer->to, TimeoutNow{term(), config_.self}});
  leader.transfer->told = true;
}

}  // namespace kv::raft
