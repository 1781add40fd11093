// Votes, one test per rule: Raft §5.1, §5.2, §5.4.1 ("In Search of an Understandable Consensus Algorithm").
#include <set>
#include <tuple>

#include "tests/raft_network.hpp"

using namespace kv::raft_test;

namespace {

bool grants(Server& server, const VoteRequest& request) {
  const int candidate = request.candidate.name[1] - '0';
  server.take<VoteReply>(candidate);
  server.receive(candidate, request);
  const std::vector<VoteReply> replies = server.take<VoteReply>(candidate);
  return replies.size() == 1 && replies[0].granted && replies[0].pre == request.pre;
}

}  // namespace

// ---- §5.1 Terms

TEST_CASE("raft §5.1: whoever sees a larger term takes it, and is a follower again") {
  const std::vector<Message> messages{VoteReply{Term(9), false, false}, VoteReply{Term(9), false, true},
                                      AppendReply{Term(9), false, {}, 0, {}, {}, {}}, append(9, 2, 0, 0)};
  const auto check = [](Server& server, const Message& message) {
    server.receive(2, message);
    CHECK(server.term() == Term(9));
    CHECK(server.raft.role() == Role::follower);
    CHECK(server.disk.hard_state == HardState{Term(9), NodeId{}});
  };
  for (const Message& message : messages) {
    Server follower;
    check(follower, message);
    Server candidate;
    make_candidate(candidate);
    check(candidate, message);
    Server leader = established_leader();
    check(leader, message);
  }
}

TEST_CASE("raft §5.1: a request of an older term is refused, and told the newer one") {
  Server server(config(), disk(5, {1, 5}));
  server.receive(2, vote_request(4, 2, 9, 4));
  const auto vote = server.take_one<VoteReply>(2);
  CHECK_FALSE(vote.granted);
  CHECK(vote.term == Term(5));
  server.receive(2, append(4, 2, 0, 0, {4}));
  const auto reply = server.take_one<AppendReply>(2);
  CHECK_FALSE(reply.success);
  CHECK(reply.term == Term(5));
  CHECK(terms_of(server.raft.log()) == Terms{1, 5});
  CHECK(server.raft.leader() == NodeId{});
}

TEST_CASE("raft §5.1: answers of an older term are ignored") {
  Server candidate(config(), disk(5, {}));
  make_candidate(candidate);
  candidate.receive(2, VoteReply{Term(5), true, false});
  CHECK(candidate.raft.role() == Role::candidate);

  Server leader = established_leader(config(), disk(5, {}));
  leader.propose();
  leader.receive(2, matched(5, 2));
  CHECK(leader.commit() == 1);
}

TEST_CASE("raft §5.1: the term and the vote outlive a restart") {
  Server server;
  CHECK(grants(server, vote_request(3, 2, 0, 0)));
  Server restarted(config(), server.disk);
  CHECK(restarted.term() == Term(3));
  CHECK(restarted.raft.vote() == id(2));
  CHECK_FALSE(grants(restarted, vote_request(3, 3, 9, 2)));
  CHECK(grants(restarted, vote_request(3, 2, 0, 0)));
}

// ---- §5.2 Leader election

TEST_CASE("raft §5.2: servers start as followers") {
  const Server server;
  CHECK(server.raft.role() == Role::follower);
  CHECK(server.raft.leader() == NodeId{});
  CHECK(server.sent.empty());
}

TEST_CASE("raft §5.2: a follower that hears no leader stands: next term, own vote, all others asked") {
  Server server(config(1, 5), disk(4, {1, 4}, "n3"));
  make_candidate(server);
  CHECK(server.term() == Term(5));
  CHECK(server.raft.vote() == id(1));
  for (int peer = 2; peer <= 5; ++peer) {
    const std::vector<VoteRequest> asked = server.take<VoteRequest>(peer);
    const VoteRequest& request = asked.back();
    CHECK_FALSE(request.pre);
    CHECK(request.term == Term(5));
    CHECK(request.candidate == id(1));
    CHECK(request.last_index == Index(2));
    CHECK(request.last_term == Term(4));
  }
}

