// The judge: knows what every server has promised and what every disk holds, and says at once when a rule is
// broken. Sees the servers from outside (what they write, send and answer) and, after each of their steps, what
// the core lets be seen. Keeps, for each identity, what must be durable; and what is committed, once and for all.
//
// Files: judge.cpp the servers among each other; judge_answers.cpp what clients are told; judge_reads.cpp of what
// they read. Watches have a judge of their own, watch_judge.*.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "server/recovery.hpp"
#include "tests/sim/model.hpp"
#include "tests/sim/watch_judge.hpp"
#include "tests/sim/world.hpp"

namespace kv::sim {

class Judge {
 public:
  explicit Judge(World& world);

  // ---- A server's disk

  // A log was opened, with this as the result.
  void recovered(const std::string& node, const Recovered& recovered);
  void writes(const std::string& node, const raft::Write& write);
  void written(const std::string& node);
  void snapshot_done(const std::string& node, const SnapshotResult& result);
  // The server may have taken over what the result was.
  void snapshot_taken(const std::string& node, const Replica& replica);

  // ---- A server's process

  void started(const std::string& node, const Replica& replica);
  // The server has taken its inputs and these are its effects: first the step, then what leaves.
  // Returns what was committed there before.
  raft::Index stepped(const std::string& node, const Replica& replica);
  void sends(const std::string& node, const PeerMessage& message);
  // `from` is the identity of the process that sent it.
  void received(const std::string& node, const Replica& replica, const std::string& from_node,
                const std::string& from_identity);
  // All its effects were seen.
  void flushed(const std::string& node, const Replica& replica);
  void ended(const std::string& node);

  // ---- Clients

  void asked(const std::string& node, ClientId client, const message::Request& request);
  void answers(const std::string& node, const ClientAnswer& answer);
  void takes_events(ClientId client, bool takes) { watches_.takes_events(client, takes); }
  void gone(ClientId client);
  // The server's own clock has ticked: all is answered in the time it was given.
  void ticked(const std::string& node);
  // The server has stopped in order: it has answered all that it was asked.
  void stopped(const std::string& node);
  // Nothing may still be open now.
  void all_answered();

  // ---- For the cluster

  bool is_formed() const { return !committed_.empty(); }
  // Whether the node's disk holds anything that the others may count on.
  bool has_promised(const std::string& node) const;
  // Up to where the log holds what is committed: behind it there may be entries that will be replaced.
  std::uint64_t agreed(const raft::Log& log) const;
  std::uint64_t committed() const { return committed_.size(); }
  // The position at which a PUT of this value has taken effect; 0: none has.
  std::uint64_t position_of(const std::string& value) const;
  // At which a TXN whose first value this is was done; 0: it was not.
  std::uint64_t position_of_txn(const std::string& first_value) const;
  const Model& model() const { return model_; }
  // How many terms have had a leader.
  std::size_t leaders() const { return leaders_.size(); }

 private:
  // An entry, as far as comparing goes.
  struct Mark {
    raft::Term term;
    std::uint64_t command = 0;  // hash
    bool operator==(const Mark&) const = default;
  };
  struct Log {
    raft::HardState hard_state;
    std::vector<Mark> entries;
    raft::Index commit;
  };
  // One data directory.
  struct Disk {
    std::string node;
    Log durable;
    std::optional<raft::Write> under_way;
  };
  // A process, as it was seen last.
  struct Process {
    const Replica* replica = nullptr;
    raft::Term term;
    raft::Index commit;
    std::uint64_t applied = 0;
    bool leads = false;
  };
  struct OpenRequest {
    std::string node;
    ClientId client = 0;
    message::Request request;
    std::uint64_t floor = 0;  // the highest position that anyone had been told of when it arrived
    bool waits = false;
    std::uint64_t due = 0;  // by the ticks of the server
  };

