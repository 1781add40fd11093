// The core's contract with the disk and the outside (docs/architecture.md): what take_output() hands out, and when.
// That no promise leaves before it is durable is checked by the fixture in every test; here it is made to matter.
#include "tests/raft_network.hpp"

using namespace kv::raft_test;

namespace {

// A follower of n2 in term 1 whose log has one entry, all durable.
Server quiet_follower(Config c = config()) {
  Server server(std::move(c), disk(1, {1}));
  server.receive(2, append(1, 2, 1, 1));
  server.sent.clear();
  return server;
}

// Has the server's tick or message asked for anything but messages?
bool is_empty(const Output& output) {
  return !output.write && output.send.empty() && output.send_after.empty() && output.committed.empty() &&
         output.reads.empty() && output.dropped_reads.empty() && !output.changed;
}

}  // namespace

// ---- The disk

TEST_CASE("contract: the vote for oneself is durable before others are asked (mistake 2)") {
  Server server;
  server.slow_disk = true;
  make_candidate(server);
  for (int peer : {2, 3}) {
    for (const VoteRequest& request : server.take<VoteRequest>(peer)) CHECK(request.pre);
  }
  server.finish_write();
  CHECK(server.disk.hard_state == HardState{Term(1), id(1)});
  for (int peer : {2, 3}) CHECK_FALSE(server.take_one<VoteRequest>(peer).pre);
}

TEST_CASE("contract: a vote is durable before it is given (mistake 17)") {
  Server server;
  server.slow_disk = true;
  server.receive(2, vote_request(3, 2, 0, 0));
  CHECK(server.sent.empty());
  server.finish_write();
  CHECK(server.take_one<VoteReply>(2).granted);
}

TEST_CASE("contract: a vote that was not durable at the crash was not given, and may go to another") {
  Server server;
  server.slow_disk = true;
  server.receive(2, vote_request(1, 2, 0, 0));
  REQUIRE(server.sent.empty());
  Server restarted(config(), server.disk);
  restarted.receive(3, vote_request(1, 3, 0, 0));
  CHECK(restarted.take_one<VoteReply>(3).granted);
}

TEST_CASE("contract: entries are durable before they are acknowledged (mistake 17)") {
  Server server = quiet_follower();
  server.slow_disk = true;
  server.receive(2, append(1, 2, 1, 1, {1, 1}));
  CHECK(server.sent.empty());
  server.finish_write();
  CHECK(server.take_one<AppendReply>(2).match == Index(3));
}

TEST_CASE("contract: the leader's own copy counts when it is durable (mistake 17)") {
  Server leader = established_leader(config(1, 5));
  leader.slow_disk = true;
  leader.propose();
  leader.receive(2, matched(1, 2));
  leader.receive(3, matched(1, 1));
  CHECK(leader.commit() == 1);
  leader.receive(3, matched(1, 2));
  CHECK(leader.commit() == 1);
  leader.finish_write();
  CHECK(leader.commit() == 2);
}

TEST_CASE("contract: others commit without the leader's disk, which sends ahead of it") {
  Server leader = established_leader();
  leader.slow_disk = true;
  leader.propose();
  CHECK(leader.take_one<AppendRequest>(2).entries.size() == 1);
  leader.receive(2, matched(1, 2));
  CHECK(leader.commit() == 1);
  leader.receive(3, matched(1, 2));
  CHECK(leader.commit() == 2);
  CHECK(leader.raft.durable() == Index(1));
}

TEST_CASE("contract: one write at a time; what comes meanwhile is one batch") {
  Server server = quiet_follower();
  server.slow_disk = true;
  server.receive(2, append(1, 2, 1, 1, {1}));
  REQUIRE(server.writing);
  const std::uint64_t first = server.writing->write.id;
  for (std::uint64_t i = 2; i < 6; ++i) server.receive(2, append(1, 2, i, 1, {1}, 2));
  CHECK(server.writing->write.id == first);
  CHECK(server.sent.empty());
  server.finish_write();
  CHECK(server.take_one<AppendReply>(2).match == Index(2));
  REQUIRE(server.writing);
  CHECK(server.writing->write.entries.size() == 4);
  CHECK(server.writing->write.commit == Index(2));
  CHECK_FALSE(server.writing->write.hard_state);
  CHECK(server.applied.size() == 2);  // applying waits for no disk
  server.finish_write();
  CHECK(server.take_one<AppendReply>(2).match == Index(6));
  CHECK_FALSE(server.writing);
}