TEST_CASE("raft §5.2: a follower stays one for as long as it hears a leader") {
  Server server;
  for (int i = 0; i < 100; ++i) {
    server.receive(2, append(1, 2, 0, 0));
    server.tick(9);
  }
  CHECK(server.raft.role() == Role::follower);
  CHECK(server.term() == Term(1));
  CHECK(server.raft.leader() == id(2));
}

TEST_CASE("raft §5.2: the wait for a leader is drawn anew between T and twice T each time") {
  std::set<int> waits;
  Server server;
  for (int i = 0; i < 200; ++i) {
    server.receive(2, append(1, 2, 0, 0));
    int ticks = 0;
    for (; server.raft.role() == Role::follower; ++ticks) server.tick();
    waits.insert(ticks);
  }
  CHECK(*waits.begin() == 10);
  CHECK(*waits.rbegin() == 19);
  CHECK(waits.size() == 10);
}

// Else the one whose log is good enough would never stand while another, whose is not, keeps asking.
TEST_CASE("raft §5.2: a request that is refused does not put off the server's own") {
  Server server(config(), disk(1, {1, 1}));
  server.receive(3, append(1, 3, 2, 1));
  server.tick(2);
  for (std::uint64_t term = 2; term < 5; ++term) {
    server.tick(8);
    server.receive(2, vote_request(term, 2, 1, 1));  // its log is shorter
    CHECK(server.term() == Term(term));
    CHECK(server.raft.role() == Role::follower);
    if (term == 2) server.sent.clear();  // it may have asked before
  }
  CHECK_FALSE(server.take<VoteRequest>(2).empty());
}

TEST_CASE("raft §5.2: servers with other seeds wait for other times") {
  std::set<int> waits;
  for (int n = 1; n <= 9; ++n) {
    Config c = config(1, 9);
    c.seed = static_cast<std::uint64_t>(n);
    Server server(c);
    server.receive(2, append(1, 2, 0, 0));
    int ticks = 0;
    for (; server.raft.role() == Role::follower; ++ticks) server.tick();
    waits.insert(ticks);
  }
  CHECK(waits.size() > 3);
}

TEST_CASE("raft §5.2: one vote a term, first come, first served") {
  Server server;
  CHECK(grants(server, vote_request(1, 2, 0, 0)));
  CHECK_FALSE(grants(server, vote_request(1, 3, 9, 1)));
  CHECK(grants(server, vote_request(1, 2, 0, 0)));  // the answer was lost
  CHECK(grants(server, vote_request(2, 3, 9, 1)));
}

TEST_CASE("raft §5.2: a candidate and a leader vote for nobody else in their term") {
  Server candidate;
  make_candidate(candidate);
  CHECK_FALSE(grants(candidate, vote_request(1, 2, 9, 1)));
  Server leader = established_leader();
  CHECK_FALSE(grants(leader, vote_request(1, 2, 9, 1)));
  CHECK(leader.raft.leads());
}

TEST_CASE("raft §5.2: the vote is kept when its owner steps down in the same term (mistake 1)") {
  Server candidate;
  make_candidate(candidate);
  candidate.receive(2, append(1, 2, 0, 0));  // another won this term
  REQUIRE(candidate.raft.role() == Role::follower);
  candidate.tick(10);  // the leader's lease is over
  CHECK(candidate.raft.vote() == id(1));
  CHECK_FALSE(grants(candidate, vote_request(1, 3, 9, 1)));

  Server leader = established_leader();
  leader.tick(20);  // nobody answers: it steps down
  REQUIRE_FALSE(leader.raft.leads());
  CHECK(leader.term() == Term(1));
  CHECK_FALSE(grants(leader, vote_request(1, 3, 9, 1)));

  Server voter;
  CHECK(grants(voter, vote_request(1, 2, 0, 0)));
  voter.receive(3, append(1, 3, 0, 0));
  voter.tick(10);
  CHECK_FALSE(grants(voter, vote_request(1, 3, 9, 1)));
}

