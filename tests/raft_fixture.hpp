// What the tests of the consensus core share: one server on a disk that can be slow, and a network of a few of
// them. Every message that leaves is held against the core's contract: nothing is promised before it is durable.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "server/raft/raft.hpp"

// How a failed check prints them.
template <class Tag>
struct Catch::StringMaker<kv::raft::Number<Tag>> {
  static std::string convert(const kv::raft::Number<Tag>& number) { return std::to_string(number.value); }
};
template <>
struct Catch::StringMaker<kv::raft::NodeId> {
  static std::string convert(const kv::raft::NodeId& node) { return "'" + node.name + "'"; }
};

namespace kv::raft_test {

using namespace kv::raft;

inline NodeId id(int n) {
  return NodeId("n" + std::to_string(n));
}
inline Payload text(std::string_view command) {
  return Payload(command);
}

// The entry of a leader of that term at that position; its command says so.
inline Entry entry(std::uint64_t term, std::uint64_t index) {
  return {Term(term), Index(index), text(std::to_string(term) + "/" + std::to_string(index))};
}

// A log as the paper draws one: the terms of its entries, the first at position 1.
using Terms = std::vector<std::uint64_t>;
inline std::vector<Entry> entries(const Terms& terms, std::uint64_t first = 1) {
  std::vector<Entry> out;
  for (const std::uint64_t term : terms) out.push_back(entry(term, first++));
  return out;
}
inline Terms terms_of(const Log& log) {
  Terms out;
  for (Index i = log.first_index(); i <= log.last_index(); i = i.next()) out.push_back(log.at(i).term.value);
  return out;
}

// One of n1 … n<size>; the times are short, so that tests are.
inline Config config(int self = 1, int size = 3) {
  Config out;
  out.self = id(self);
  for (int n = 1; n <= size; ++n) out.voters.push_back(id(n));
  out.heartbeat_ticks = 3;
  out.election_ticks = 10;
  out.seed = static_cast<std::uint64_t>(self);
  return out;
}

inline VoteRequest vote_request(std::uint64_t term, int candidate, std::uint64_t last_index,
                                std::uint64_t last_term) {
  return {Term(term), id(candidate), Index(last_index), Term(last_term), false, false};
}
inline VoteRequest pre_vote_request(std::uint64_t term, int candidate, std::uint64_t last_index,
                                    std::uint64_t last_term) {
  return {Term(term), id(candidate), Index(last_index), Term(last_term), true, false};
}
// What the leader of that term sends to follow position prev_index.
inline AppendRequest append(std::uint64_t term, int leader, std::uint64_t prev_index, std::uint64_t prev_term,
                            const Terms& terms = {}, std::uint64_t commit = 0, std::uint64_t round = 0) {
  return {Term(term),    id(leader), Index(prev_index), Term(prev_term), entries(terms, prev_index + 1),
          Index(commit), round};
}
inline AppendReply matched(std::uint64_t term, std::uint64_t match, std::uint64_t round = 0) {
  return {Term(term), true, Index(match), round, {}, {}, {}};
}

// What survives a crash.
struct Disk {
  HardState hard_state;
  std::vector<Entry> entries;
  Index commit;

  void store(const Write& write) {
    if (write.hard_state) hard_state = *write.hard_state;
    if (!write.entries.empty()) {
      const std::size_t kept = write.entries.front().index.value - 1;
      REQUIRE(kept <= entries.size());
      entries.resize(kept);
      entries.insert(entries.end(), write.entries.begin(), write.entries.end());
    }
    // Of a batch that comes in parts the first ones know of a commit position that they do not reach.
    commit = std::max(commit, std::min(write.commit, Index(entries.size())));
  }
};

inline Disk disk(std::uint64_t term, const Terms& terms, const std::string& vote = {}, std::uint64_t commit = 0) {
  return {HardState{Term(term), NodeId(vote)}, raft_test::entries(terms), Index(commit)};
}

// One server: the core, its disk, and what it has sent, applied and answered so far.
struct Server {
  struct Pending {
    Write write;
    std::vector<Envelope> send_after;
  };

  explicit Server(Config c = raft_test::config(), Disk d = {})
      : disk(std::move(d)), raft(std::move(c), Restored{disk.hard_state, {}, disk.entries, disk.commit}) {
    flush();
  }

  Disk disk;
  Raft raft;
  bool slow_disk = false;  // a write is done only at finish_write()
  std::optional<Pending> writing;
  std::vector<Envelope> sent;
  std::vector<Entry> applied;
  std::vector<Output::SafeRead> reads;
  std::vector<std::uint64_t> dropped_reads;
  std::vector<Output::Changed> changes;

  // ---- Inputs, each followed by all that the core asks for

  void tick(int count = 1) {
    for (; count > 0; --count) {
      raft.tick();
      flush();
    }
  }
  void receive(int from, const Message& message) {
    raft.receive(id(from), message);
    flush();
  }
  std::optional<Index> propose(const std::vector<std::string>& commands = {"x"}) {
    std::vector<Payload> payloads;
    for (const std::string& command : commands) payloads.push_back(text(command));
    const std::optional<Index> first = raft.propose(std::move(payloads));
    flush();
    return first;
  }
  bool read(std::uint64_t number) {
    const bool taken = raft.read(number);
    flush();
    return taken;
  }
  void transfer(int to) {
    raft.transfer(id(to));
    flush();
  }
  void finish_write() {
    end_write();
    flush();
  }
  void let_disk_catch_up() {
    slow_disk = false;
    if (writing) finish_write();
  }

