// The consensus core: Raft as a pure state machine (Ongaro & Ousterhout, "In Search of an Understandable
// Consensus Algorithm", and Ongaro's dissertation, cited by section).
//
// Inputs change the state and nothing else; take_output() then hands out, as data, all that the outside must
// do. There is no clock (ticks come in), no thread, no logger, no randomness but the seed. A run is a
// function of its inputs. Use:
//
//   raft.receive(from, message);            // or tick, propose, read, written, …; any number of them
//   Output output = raft.take_output();
//   send output.send; start output.write; when it is durable: send output.send_after, raft.written(id);
//   apply output.committed; serve output.reads once they are applied
//
// The promise behind every message: nothing that answers for a vote, a term or an entry leaves before it is
// durable (Raft figure 2: "Updated on stable storage before responding to RPCs"). Requests of a leader
// promise nothing and leave at once, ahead of its own disk; it counts itself only at written().
//
// Files: raft.cpp inputs and output; election.cpp votes; replication.cpp both sides of AppendEntries and reads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <random>
#include <variant>
#include <vector>

#include "server/raft/log.hpp"
#include "server/raft/tracker.hpp"
#include "server/raft/types.hpp"

namespace kv::raft {

// How much goes into one message or one batch. The bytes are those of commands; one entry always fits.
struct Limits {
  std::size_t max_append_bytes = 1 << 20;  // in one message
  std::size_t max_in_flight = 128;         // unanswered messages with entries, a peer
  std::size_t max_in_flight_bytes = 16 << 20;
  std::size_t max_write_bytes = 8 << 20;  // in one batch for the disk
};

struct Config {
  NodeId self;
  std::vector<NodeId> voters;  // self among them
  std::uint32_t heartbeat_ticks = 10;
  std::uint32_t election_ticks = 100;  // the least wait; the real one is drawn from [this, twice this)
  bool stands_first = false;           // waits the least, so that it leads where it can
  // An empty log may belong to a server that has lost it. So whoever begins a log is elected by all voters instead
  // of a majority, one of which would remember the log that there was; and only with set_first_command(). None that
  // votes for it has begun one itself, and from then on each is in its term: no older leader can commit a first
  // entry behind its back. A log that is restored from a backup has not begun before there is something behind it.
  bool guards_first_start = false;
  std::uint64_t seed = 0;
  Limits limits;
};

// What the disk gave back at start.
struct Restored {
  HardState hard_state;
  Position base;  // of a snapshot, or of what the disk has of the log; {} if that is all
  std::vector<Entry> entries;
  Index commit;
  // The disk has not been told yet of the snapshot that `base` comes from.
  std::optional<SnapshotMark> mark_due = std::nullopt;
  // The state up to `base` is not there: its snapshots are damaged. This server votes and takes entries as always,
  // applies nothing and does not stand before it has got a snapshot from a leader.
  bool lacks_state = false;
  bool has_begun = true;  // false: `base` is where a new log begins, as if it was empty
};

class Raft {
 public:
  Raft(Config config, Restored restored);

  // ---- Inputs

  void tick();
  void receive(const NodeId& from, const Message& message);
  // Appends the commands to the log of the leader, in this order; returns the position of the first.
  // nullopt: this server does not lead, or is handing leadership over; nothing was appended.
  std::optional<Index> propose(std::vector<Payload> commands);
  // A linearizable read, by an id of the caller's (dissertation §6.4). Comes back in Output::reads or
  // Output::dropped_reads. False: this server does not lead.
  bool read(std::uint64_t id);
  // The write with this id is durable. Never called for a write that failed: a disk error ends the process.
  void written(std::uint64_t write_id);
  // Hands leadership to a peer as soon as it is caught up (dissertation §3.10); given up after an election
  // timeout. Ignored unless this server leads and `to` votes.
  void transfer(const NodeId& to);
  // A snapshot of this server's own state is durable. The disk may forget what is at or before `droppable`, and
  // the core what is at or before `forget`; both at most the snapshot's position.
  void snapshot_saved(SnapshotMark mark, Index droppable, Index forget);
  // The core alone, what a durable snapshot holds.
  void forget_up_to(Index last) { forget_ = std::max(forget_, last); }
  // Which takes some turns.
  bool is_forgetting() const { return std::min(forget_, handed_) > log_.base_index(); }
  // A part of a snapshot has come from the leader of that term, and is heard as its REPLICATION is. False: it does
  // not lead, or no longer.
  bool hear_leader(const NodeId& from, Term term);
  // A leader's snapshot is durable here. True: it is now what the state and the log begin from: entries behind it
  // stay if they fit it, and else everything goes (Raft §7). False: this server has all of it already. Either way
  // it is acknowledged when the disk knows of it.
  // Without a context the log has not begun there: see Restored.
  bool install(Position position, Payload context);
  // Whether this server's disk has room for more than what must not fail: its leader hears of it.
  void set_full(bool full) { full_ = full; }
  // The link to a peer broke or came back: what was on its way may be lost.
  void link_changed(const NodeId& peer);
  // The command with which a leader opens a log that has not begun, in place of the no-op of its term; null: none,
  // and then a server whose log has not begun does not stand, where the first start is guarded.
  void set_first_command(Payload command);

  // ---- Output

  Output take_output();

  // ---- What can be seen of it

