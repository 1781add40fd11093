// Keeping and handing on the lead, and reading from it: Ongaro's dissertation §3.10 (transfer), §4.2.3 (disruptive
// servers), §6.2 (CheckQuorum), §6.4 (linearizable reads), §9.6 (PreVote).
#include "tests/raft_network.hpp"

using namespace kv::raft_test;

namespace {

VoteReply asked_for_vote(Server& server, const VoteRequest& request) {
  server.receive(3, request);
  server.let_disk_catch_up();
  return server.take_one<VoteReply>(3);
}

}  // namespace

// ---- §9.6 PreVote

TEST_CASE("dissertation §9.6: before it stands a server asks, in its old term, whether it would win (mistake 12)") {
  Server server(config(), disk(4, {1, 4}));
  wait_until_it_asks(server);
  CHECK(server.term() == Term(4));
  const auto asked = server.take_one<VoteRequest>(2);
  CHECK(asked.pre);
  CHECK(asked.term == Term(5));
  CHECK(asked.last_index == Index(2));
  CHECK(asked.last_term == Term(4));
  CHECK(server.disk.hard_state == HardState{Term(4), NodeId{}});
  server.receive(2, VoteReply{Term(5), true, true});
  CHECK(server.raft.role() == Role::candidate);
  CHECK(server.term() == Term(5));
}

TEST_CASE("dissertation §9.6: a server that nobody hears asks for ever and never raises its term") {
  Server server;
  server.tick(1000);
  CHECK(server.raft.role() == Role::pre_candidate);
  CHECK(server.term() == Term(0));
}

TEST_CASE("dissertation §9.6: refusals, and answers to another question, do not make a candidate") {
  Server server(config(1, 5), disk(4, {}));
  wait_until_it_asks(server);
  server.receive(2, VoteReply{Term(4), false, true});
  server.receive(3, VoteReply{Term(4), true, true});
  server.receive(4, VoteReply{Term(5), true, true});
  server.receive(4, VoteReply{Term(5), true, true});
  CHECK(server.raft.role() == Role::pre_candidate);
}

TEST_CASE("dissertation §9.6: an answer to the question promises nothing: two may have it, no term, no vote") {
  Server server;
  for (int peer : {2, 3}) {
    server.receive(peer, pre_vote_request(1, peer, 0, 0));
    const auto reply = server.take_one<VoteReply>(peer);
    CHECK(reply.granted);
    CHECK(reply.pre);
    CHECK(reply.term == Term(1));
  }
  CHECK(server.term() == Term(0));
  CHECK(server.raft.vote() == NodeId{});
}

TEST_CASE(
    "dissertation §9.6: a refusal tells the term that stands against it, and so the next question is better") {
  Server server(config(), disk(7, {1}));
  const VoteReply refusal = asked_for_vote(server, pre_vote_request(3, 3, 5, 2));
  CHECK_FALSE(refusal.granted);
  CHECK(refusal.term == Term(7));
  Server asking(config(3), disk(2, {1, 2}));
  wait_until_it_asks(asking);
  asking.receive(1, refusal);
  CHECK(asking.term() == Term(7));
  CHECK(asking.raft.role() == Role::follower);
}

TEST_CASE("dissertation §9.6: a server that returns from a partition disturbs nobody") {
  Network network(3);
  network.elect(1);
  network.isolate(3);
  network.tick(200);
  REQUIRE(network[3].raft.role() == Role::pre_candidate);
  const Term before = network[1].term();
  network.heal();
  network.tick(50);
  CHECK(network.leader() == 1);
  CHECK(network[1].term() == before);
  CHECK(network[3].raft.leader() == id(1));
}

// ---- §4.2.3 Disruptive servers

TEST_CASE("dissertation §4.2.3: who hears a leader neither votes nor takes a larger term") {
  Server follower(config(), disk(1, {}));
  follower.receive(2, append(1, 2, 0, 0));
  follower.tick(9);
  follower.receive(3, vote_request(9, 3, 99, 8));
  CHECK(follower.term() == Term(1));
  CHECK(follower.take<VoteReply>(3).empty());
  CHECK_FALSE(asked_for_vote(follower, pre_vote_request(9, 3, 99, 8)).granted);

  Server leader = established_leader();
  leader.receive(3, vote_request(9, 3, 99, 8));
  CHECK(leader.raft.leads());
  CHECK(leader.term() == Term(1));
  CHECK_FALSE(asked_for_vote(leader, pre_vote_request(9, 3, 99, 8)).granted);
}