TEST_CASE("contract: votes and acknowledgements wait for the write that holds them, not for the one before") {
  Server server = quiet_follower();
  server.slow_disk = true;
  server.receive(2, append(1, 2, 1, 1, {1}));
  server.tick(19);
  server.receive(3, vote_request(2, 3, 2, 1));
  CHECK(server.take<VoteReply>(3).empty());
  server.finish_write();
  CHECK(server.take<VoteReply>(3).empty());
  server.finish_write();
  CHECK(server.take_one<VoteReply>(3).granted);
}

TEST_CASE("contract: a big batch goes to the disk in parts, each acknowledged for itself") {
  Config c = config();
  c.limits.max_write_bytes = 6;  // of commands of three bytes
  Server server = quiet_follower(c);
  server.slow_disk = true;
  server.receive(2, append(1, 2, 1, 1, {1, 1, 1, 1, 1}, 6));
  for (const std::uint64_t durable : {3, 5, 6}) {
    server.finish_write();
    CHECK(server.disk.entries.size() == durable);
    CHECK(server.take_one<AppendReply>(2).match == Index(durable));
    const Server restarted(c, server.disk);  // a crash between two parts
    CHECK(restarted.commit() <= durable);
  }
  CHECK_FALSE(server.writing);
}

// ---- Truncation while a write is under way

TEST_CASE("contract: what a write under way no longer covers is not taken for durable") {
  Server server = quiet_follower();
  server.slow_disk = true;
  server.receive(2, append(1, 2, 1, 1, {1, 1, 1}));
  server.receive(3, append(2, 3, 2, 1, {2, 2}));  // positions 3 and 4 are another leader's now
  server.finish_write();
  CHECK(server.disk.entries.size() == 4);
  CHECK(server.raft.durable() == Index(2));
  CHECK(server.take<AppendReply>(3).empty());
  REQUIRE(server.writing);
  CHECK(server.writing->write.entries.front().index == Index(3));
  CHECK(server.writing->write.hard_state == HardState{Term(2), NodeId{}});
  server.finish_write();
  CHECK(server.take_one<AppendReply>(3).match == Index(4));
  CHECK(server.disk.entries[2].term == Term(2));
  CHECK(server.raft.durable() == Index(4));
}

TEST_CASE("contract: entries that were cut off and came again are acknowledged when they are on the disk again") {
  Server server = quiet_follower();
  server.slow_disk = true;
  server.receive(2, append(1, 2, 1, 1, {1, 1}));
  server.receive(3, append(2, 3, 1, 1, {2}));
  server.receive(2, append(3, 2, 1, 1, {3}));
  server.finish_write();
  CHECK(server.raft.durable() == Index(1));
  server.receive(2, append(3, 2, 2, 3, {}, 2, 1));
  CHECK(server.take<AppendReply>(2).size() == 1);  // of term 1: what that write held
  server.finish_write();
  const auto reply = server.take_last<AppendReply>(2);
  CHECK(reply.term == Term(3));
  CHECK(reply.match == Index(2));
  CHECK(server.disk.entries[1].term == Term(3));
}

TEST_CASE("contract: an acknowledgement that waited is dropped when the term changes") {
  Server server = quiet_follower();
  server.slow_disk = true;
  server.receive(2, append(1, 2, 1, 1, {1}));
  server.receive(2, append(1, 2, 2, 1, {1}));  // waits for the next write
  // n2 may lead again in the new term, with another entry at that position.
  server.receive(3, VoteReply{Term(2), false, false});
  server.let_disk_catch_up();
  const auto reply = server.take_one<AppendReply>(2);
  CHECK(reply.term == Term(1));
  CHECK(reply.match == Index(2));
}

TEST_CASE("contract: a refusal waits for its term to be durable, and for no entry") {
  Server server = quiet_follower();
  server.slow_disk = true;
  server.receive(2, append(1, 2, 1, 1, {1}));
  server.receive(2, append(1, 2, 9, 1));
  CHECK_FALSE(server.take_one<AppendReply>(2).success);
  server.receive(3, append(2, 3, 9, 1));
  CHECK(server.take<AppendReply>(3).empty());
  server.let_disk_catch_up();
  CHECK_FALSE(server.take_one<AppendReply>(3).success);
}

// ---- The rest of the output

TEST_CASE("contract: nothing is handed out twice, and nothing without a reason") {
  Raft raft(config(), {});
  CHECK(is_empty(raft.take_output()));
  raft.receive(id(2), append(1, 2, 0, 0, {1}, 1));
  const Output output = raft.take_output();
  CHECK(output.write);
  CHECK(output.committed.size() == 1);
  REQUIRE(output.changed);
  CHECK(output.changed->leader == id(2));
  CHECK(output.changed->term == Term(1));
  CHECK(is_empty(raft.take_output()));
  raft.written(output.write->id);
  CHECK(is_empty(raft.take_output()));
}