  // ---- What has left. take: and is not looked at again

  template <class M>
  std::vector<M> take(int to) {
    std::vector<M> out;
    std::vector<Envelope> rest;
    for (Envelope& envelope : sent) {
      const bool wanted = envelope.peer == id(to) && std::holds_alternative<M>(envelope.message);
      if (wanted) {
        out.push_back(std::get<M>(std::move(envelope.message)));
      } else {
        rest.push_back(std::move(envelope));
      }
    }
    sent = std::move(rest);
    return out;
  }
  template <class M>
  M take_one(int to) {
    std::vector<M> all = take<M>(to);
    REQUIRE(all.size() == 1);
    return all.front();
  }
  template <class M>
  M take_last(int to) {
    std::vector<M> all = take<M>(to);
    REQUIRE_FALSE(all.empty());
    return all.back();
  }

  Term term() const { return raft.term(); }
  std::uint64_t commit() const { return raft.commit().value; }
  std::uint64_t last() const { return raft.log().last_index().value; }

  void flush() {
    for (;;) {
      absorb(raft.take_output());
      if (!writing || slow_disk) return;
      end_write();
    }
  }

 private:
  void absorb(Output output) {
    for (Envelope& envelope : output.send) leave(std::move(envelope));
    if (writing) {
      REQUIRE_FALSE(output.write);
      REQUIRE(output.send_after.empty());
    }
    if (output.write) {
      writing = Pending{std::move(*output.write), std::move(output.send_after)};
    } else {
      REQUIRE(output.send_after.empty());
    }
    for (Entry& e : output.committed) {
      REQUIRE(e.index == Index(applied.size() + 1));
      applied.push_back(std::move(e));
    }
    for (const Output::SafeRead& read : output.reads) {
      REQUIRE(read.index.value <= applied.size());
      reads.push_back(read);
    }
    dropped_reads.insert(dropped_reads.end(), output.dropped_reads.begin(), output.dropped_reads.end());
    if (output.changed) changes.push_back(*output.changed);
  }

  void end_write() {
    REQUIRE(writing);
    Pending done = std::move(*writing);
    writing.reset();
    disk.store(done.write);
    for (Envelope& envelope : done.send_after) leave(std::move(envelope));
    raft.written(done.write.id);
  }

  bool keeps_vote(Term term, const NodeId& candidate) const {
    return disk.hard_state.term > term || disk.hard_state == HardState{term, candidate};
  }

  // Raft figure 2: "updated on stable storage before responding".
  void leave(Envelope envelope) {
    if (const auto* asked = std::get_if<VoteRequest>(&envelope.message); asked && !asked->pre) {
      REQUIRE(keeps_vote(asked->term, asked->candidate));
    }
    if (const auto* vote = std::get_if<VoteReply>(&envelope.message); vote && vote->granted && !vote->pre) {
      REQUIRE(keeps_vote(vote->term, envelope.peer));
    }
    if (const auto* reply = std::get_if<AppendReply>(&envelope.message); reply && reply->success) {
      REQUIRE(disk.hard_state.term >= reply->term);
      REQUIRE(disk.entries.size() >= reply->match.value);
    }
    sent.push_back(std::move(envelope));
  }
};

// Until it asks for pre-votes: no word of a leader for as long as it takes.
inline void wait_until_it_asks(Server& server) {
  for (int i = 0; i < 40 && server.raft.role() != Role::pre_candidate; ++i) server.tick();
  REQUIRE(server.raft.role() == Role::pre_candidate);
}

// It asks, and a majority would vote for it: it stands in the next term.
inline void make_candidate(Server& server) {
  wait_until_it_asks(server);
  for (const NodeId& voter : server.raft.config().voters) {
    if (server.raft.role() != Role::pre_candidate) break;
    server.raft.receive(voter, VoteReply{server.term().next(), true, true});
    server.flush();
  }
  REQUIRE(server.raft.role() == Role::candidate);
}

// It stands and a majority votes for it. Its first messages as a leader are forgotten.
inline void make_leader(Server& server) {
  make_candidate(server);
  for (const NodeId& voter : server.raft.config().voters) {
    if (server.raft.leads()) break;
    server.raft.receive(voter, VoteReply{server.term(), true, false});
    server.flush();
  }
  REQUIRE(server.raft.leads());
}

// A leader of three whose first entry all have. What it sent till now is forgotten.
inline Server established_leader(Config c = raft_test::config(), Disk d = {}) {
  Server server(std::move(c), std::move(d));
  make_leader(server);
  for (const NodeId& voter : server.raft.config().voters) {
    server.raft.receive(voter, matched(server.term().value, server.last()));
    server.flush();
  }
  REQUIRE(server.commit() == server.last());
  server.sent.clear();
  return server;
}

}  // namespace kv::raft_test