TEST_CASE("dissertation §4.2.3: the lease ends the least election timeout after the leader's last word") {
  Server follower(config(), disk(1, {}));
  follower.receive(2, append(1, 2, 0, 0));
  follower.tick(9);
  CHECK_FALSE(asked_for_vote(follower, pre_vote_request(2, 3, 9, 1)).granted);
  follower.tick();
  CHECK(asked_for_vote(follower, pre_vote_request(2, 3, 9, 1)).granted);
  CHECK(asked_for_vote(follower, vote_request(2, 3, 9, 1)).granted);
}

TEST_CASE("dissertation §4.2.3: a server that lost the leader's messages alone replaces it never") {
  Network network(3);
  network.elect(1);
  network.cut(1, 3);
  const Term before = network[1].term();
  network.tick(300);
  CHECK(network.leader() == 1);
  CHECK(network[1].term() == before);
}

// ---- §6.2 CheckQuorum

TEST_CASE("dissertation §6.2: a leader that no majority answers steps down (mistake 12)") {
  Network network(5);
  network.elect(1);
  network.isolate(1);
  network.tick(20);
  CHECK_FALSE(network[1].raft.leads());
  CHECK(network[1].raft.leader() == NodeId{});
  CHECK(network.wait_for_leader() != 1);
}

TEST_CASE("dissertation §6.2: a leader that a bare majority answers goes on") {
  Network network(5);
  network.elect(1);
  for (int n : {4, 5}) network.crash(n);
  network.tick(200);
  CHECK(network.leader() == 1);
}

TEST_CASE("dissertation §9.6: a server whose disk hangs says no: it could not give its vote") {
  Server server;
  server.slow_disk = true;
  server.receive(2, append(1, 2, 0, 0, {1}));
  server.tick(20);
  server.receive(3, pre_vote_request(2, 3, 9, 1));
  CHECK_FALSE(server.take_one<VoteReply>(3).granted);
  server.let_disk_catch_up();
  server.receive(3, pre_vote_request(2, 3, 9, 1));
  CHECK(server.take_one<VoteReply>(3).granted);
}

TEST_CASE("dissertation §6.2: a leader that is heard but hears nobody does not hold up the others for long") {
  Network network(3);
  network.elect(1);
  for (int n : {2, 3}) network.cut(n, 1);
  network.tick(60);
  CHECK(network.leader() > 1);
  network[network.leader()].propose({"goes on"});
  network.tick(5);
  CHECK(network.most_committed() >= 3);
}

TEST_CASE("raft: a candidate of a larger term that is cut off from the leader comes back in") {
  Network network(3);
  network.elect(1);
  network.isolate(3);
  wait_until_it_asks(network[3]);
  network[3].receive(2, VoteReply{network[3].term().next(), true, true});  // n2 had lost the leader for a moment
  REQUIRE(network[3].term() == network[1].term().next());
  network.flying().clear();
  network[3].sent.clear();
  network.tick(50);
  CHECK(network.leader() == 1);
  network.heal();
  network.tick(60);
  const int leader = network.leader();
  REQUIRE(leader != 0);
  for (int n : {1, 2, 3}) CHECK(network[n].raft.leader() == id(leader));
}

TEST_CASE("raft: a leader whose disk hangs steps down, and one that can write is elected (mistake 10)") {
  Network network(3);
  network.elect(1);
  network[1].slow_disk = true;
  network[1].propose({"committed without its disk"});
  network.tick(10);
  CHECK(network[1].raft.leads());
  network.tick(1);
  CHECK_FALSE(network[1].raft.leads());
  network.tick(100);
  const int leader = network.leader();
  CHECK(leader > 1);
  CHECK(network[leader].commit() == 3);
  CHECK(network[1].raft.role() == Role::follower);  // it does not stand either
  network[1].let_disk_catch_up();
  network.tick(10);
  CHECK(network[1].commit() == 3);
}

TEST_CASE("raft: a slow disk that makes progress is no reason to step down") {
  Server leader = established_leader();
  leader.slow_disk = true;
  for (int i = 0; i < 20; ++i) {
    leader.propose();
    leader.tick(8);
    for (int peer : {2, 3}) leader.receive(peer, matched(1, 1));
    leader.finish_write();
  }
  CHECK(leader.raft.leads());
}