TEST_CASE("contract: a change of role, term or leader is told") {
  Server server;
  make_leader(server);
  server.tick(20);
  std::vector<Role> roles;
  for (const Output::Changed& change : server.changes) roles.push_back(change.role);
  CHECK(roles == std::vector<Role>{Role::pre_candidate, Role::candidate, Role::leader, Role::follower});
  CHECK(server.changes[2].leader == id(1));
  CHECK(server.changes[3].leader == NodeId{});
}

TEST_CASE("contract: the window of unanswered messages is bounded, and moves with the answers") {
  Config c = config();
  c.limits.max_in_flight = 4;
  Server leader = established_leader(c);
  for (int i = 0; i < 10; ++i) leader.propose();
  CHECK(leader.take<AppendRequest>(2).size() == 4);
  leader.tick(3);
  CHECK(leader.take_one<AppendRequest>(2).entries.empty());  // the heartbeat goes out in any case
  leader.receive(2, matched(1, 3));
  const std::vector<AppendRequest> more = leader.take<AppendRequest>(2);
  REQUIRE(more.size() >= 1);
  CHECK(more.size() <= 2);
  CHECK(more[0].prev_index == Index(5));
  CHECK(leader.raft.progress_of(id(2))->in_flight.size() <= 4);
}

TEST_CASE("contract: the window is bounded in bytes, too, and so is each message") {
  Config c = config();
  c.limits.max_in_flight_bytes = 100;
  c.limits.max_append_bytes = 40;
  Server leader = established_leader(c);
  leader.propose(std::vector<std::string>(20, std::string(10, 'x')));
  const std::vector<AppendRequest> sent = leader.take<AppendRequest>(2);
  CHECK(sent.size() == 3);
  for (const AppendRequest& request : sent) CHECK(request.entries.size() == 4);
}

TEST_CASE("contract: a command bigger than a message's bound goes alone") {
  Config c = config();
  c.limits.max_append_bytes = 40;
  Server leader = established_leader(c);
  leader.propose({"small", std::string(1000, 'x'), "small"});
  for (const AppendRequest& request : leader.take<AppendRequest>(2)) CHECK(request.entries.size() == 1);
}

TEST_CASE("contract: a peer that is slow to acknowledge slows down nobody else") {
  Config c = config();
  c.limits.max_in_flight = 2;
  Server leader = established_leader(c);
  for (std::uint64_t i = 2; i < 50; ++i) {
    leader.propose();
    leader.receive(2, matched(1, i));
  }
  CHECK(leader.commit() == 49);
  CHECK(leader.take<AppendRequest>(3).size() < 60);
  CHECK(leader.raft.progress_of(id(3))->in_flight.size() == 2);
}

TEST_CASE("contract: what comes in behind unanswered entries gathers until the peer answers or our disk takes it") {
  Server leader = established_leader();
  leader.slow_disk = true;
  leader.propose();
  for (const int peer : {2, 3}) CHECK(leader.take_one<AppendRequest>(peer).entries.size() == 1);
  for (int i = 0; i < 3; ++i) leader.propose();
  CHECK(leader.take<AppendRequest>(2).empty());
  leader.receive(2, matched(1, 2));
  CHECK(leader.take_one<AppendRequest>(2).entries.size() == 3);
  CHECK(leader.take<AppendRequest>(3).empty());
  leader.finish_write();
  CHECK(leader.take_one<AppendRequest>(3).entries.size() == 3);
}

TEST_CASE("contract: a commit position goes with the entries that follow, or alone at once") {
  Server leader = established_leader();
  leader.propose();
  leader.sent.clear();
  leader.receive(2, matched(1, 2));
  for (const int peer : {2, 3}) {
    const AppendRequest news = leader.take_one<AppendRequest>(peer);
    CHECK(news.commit == Index(2));
    CHECK(news.entries.empty());
  }
  leader.slow_disk = true;
  for (int i = 0; i < 2; ++i) leader.propose();  // the first goes at once, the second waits for its answer
  CHECK(leader.take<AppendRequest>(3).size() == 1);
  leader.receive(2, matched(1, 3));
  leader.finish_write();
  const AppendRequest both = leader.take_one<AppendRequest>(3);
  CHECK(both.commit == Index(3));
  CHECK(both.entries.size() == 1);
}

TEST_CASE("contract: a run is a function of its inputs") {
  const auto run = [] {
    Network network(3, 42);
    network.wait_for_leader();
    network[network.leader()].propose({"a"});
    network.tick(10);
    network.crash(network.leader());
    const int leader = network.wait_for_leader();
    return std::tuple{leader, network[leader].term(), network[leader].changes.size()};
  };
  CHECK(run() == run());
}
