// Linearizable reads without writes: Ongaro's dissertation §6.4, Raft §8.
#include "tests/raft_network.hpp"

using namespace kv::raft_test;

namespace {

std::uint64_t round_asked(Server& leader, int peer = 2) {
  return leader.take_last<AppendRequest>(peer).round;
}

}  // namespace

TEST_CASE("dissertation §6.4: a read is safe when a majority has answered its round (mistake 9)") {
  Server leader = established_leader(config(1, 5));
  CHECK(leader.read(7));
  const std::uint64_t round = round_asked(leader);
  for (int peer : {3, 4, 5}) CHECK(round_asked(leader, peer) == round);
  leader.receive(2, matched(1, 1, round));
  leader.receive(2, matched(1, 1, round));
  leader.receive(3, matched(1, 1, round - 1));  // an answer to what was asked before the read
  CHECK(leader.reads.empty());
  leader.receive(4, matched(1, 1, round));
  REQUIRE(leader.reads.size() == 1);
  CHECK(leader.reads[0].id == 7);
  CHECK(leader.reads[0].index == Index(1));
}

TEST_CASE("dissertation §6.4: an answer that was on its way before the read does not confirm it (mistake 9)") {
  Server leader = established_leader();
  leader.tick(3);
  const std::uint64_t before = round_asked(leader);
  leader.read(1);
  leader.receive(2, matched(1, 1, before));
  CHECK(leader.reads.empty());
  leader.receive(3, matched(1, 1, round_asked(leader, 3) + 1));  // nor one that nobody has asked for
  CHECK(leader.reads.empty());
}

TEST_CASE("dissertation §6.4, step 1: no read before an entry of the own term is committed (mistake 8)") {
  Server leader(config(), disk(1, {1, 1}));
  make_leader(leader);
  CHECK(leader.read(1));
  leader.receive(2, matched(2, 2, 5));
  CHECK(leader.reads.empty());
  leader.receive(2, matched(2, 3, 0));
  CHECK(leader.reads.empty());  // the round begins only now
  leader.receive(2, matched(2, 3, round_asked(leader)));
  REQUIRE(leader.reads.size() == 1);
  CHECK(leader.reads[0].index == Index(3));
}

TEST_CASE("dissertation §6.4: the read's position is what was committed when its round began") {
  Server leader = established_leader();
  leader.propose();
  leader.read(1);
  const std::uint64_t first = round_asked(leader);
  leader.receive(3, matched(1, 2));
  leader.receive(2, matched(1, 1, first));
  REQUIRE(leader.reads.size() == 1);
  CHECK(leader.reads[0].index == Index(1));
}

TEST_CASE("dissertation §6.4: reads that come during a round share the next one") {
  Server leader = established_leader();
  leader.read(1);
  const std::uint64_t first = round_asked(leader);
  leader.read(2);
  leader.read(3);
  CHECK(leader.take<AppendRequest>(2).empty());
  leader.receive(2, matched(1, 1, first));
  REQUIRE(leader.reads.size() == 1);
  const std::uint64_t second = round_asked(leader);
  CHECK(second > first);
  leader.receive(3, matched(1, 1, second));
  REQUIRE(leader.reads.size() == 3);
  CHECK(leader.reads[1].id == 2);
  CHECK(leader.reads[2].id == 3);
}

TEST_CASE("dissertation §6.4: a question that was lost is asked again with the heartbeat") {
  Server leader = established_leader();
  leader.read(1);
  const std::uint64_t round = round_asked(leader);
  leader.sent.clear();
  leader.tick(3);
  CHECK(round_asked(leader) == round);
  leader.receive(2, matched(1, 1, round));
  CHECK(leader.reads.size() == 1);
}

TEST_CASE("dissertation §6.4: who does not lead takes no read; who ceases to drops those it has") {
  Server follower;
  CHECK_FALSE(follower.read(1));
  Server leader = established_leader();
  leader.read(1);
  leader.read(2);
  leader.receive(2, AppendReply{Term(5), false, {}, 0, {}, {}, {}});
  CHECK(leader.reads.empty());
  CHECK(leader.dropped_reads == std::vector<std::uint64_t>{1, 2});
  CHECK(leader.dropped_reads.size() == 2);
}

