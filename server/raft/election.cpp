// Elections: PreVote (dissertation §9.6), votes (Raft §5.2, §5.4.1), leadership transfer (dissertation §3.10).
#include <utility>

#include "server/raft/invariant.hpp"
#include "server/raft/raft.hpp"

namespace kv::raft {

void Raft::start_election_timer() {
  election_ticks_ = 0;
  election_timeout_ = config_.heartbeat_ticks;
  if (quorum_.voters().size() == 1) {
    election_timeout_ = 1;  // nobody else could lead
  } else if (!config_.stands_first) {
    // A server that has just started asks sooner than the full timeout: PreVote keeps it from disturbing a
    // leader that the others hear (dissertation §9.6).
    election_timeout_ += 1 + static_cast<std::uint32_t>(random_() % (config_.election_ticks / 2 + 1));
  }
}

void Raft::reset_election_timer() {
  election_ticks_ = 0;
  election_timeout_ = config_.election_ticks;
  // Drawn anew each time, so that split votes are rare and soon resolved (Raft §5.2).
  if (!config_.stands_first) election_timeout_ += static_cast<std::uint32_t>(random_() % config_.election_ticks);
}

void Raft::ask_again_soon() {
  // A question promises and disturbs nothing, so it needs no full timeout: the others may hear the end of the
  // leader's lease a moment later than this server did.
  election_ticks_ = 0;
  const std::uint32_t quarter = config_.election_ticks / 4 + 1;
  election_timeout_ = quarter + static_cast<std::uint32_t>(random_() % quarter);
}

bool Raft::hears_from_leader() const {
  if (leads()) return true;  // CheckQuorum keeps this true
  const auto* follower = std::get_if<Follower>(&role_);
  return follower && !follower->leader.empty() && election_ticks_ < config_.election_ticks;
}

void Raft::set_first_command(Payload command) {
  if (!first_command_ && command) start_election_timer();  // now it may stand, like the others that learn it now
  first_command_ = std::move(command);
}

bool Raft::may_stand() const {
  // A server whose disk hangs could not keep what it would promise as a candidate.
  if (disk_hangs()) return false;
  // Nor could one without the state lead: what is before its log it could give nobody.
  if (lacks_state_) return false;
  return !config_.guards_first_start || has_begun() || first_command_;
}

bool Raft::has_won(const Votes& votes) const {
  if (!config_.guards_first_start || has_begun()) return votes.won(quorum_);
  return first_command_ && votes.unanimous(quorum_);
}

void Raft::start_pre_vote() {
  if (quorum_.voters().size() == 1) {
    stand(false);
    return;
  }
  role_ = PreCandidate{};
  std::get<PreCandidate>(role_).votes.record(config_.self, true);
  ask_again_soon();
  ask_for_votes(true, false, term().next());
}

void Raft::stand(bool transfer) {
  set_term(term().next());
  hard_state_.vote = config_.self;
  role_ = Candidate{};
  auto& votes = std::get<Candidate>(role_).votes;
  votes.record(config_.self, true);
  reset_election_timer();
  if (has_won(votes)) {
    become_leader();
    return;
  }
  ask_for_votes(false, transfer, term());
}

void Raft::ask_for_votes(bool pre, bool transfer, Term term) {
  const VoteRequest request{term, config_.self, log_.last_index(), log_.last_term(), pre, transfer};
  for (const NodeId& peer : quorum_.voters()) {
    if (peer == config_.self) continue;
    // The vote for oneself is durable before others are asked, else a restart could vote twice in the term.
    (pre ? send_ : send_after_).push_back({peer, request});
  }
}

void Raft::become_leader() {
  role_ = Leader{};
  auto& leader = std::get<Leader>(role_);
  for (const NodeId& peer : quorum_.voters()) {
    if (peer == config_.self) continue;
    Progress progress;
    progress.next = log_.last_index().next();
    progress.heartbeat_due = true;
    leader.peers.emplace(peer, std::move(progress));
  }
  leader.first_of_term = log_.last_index().next();
  // An entry of the new term: only with it do the older ones become committed (Raft §5.4.2, §8), and reads
  // may be answered (dissertation §6.4).
  append_own(has_begun() ? nullptr : first_command_);
}

bool Raft::would_vote_for(const VoteRequest& request) const {
  const bool vote_is_free = request.pre ? request.term > term()
                                        : request.term == term() && !leads() &&
                                              (hard_state_.vote.empty() || hard_state_.vote == request.candidate);
  return vote_is_free && log_.is_up_to_date({request.last_index, request.last_term});
}

void Raft::receive_from(const NodeId& from, const VoteRequest& request) {
  if (request.candidate != from) return;
  if (request.term < term()) {
    send_.push_back({from, VoteReply{term(), false, request.pre}});
    return;
  }
  if (!request.transfer && hears_from_leader()) {
    // The lease: nobody is heard while a leader is, and the term does not change (dissertation §4.2.3, §9.6).
    if (request.pre) send_.push_back({from, VoteReply{term(), false, true}});
    return;
  }
  if (request.pre) {
    // A server whose disk hangs could not give the vote itself.
    const bool granted = !disk_hangs() && would_vote_for(request);
    // The answer to a question carries the term in question, a refusal the term that stands against it.
    send_.push_back({from, VoteReply{granted ? request.term : term(), granted, true}});
    return;
  }
  if (request.term > term()) {
    // Only a vote that is given puts off this server's own candidacy (Raft figure 2, Followers): one that keeps
    // asking with a log that is not good enough must not keep those from standing whose is.
    if (leads()) {
      become_follower(request.term, NodeId{});
    } else {
      follow(request.term, NodeId{});
    }
  }
  const bool granted = would_vote_for(request);
  if (granted) {
    hard_state_.vote = request.candidate;
    reset_election_timer();
  }
  send_after_.push_back({from, VoteReply{term(), granted, false}});
}

void Raft::receive_from(const NodeId& from, const VoteReply& reply) {
  if (reply.pre && reply.granted) {
    auto* asking = std::get_if<PreCandidate>(&role_);
    if (!asking || reply.term != term().next()) return;
    asking->votes.record(from, true);
    if (has_won(asking->votes)) stand(false);
    return;
  }
  if (reply.term > term()) {
    become_follower(reply.term, NodeId{});
    return;
  }
  if (reply.pre || reply.term < term()) return;  // a refused question is asked again when its time is over
  auto* candidate = std::get_if<Candidate>(&role_);
  if (!candidate) return;
  candidate->votes.record(from, reply.granted);
  if (has_won(candidate->votes)) become_leader();
}

void Raft::receive_from(const NodeId& from, const TimeoutNow& request) {
  if (request.term != term() || request.leader != from || from != leader() || leads()) return;
  if (disk_hangs() || lacks_state_) return;
  stand(true);
}

}  // namespace kv::raft