  static Mark mark_of(const raft::Entry& entry);
  void add(Log& log, const raft::Write& write) const;
  void begin_at(Log& log, raft::Index base) const;
  Disk& disk_of(const std::string& node) { return disks_.at(identities_.at(node)); }
  bool matches(const Log& log, const Recovered& recovered) const;
  std::size_t copies(std::uint64_t position, const Mark& mark) const;
  const raft::Raft* leader_of(raft::Term term) const;
  void note_vote(const Disk& disk, raft::Term term, const raft::NodeId& candidate);
  void check_entries(const Log& log, const raft::Write& write);
  void check_leader(const std::string& node, const raft::Raft& raft);
  void check_commit(const std::string& node, const raft::Raft& raft, const Process& before);
  void check_order(const std::string& value);
  void check_refused(const std::vector<std::string>& values);
  void check_key(const std::string& node, const Replica& replica, const std::string& key);
  void commit(const raft::Entry& entry, raft::Term term);
  void check_store(const std::string& node, const Replica& replica, std::uint64_t before);
  void check_snapshot(const std::string& node, const Store& store, std::uint64_t position);
  void check_promise(const std::string& node, const raft::NodeId& to, const raft::VoteRequest& request);
  void check_promise(const std::string& node, const raft::NodeId& to, const raft::VoteReply& reply);
  void check_promise(const std::string& node, const raft::NodeId& to, const raft::AppendReply& reply);
  void check_promise(const std::string&, const raft::NodeId&, const auto&) {}  // a request promises nothing

  void check_answer(const OpenRequest& open, const message::PutOk& ok);
  void check_answer(const OpenRequest& open, const message::DeleteOk& ok);
  void check_answer(const OpenRequest& open, const message::GetOk& ok);
  void check_answer(const OpenRequest& open, const message::ListOk& ok);
  void check_answer(const OpenRequest& open, const message::TxnOk& ok);
  void check_answer(const OpenRequest& open, const message::WatchOk& ok);
  void check_answer(const OpenRequest& open, const message::CancelOk& ok);
  void check_answer(const OpenRequest& open, const message::Error& error);
  void check_answer(const OpenRequest&, const auto&) {}
  void check_is_current(const OpenRequest& open, std::uint64_t applied);
  void check_newer(const OpenRequest& open, const message::Get& get, const message::GetOk& ok);
  std::uint64_t floor_of(const message::Request& request) const;
  void check_on_majority(const std::string& node, std::uint64_t ts);

  World& world_;
  std::map<std::string, Disk> disks_;              // by identity
  std::map<std::string, std::string> identities_;  // of each node's present directory
  std::map<std::string, Process> processes_;       // by node; those that run
  std::map<raft::Term, std::string> leaders_;
  std::map<std::pair<std::string, raft::Term>, raft::NodeId> votes_;  // by identity
  // What stands at (position, term), and the term before it.
  std::map<std::pair<std::uint64_t, raft::Term>, std::pair<std::uint64_t, raft::Term>> entries_;
  std::vector<Mark> committed_;                     // position - 1
  std::vector<raft::Term> committed_in_;            // likewise: the term in which it was first seen to be
  std::map<std::uint64_t, std::uint64_t> digests_;  // by position
  Model model_;
  WatchJudge watches_;

  std::map<std::pair<ClientId, std::uint64_t>, OpenRequest> open_;
  std::set<ClientId> gone_;
  std::map<std::string, std::uint64_t> ticks_;  // by node
  // The order in which a connection has sent its writes without a session, by their values; and what of it has come
  // into the log.
  std::map<std::string, std::pair<ClientId, std::uint64_t>> sent_order_;
  std::map<ClientId, std::uint64_t> committed_order_;
  std::uint64_t next_order_ = 1;
  std::uint64_t told_ = 0;                            // the highest position that a client was told of
  std::map<std::string, std::uint64_t> told_of_key_;  // likewise, by reading it linearizably
  std::set<std::string> refused_;                     // values of writes without a session that were answered 'no'
  std::set<std::string> committed_values_;
  std::map<std::string, std::uint64_t> positions_;  // of the values that took effect
  std::map<std::string, std::uint64_t> txn_positions_;
};

}  // namespace kv::sim