  Role role() const;
  bool leads() const { return std::holds_alternative<Leader>(role_); }
  // The write under way takes longer than an election: this server steps down, and neither stands nor votes.
  bool disk_hangs() const { return write_ticks_ > config_.election_ticks; }
  Term term() const { return hard_state_.term; }
  const NodeId& vote() const { return hard_state_.vote; }
  NodeId leader() const;  // empty: none known
  Index commit() const { return commit_; }
  Index durable() const { return durable_; }
  const Log& log() const { return log_; }
  const Config& config() const { return config_; }
  bool transferring() const;
  bool lacks_state() const { return lacks_state_; }
  bool has_begun() const { return log_.last_index() != begins_behind_; }
  // nullptr unless this server leads and `peer` is another voter.
  const Progress* progress_of(const NodeId& peer) const;

 private:
  struct Follower {
    NodeId leader;
  };
  struct PreCandidate {
    Votes votes;
  };
  struct Candidate {
    Votes votes;
  };
  struct ReadRound {
    std::uint64_t round = 0;
    Index index;
    std::vector<std::uint64_t> ids;
  };
  struct Transfer {
    NodeId to;
    std::uint32_t ticks = 0;
    bool told = false;
  };
  struct Leader {
    std::map<NodeId, Progress> peers;  // the other voters
    Index first_of_term;               // the entry this leader began with
    std::uint32_t heartbeat_ticks = 0;
    std::uint32_t quorum_ticks = 0;
    std::uint64_t round = 0;
    std::vector<std::uint64_t> waiting_reads;  // for the next round
    std::optional<ReadRound> asked;            // the round under way
    std::optional<Transfer> transfer;
  };

  // raft.cpp
  void become_follower(Term term, NodeId leader);
  void follow(Term term, NodeId leader);  // the same, and the time waited so far goes on
  void tick_leader(Leader& leader);
  void set_term(Term term);
  void forget_some();
  bool mark_is_due() const;
  void take_write(Output& output);
  void take_messages(Output& output);
  void add_condition(std::vector<Envelope>& envelopes) const;
  bool term_is_durable() const { return hard_state_ == durable_hard_state_; }

  // election.cpp
  void start_election_timer();
  void reset_election_timer();
  void ask_again_soon();
  bool may_stand() const;
  bool has_won(const Votes& votes) const;
  bool hears_from_leader() const;
  void start_pre_vote();
  void stand(bool transfer);
  void become_leader();
  void ask_for_votes(bool pre, bool transfer, Term term);
  void receive_from(const NodeId& from, const VoteRequest& request);
  void receive_from(const NodeId& from, const VoteReply& reply);
  void receive_from(const NodeId& from, const TimeoutNow& request);
  bool would_vote_for(const VoteRequest& request) const;

  // replication.cpp
  void append_own(Payload command);
  void receive_from(const NodeId& from, const AppendRequest& request);
  void receive_from(const NodeId& from, const AppendReply& reply);
  bool is_well_formed(const AppendRequest& request) const;
  void refuse(const NodeId& from, const AppendRequest& request);
  bool accept(const AppendRequest& request);
  void acknowledge(const NodeId& from, Index verified, std::uint64_t round, bool brought_entries);
  void back_up(Progress& progress, const AppendReply& reply);
  void advance_commit();
  void feed_peers(Leader& leader);
  void feed(Leader& leader, const NodeId& peer, Progress& progress);
  Index due(const Progress& progress) const;
  bool has_window(const Progress& progress) const;
  void send_append(Leader& leader, const NodeId& peer, Progress& progress, std::vector<Entry> entries);
  void start_read_round(Leader& leader);
  void confirm_reads(Leader& leader);
  void continue_transfer(Leader& leader);

  Config config_;
  Quorum quorum_;
  Log log_;
  HardState hard_state_;
  Index commit_;
  std::variant<Follower, PreCandidate, Candidate, Leader> role_;
  Payload first_command_;
  std::optional<SnapshotMark> mark_;  // that the disk has not been told of
  Index droppable_;
  Index forget_;         // up to here, little by little
  Index begins_behind_;  // a log that ends here has not begun
  bool lacks_state_ = false;
  bool full_ = false;

  std::mt19937_64 random_;
  std::uint32_t election_ticks_ = 0;    // since a leader or a granted vote
  std::uint32_t election_timeout_ = 0;  // drawn anew each time

  // The disk: one write at most is under way.
  std::uint64_t next_write_ = 1;
  std::optional<std::uint64_t> writing_;
  std::uint32_t write_ticks_ = 0;  // that the write under way takes
  HardState handed_hard_state_;    // the last one given to the disk
  HardState durable_hard_state_;
  Index handed_;        // the last entry given to the disk
  Index handed_mark_;   // the position of the last mark that was
  Index writing_last_;  // the last entry of the write under way that is still in the log
  Index durable_;       // the last entry that is durable and still in the log

  // Gathered for take_output.
  std::vector<Envelope> send_;
  std::vector<Envelope> send_after_;
  struct Acknowledgement {
    NodeId to;
    Index verified;
    std::uint64_t round = 0;
  };
  std::optional<Acknowledgement> acknowledgement_;  // of entries that are not durable yet; the last stands for all
  std::uint64_t round_answered_ = 0;                // of the current leader's
  Index taken_;                                     // the last entry handed out as committed
  std::vector<Output::SafeRead> safe_reads_;
  std::vector<std::uint64_t> dropped_reads_;
  Output::Changed told_;
};

}  // namespace kv::raft