TEST_CASE("raft §5.2: a majority of the votes makes a leader, each voter counted once") {
  Server server(config(1, 5));
  make_candidate(server);
  server.receive(2, VoteReply{Term(1), true, false});
  server.receive(2, VoteReply{Term(1), true, false});
  server.receive(3, VoteReply{Term(1), false, false});
  server.receive(4, VoteReply{Term(1), true, true});  // an answer to the question alone is no vote
  CHECK(server.raft.role() == Role::candidate);
  server.receive(5, VoteReply{Term(1), true, false});
  CHECK(server.raft.leads());
  CHECK(server.raft.leader() == id(1));
}

TEST_CASE("raft §5.2: votes of an earlier election do not count in a later one") {
  Server server(config(1, 5));
  make_candidate(server);
  server.receive(2, VoteReply{Term(1), true, false});
  make_candidate(server);
  REQUIRE(server.term() == Term(2));
  server.receive(3, VoteReply{Term(2), true, false});
  CHECK(server.raft.role() == Role::candidate);
}

TEST_CASE("raft §5.2: a new leader tells all others at once, and again and again") {
  Server server;
  make_leader(server);
  for (int peer : {2, 3}) CHECK(server.take_one<AppendRequest>(peer).term == Term(1));
  server.tick(9);
  for (int peer : {2, 3}) CHECK(server.take<AppendRequest>(peer).size() == 3);
}

TEST_CASE("raft §5.2: a candidate follows a leader of its term, and ignores one of an older term") {
  Server server(config(), disk(4, {}));
  make_candidate(server);
  server.receive(2, append(4, 2, 0, 0, {4}));
  CHECK(server.raft.role() == Role::candidate);
  CHECK(server.last() == 0);
  server.receive(2, append(5, 2, 0, 0, {5}));
  CHECK(server.raft.role() == Role::follower);
  CHECK(server.raft.leader() == id(2));
  CHECK(server.last() == 1);
}

TEST_CASE("raft §5.2: after a split vote the next term decides") {
  Network network(4);
  for (int candidate : {1, 2}) {
    make_candidate(network[candidate]);
    network[candidate].sent.clear();
  }
  for (const auto& [voter, first, second] : {std::tuple{3, 1, 2}, std::tuple{4, 2, 1}}) {
    for (int candidate : {first, second}) {
      network[voter].receive(candidate, vote_request(1, candidate, 0, 0));
      network[candidate].receive(voter, network[voter].take_one<VoteReply>(candidate));
    }
  }
  for (int candidate : {1, 2}) REQUIRE(network[candidate].raft.role() == Role::candidate);
  const int leader = network.wait_for_leader();
  CHECK(network[leader].term() >= Term(2));
}

TEST_CASE("raft §5.2: clusters of two to five find a leader soon, from any start") {
  for (int size = 2; size <= 5; ++size) {
    for (std::uint64_t seed = 1; seed <= 20; ++seed) {
      Network network(size, seed);
      const int leader = network.wait_for_leader(100);
      network.tick(3);
      for (int n = 1; n <= size; ++n) CHECK(network[n].raft.leader() == id(leader));
    }
  }
}

TEST_CASE("raft §5.2: a cluster of one elects itself at its first tick, and commits alone") {
  Server server(config(1, 1));
  server.tick();
  CHECK(server.raft.leads());
  CHECK(server.commit() == 1);
  CHECK(server.propose() == Index(2));
  CHECK(server.commit() == 2);
  CHECK(server.read(7));
  REQUIRE(server.reads.size() == 1);
  CHECK(server.reads[0].index == Index(2));
  server.tick(100);
  CHECK(server.raft.leads());
  CHECK(server.sent.empty());
}

TEST_CASE("raft §5.2: a cluster of one commits nothing before its disk has it (mistake 17)") {
  Server server(config(1, 1));
  server.slow_disk = true;
  server.tick();
  server.propose();
  server.read(1);
  CHECK(server.commit() == 0);
  CHECK(server.reads.empty());
  server.finish_write();
  CHECK(server.commit() >= 1);
  server.let_disk_catch_up();
  CHECK(server.commit() == 2);
  CHECK(server.reads.size() == 1);
}

// ---- §5.4.1 Election restriction