TEST_CASE("raft: a follower's disk that is slower than the election timeout costs the leader nothing") {
  Network network(3);
  network.elect(1);
  network.tick(3);
  for (int n : {2, 3}) network[n].slow_disk = true;
  network[1].propose({"slow"});
  network.tick(40);
  CHECK(network.leader() == 1);
  CHECK(network[1].commit() == 1);
  for (int n : {2, 3}) network[n].let_disk_catch_up();
  network.tick(5);
  CHECK(network[1].commit() == 2);
}

// ---- §3.10 Leadership transfer

TEST_CASE("dissertation §3.10: the lead is handed to a peer that is caught up, without waiting") {
  Network network(3);
  network.elect(1);
  network[1].propose({"a"});
  network.settle();
  network[1].transfer(2);
  network.settle();
  CHECK(network.leader() == 2);
  CHECK_FALSE(network[1].raft.leads());
  CHECK(network[2].term() == Term(2));
}

TEST_CASE("dissertation §3.10: the target is told only when it has all, and nothing is added meanwhile") {
  Server leader = established_leader();
  leader.propose();
  leader.transfer(2);
  CHECK(leader.raft.transferring());
  CHECK_FALSE(leader.propose());
  CHECK(leader.take<TimeoutNow>(2).empty());
  leader.receive(2, matched(1, 2));
  CHECK(leader.take_one<TimeoutNow>(2).term == Term(1));
  leader.tick();
  CHECK(leader.take<TimeoutNow>(2).empty());  // once is enough
}

TEST_CASE("dissertation §3.10: a transfer that takes an election timeout is given up") {
  Server leader = established_leader();
  leader.transfer(2);
  for (int i = 0; i < 10; ++i) {
    CHECK(leader.raft.transferring());
    leader.receive(3, matched(1, 1));
    leader.tick();
  }
  CHECK_FALSE(leader.raft.transferring());
  CHECK(leader.raft.leads());
  CHECK(leader.propose());
}

TEST_CASE("dissertation §3.10: the target stands at once, and its request passes by the lease") {
  Server target(config(), disk(1, {}));
  target.receive(2, append(1, 2, 0, 0, {1}));
  target.receive(2, TimeoutNow{Term(1), id(2)});
  CHECK(target.raft.role() == Role::candidate);
  const auto request = target.take_one<VoteRequest>(3);
  CHECK(request.transfer);
  CHECK_FALSE(request.pre);
  Server voter(config(3), disk(1, {1}));
  voter.receive(2, append(1, 2, 1, 1));
  voter.receive(1, request);
  CHECK(voter.take_one<VoteReply>(1).granted);
}

TEST_CASE("dissertation §3.10: only the leader that is followed, in its term, can tell one to stand") {
  Server server(config(), disk(2, {}));
  server.receive(2, TimeoutNow{Term(2), id(2)});  // it follows nobody yet
  server.receive(2, append(2, 2, 0, 0));
  server.receive(3, TimeoutNow{Term(2), id(3)});
  server.receive(3, TimeoutNow{Term(2), id(2)});
  server.receive(2, TimeoutNow{Term(1), id(2)});
  server.receive(2, TimeoutNow{Term(3), id(2)});
  CHECK(server.raft.role() == Role::follower);
  CHECK(server.term() == Term(2));
}

TEST_CASE("dissertation §3.10: a transfer to oneself, to a stranger or by a follower is ignored") {
  Server leader = established_leader();
  leader.transfer(1);
  leader.transfer(9);
  CHECK_FALSE(leader.raft.transferring());
  Server follower;
  follower.transfer(2);
  CHECK_FALSE(follower.raft.transferring());
}

TEST_CASE("dissertation §3.10: a target whose disk hangs does not take the lead") {
  Server target(config(), disk(1, {}));
  target.receive(2, append(1, 2, 0, 0));
  target.slow_disk = true;
  for (std::uint64_t i = 0; i < 12; ++i) {
    target.receive(2, append(1, 2, i, i ? 1 : 0, {1}));
    target.tick();
  }
  target.receive(2, TimeoutNow{Term(1), id(2)});
  CHECK(target.raft.role() == Role::follower);
}

// ---- The preferred leader

TEST_CASE("raft: the server that stands first waits exactly the least timeout, and leads where it can") {
  Config c = config();
  c.stands_first = true;
  Server server(c);
  server.receive(2, append(1, 2, 0, 0));
  server.tick(9);
  CHECK(server.raft.role() == Role::follower);
  server.tick();
  CHECK(server.raft.role() == Role::pre_candidate);
}