TEST_CASE("dissertation §6.4: a leader that was replaced, and does not know it, confirms no read") {
  Network network(3);
  network.elect(1);
  network.isolate(1);
  network.tick(9);
  REQUIRE(network[1].raft.leads());
  for (int i = 0; i < 40 && network.leader() == 1; ++i) {
    for (int n : {2, 3}) network[n].tick();
    network.settle();
  }
  REQUIRE(network.leader() != 1);
  REQUIRE(network[1].raft.leads());
  network[1].read(1);
  network.settle();
  CHECK(network[1].reads.empty());
}

TEST_CASE("raft: a round is answered while the disk is busy: it promises no entry") {
  Server follower(config(), disk(1, {1}));
  follower.receive(2, append(1, 2, 1, 1));
  follower.sent.clear();
  follower.slow_disk = true;
  follower.receive(2, append(1, 2, 1, 1, {1}));
  CHECK(follower.sent.empty());
  follower.receive(2, append(1, 2, 2, 1, {}, 1, 1));
  const auto reply = follower.take_one<AppendReply>(2);
  CHECK(reply.success);
  CHECK(reply.round == 1);
  CHECK(reply.match == Index(1));  // and no more than is durable
}

TEST_CASE("raft: no round is answered in a term that is not durable") {
  Server follower;
  follower.slow_disk = true;
  follower.receive(2, append(4, 2, 0, 0, {}, 0, 3));
  CHECK(follower.take<AppendReply>(2).empty());
  follower.finish_write();
  CHECK(follower.take_last<AppendReply>(2).round == 3);
}

TEST_CASE("raft: the rounds of a new leader are answered at once, whatever the last one had counted to") {
  Server follower(config(), disk(1, {1}));
  follower.receive(2, append(1, 2, 1, 1, {}, 1, 5));
  follower.receive(3, append(2, 3, 1, 1));
  follower.sent.clear();
  follower.slow_disk = true;
  follower.receive(3, append(2, 3, 1, 1, {2}));
  follower.receive(3, append(2, 3, 2, 2, {}, 1, 1));
  CHECK(follower.take_one<AppendReply>(3).round == 1);
}

TEST_CASE("raft: the refusal of an older term's request bears no round, for rounds are counted anew in each term") {
  Server server(config(), disk(2, {}));
  server.receive(2, append(1, 2, 0, 0, {}, 0, 5));
  const auto refusal = server.take_one<AppendReply>(2);
  CHECK(refusal.term == Term(2));
  CHECK(refusal.round == 0);
}

TEST_CASE("raft: a late refusal of the last term's question does not confirm a read of this one") {
  // n1 led in term 1 and leads again in term 2. n2 meets a question of term 1 so late that it answers it in term 2.
  Network network(3);
  network.elect(1);
  network[1].read(1);
  network.collect();
  const Flying late = *std::find_if(network.flying().begin(), network.flying().end(),
                                    [](const Flying& message) { return message.to == 2; });
  network.settle();
  network[1].tick(20);  // its followers are not heard: it steps down
  network.flying().clear();
  network[1].sent.clear();
  for (int n : {2, 3}) network[n].tick(10);
  network.elect(1);
  REQUIRE(network[1].term() == Term(2));
  network.settle();
  network[2].receive(1, late.message);
  const auto answer = network[2].take_one<AppendReply>(1);

  // n2 and n3 elect another and go on; n1 hears nothing of it but that answer.
  network.isolate(1);
  for (int i = 0; i < 60 && network.leader() == 1; ++i) {
    for (int n : {2, 3}) network[n].tick();
    network.settle();
  }
  const int other = network.leader();
  REQUIRE(other != 1);
  network[other].propose({"new"});
  network.settle();
  REQUIRE(network[1].raft.leads());
  const std::size_t before = network[1].reads.size();
  network[1].read(2);
  network[1].receive(2, answer);
  CHECK(network[1].reads.size() == before);  // it would be served without "new"
}