TEST_CASE("raft §5.4.1: no vote for a log that lacks what the voter's has: later last term, then longer, wins") {
  struct Row {
    Terms voter;
    std::uint64_t last_index;
    std::uint64_t last_term;
    bool granted;
  };
  const std::vector<Row> table{
      {{}, 0, 0, true},     {{1}, 0, 0, false},      {{1}, 1, 1, true},         {{1, 1}, 1, 1, false},
      {{1, 1}, 3, 1, true}, {{1, 1, 1}, 1, 2, true}, {{1, 2}, 9, 1, false},     {{1, 2}, 1, 2, false},
      {{1, 2}, 2, 2, true}, {{1, 1, 3}, 2, 4, true}, {{1, 1, 3}, 30, 2, false},
  };
  for (const Row& row : table) {
    Server voter(config(), disk(4, row.voter));
    CHECK(grants(voter, vote_request(5, 2, row.last_index, row.last_term)) == row.granted);
    CHECK(voter.term() == Term(5));  // taken in either case
    Server asked(config(), disk(4, row.voter));
    CHECK(grants(asked, pre_vote_request(5, 2, row.last_index, row.last_term)) == row.granted);
    CHECK(asked.term() == Term(4));
  }
}

TEST_CASE("raft §5.4.1: what is not durable yet counts in the voter's log") {
  Server server;
  server.slow_disk = true;
  server.receive(2, append(1, 2, 0, 0, {1, 1}));
  server.tick(19);
  server.receive(3, vote_request(2, 3, 1, 1));
  server.let_disk_catch_up();
  CHECK_FALSE(server.take_one<VoteReply>(3).granted);
}

// ---- Who is heard

TEST_CASE("raft: unknown senders, and messages in another's name, are ignored") {
  Server server;
  server.receive(7, vote_request(5, 7, 9, 5));
  server.receive(7, append(5, 7, 0, 0, {5}));
  server.receive(2, vote_request(5, 3, 9, 5));
  server.receive(2, append(5, 3, 0, 0, {5}));
  server.receive(1, vote_request(5, 1, 9, 5));
  server.raft.receive(NodeId{}, vote_request(5, 2, 9, 5));
  server.flush();
  CHECK(server.term() == Term(0));
  CHECK(server.last() == 0);
  CHECK(server.sent.empty());

  Server candidate;
  make_candidate(candidate);
  candidate.receive(7, VoteReply{Term(1), true, false});
  candidate.receive(1, VoteReply{Term(1), true, false});
  CHECK(candidate.raft.role() == Role::candidate);
}

TEST_CASE("raft: a late refusal, to a question of an earlier term, does not undo the vote that follows") {
  // n2 votes in term 2 and then meets n1's request of term 1 again: its refusal bears term 2.
  Server voter;
  voter.receive(1, vote_request(2, 1, 0, 0));
  Server candidate(config(), disk(1, {}));
  make_candidate(candidate);
  candidate.receive(2, VoteReply{Term(2), false, false});
  candidate.receive(2, VoteReply{Term(2), true, false});
  CHECK(candidate.raft.leads());
}

// Not Raft's: an empty log may be one that was lost, and then a majority of empty ones proves nothing.
TEST_CASE("raft: where the first start is guarded, all must vote for who begins an empty log") {
  Config c = config();
  c.guards_first_start = true;
  Server server(c, Disk{});
  server.raft.set_first_command(text("members"));
  wait_until_it_asks(server);
  server.receive(2, VoteReply{Term(1), true, true});
  CHECK(server.raft.role() == Role::pre_candidate);
  server.receive(3, VoteReply{Term(1), true, true});
  CHECK(server.raft.role() == Role::candidate);
}

TEST_CASE(
    "raft: where the first start is guarded, nobody stands without a first command; its vote is free all the "
    "same") {
  Config c = config();
  c.guards_first_start = true;
  Server server(c, Disk{});
  server.tick(1000);
  CHECK(server.raft.role() == Role::follower);
  CHECK(server.sent.empty());
  // A leader is heard, but none of its entries: after a while it is no leader any more.
  server.receive(2, append(1, 2, 5, 1));
  server.tick(9);
  CHECK_FALSE(grants(server, pre_vote_request(2, 3, 5, 1)));
  server.tick(1);
  CHECK(grants(server, pre_vote_request(2, 3, 5, 1)));
}
