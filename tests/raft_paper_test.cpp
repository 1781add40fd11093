// Log replication, one test per rule: Raft figure 2, §5.3, §5.4.2, §5.5 and §8.
#include "tests/raft_network.hpp"

using namespace kv::raft_test;

namespace {

// Five servers, of which n1 leads and the others' logs are as told; all are of one term.
void start_with_logs(Network& network, std::uint64_t term, const std::vector<Terms>& logs) {
  for (int n = 1; n <= network.size(); ++n) {
    network.start_with(n, disk(term, logs.at(static_cast<std::size_t>(n - 1))));
  }
}

// The follower of n2 in term 1, with that log, durable.
Server follower_of_2(const Terms& log) {
  Server server(config(), disk(1, log));
  server.receive(2, append(1, 2, 0, 0));
  server.sent.clear();
  return server;
}

}  // namespace

// ---- §5.3 The leader

TEST_CASE("raft §5.3: the leader appends a command and sends it to all in parallel") {
  Server leader = established_leader();
  CHECK(leader.propose({"a", "b"}) == Index(2));
  for (int peer : {2, 3}) {
    const auto request = leader.take_one<AppendRequest>(peer);
    CHECK(request.prev_index == Index(1));
    CHECK(request.prev_term == Term(1));
    REQUIRE(request.entries.size() == 2);
    CHECK(request.entries[0].index == Index(2));
    CHECK(request.entries[0].term == Term(1));
    CHECK(*request.entries[1].command == "b");
  }
}

TEST_CASE("raft §5.3: an entry is committed when a majority has it, and then applied, in order") {
  Server leader = established_leader(config(1, 5));
  leader.propose({"a"});
  leader.propose({"b"});
  leader.receive(2, matched(1, 3));
  CHECK(leader.commit() == 1);
  leader.receive(3, matched(1, 2));
  CHECK(leader.commit() == 2);
  leader.receive(4, matched(1, 3));
  REQUIRE(leader.applied.size() == 3);
  CHECK(*leader.applied[1].command == "a");
  CHECK(*leader.applied[2].command == "b");
}

TEST_CASE("raft §5.3: a new commit position is told at once") {
  Server leader = established_leader();
  leader.propose();
  leader.sent.clear();
  leader.receive(2, matched(1, 2));
  for (int peer : {2, 3}) {
    const auto news = leader.take_one<AppendRequest>(peer);
    CHECK(news.commit == Index(2));
    CHECK(news.entries.empty());
  }
}

TEST_CASE("raft §5.3: a follower applies what the leader says is committed") {
  Server server;
  server.receive(2, append(1, 2, 0, 0, {1, 1, 1}, 2));
  CHECK(server.applied.size() == 2);
  server.receive(2, append(1, 2, 3, 1, {}, 3));
  CHECK(server.applied.size() == 3);
}

TEST_CASE("raft §5.3: only a leader takes commands") {
  Server server;
  CHECK_FALSE(server.propose());
  make_candidate(server);
  CHECK_FALSE(server.propose());
  CHECK(server.last() == 0);
}

TEST_CASE("raft §5.3: a leader never overwrites or deletes entries of its own log") {
  Server leader = established_leader();
  leader.propose();
  leader.receive(2, append(1, 2, 0, 0, {1}));  // nobody else leads in its term
  leader.receive(2, append(0, 2, 0, 0));
  CHECK(leader.raft.leads());
  CHECK(leader.last() == 2);
}

TEST_CASE("raft §5.3: a follower that does not answer is asked again without end") {
  Network network(3);
  network.elect(1);
  network.crash(3);
  network[1].propose({"while it was away"});
  network.tick(100);
  CHECK(network[1].commit() == 2);
  network.restart(3);
  network.tick(5);
  CHECK(network[3].commit() == 2);
}

// ---- §5.3 The follower

TEST_CASE("raft figure 2, AppendEntries 2: refused where no entry has the position and term before it") {
  Server server = follower_of_2({1, 1});
  server.receive(2, append(3, 2, 3, 1, {3}));
  auto reply = server.take_one<AppendReply>(2);
  CHECK_FALSE(reply.success);
  CHECK(reply.rejected == Index(3));
  CHECK(reply.hint_index == Index(2));
  server.receive(2, append(3, 2, 2, 2, {3}));
  reply = server.take_one<AppendReply>(2);
  CHECK_FALSE(reply.success);
  server.receive(2, append(3, 2, 2, 1, {3}));
  reply = server.take_one<AppendReply>(2);
  CHECK(reply.success);
  CHECK(reply.match == Index(3));
  CHECK(terms_of(server.raft.log()) == Terms{1, 1, 3});
}

TEST_CASE("raft figure 2, AppendEntries 3: a conflicting entry goes, and all that follow it") {
  Server server(config(), disk(3, {1, 2, 2, 2, 3}));
  server.receive(2, append(4, 2, 1, 1, {2, 4}));
  CHECK(terms_of(server.raft.log()) == Terms{1, 2, 4});
  CHECK(server.disk.entries.size() == 3);
  CHECK(server.take_one<AppendReply>(2).match == Index(3));
}

TEST_CASE("raft figure 2, AppendEntries 3: without a conflict nothing goes (mistake 5)") {
  Server server = follower_of_2({});
  server.receive(2, append(1, 2, 0, 0, {1, 1}));
  server.receive(2, append(1, 2, 2, 1, {1, 1}));
  server.receive(2, append(1, 2, 0, 0, {1, 1}));  // repeated, or overtaken on the way
  server.receive(2, append(1, 2, 1, 1));
  CHECK(terms_of(server.raft.log()) == Terms{1, 1, 1, 1});
  CHECK(server.disk.entries.size() == 4);
}

TEST_CASE(
    "raft figure 2, AppendEntries 5: committed is what the leader says and this message verified (mistake 6)") {
  Server server(config(), disk(3, {1, 2, 2, 2}));  // the leader's log is 1, 4, 4, 4
  server.receive(2, append(4, 2, 1, 1, {}, 4));
  CHECK(server.commit() == 1);
  server.receive(2, append(4, 2, 1, 1, {4}, 4));
  CHECK(server.commit() == 2);
  server.receive(2, append(4, 2, 2, 4, {4, 4}, 3));
  CHECK(server.commit() == 3);
  server.receive(2, append(4, 2, 4, 4, {}, 2));  // late
  CHECK(server.commit() == 3);
}

TEST_CASE("raft §5.3: what is acknowledged is what the message verified, not the log's end (mistake 7)") {
  Server server(config(), disk(3, {1, 2, 2, 2}));
  server.receive(2, append(4, 2, 1, 1));
  CHECK(server.take_one<AppendReply>(2).match == Index(1));
  server.receive(2, append(4, 2, 0, 0, {1}));
  CHECK(server.take_one<AppendReply>(2).match == Index(1));
}

TEST_CASE("raft §5.5: requests that come twice do no harm") {
  Server server = follower_of_2({});
  for (int i = 0; i < 3; ++i) {
    server.receive(2, append(1, 2, 0, 0, {1, 1}, 1));
    const auto reply = server.take_one<AppendReply>(2);
    CHECK(reply.success);
    CHECK(reply.match == Index(2));
  }
  CHECK(server.applied.size() == 1);
  CHECK(server.last() == 2);
}

TEST_CASE("raft: an AppendRequest that no leader could have sent is ignored") {
  Server server = follower_of_2({1});
  AppendRequest gap = append(2, 2, 1, 1, {2, 2});
  gap.entries[1].index = Index(4);
  AppendRequest behind = append(2, 2, 1, 1, {2});
  behind.entries[0].index = Index(1);
  AppendRequest wrapped = append(2, 2, UINT64_MAX, 1);
  wrapped.entries = {entry(2, 0)};
  const std::vector<AppendRequest> malformed{
      gap, behind, append(2, 2, 1, 1, {2, 1}), append(2, 2, 1, 1, {3}), append(2, 2, 1, 3),
  };
  for (const AppendRequest& request : malformed) {
    server.receive(2, request);
    CHECK(server.sent.empty());
    CHECK(server.term() == Term(1));
    CHECK(terms_of(server.raft.log()) == Terms{1});
  }
  server.receive(2, wrapped);  // refused, as every one whose place is not known
  CHECK(terms_of(server.raft.log()) == Terms{1});
  server.receive(2, append(2, 2, 1, 1, {2}, UINT64_MAX));
  CHECK(server.commit() == 2);
}

// ---- §5.3 Bringing logs together

TEST_CASE("raft figure 7: whatever the followers' logs are, they end as the leader's") {
  const Terms leader{1, 1, 1, 4, 4, 5, 5, 6, 6, 6};
  const std::vector<Terms> followers{
      {1, 1, 1, 4, 4, 5, 5, 6, 6},           // (a) one is missing
      {1, 1, 1, 4},                          // (b) many are missing
      {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6},     // (c) one too many
      {1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7},  // (d) two of a term that the leader never saw
      {1, 1, 1, 4, 4, 4, 4},                 // (e) both
      {1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3},     // (f) both
  };
  for (const Terms& follower : followers) {
    Network network(3);
    start_with_logs(network, 7, {leader, follower, leader});
    network.elect(1);
    network.tick(10);
    Terms expected = leader;
    expected.push_back(8);
    CHECK(terms_of(network[2].raft.log()) == expected);
    CHECK(network[2].commit() == expected.size());
  }
}

TEST_CASE("raft §5.3: a refusal skips a whole term, so that few round trips find where logs agree") {
  Terms shared(10, 1);
  Terms ours = shared;
  ours.insert(ours.end(), 100, 5);
  Terms theirs = shared;
  theirs.insert(theirs.end(), 50, 2);
  theirs.insert(theirs.end(), 50, 3);
  Server leader(config(), disk(5, ours));
  Server follower(config(2), disk(5, theirs));
  make_leader(leader);
  int round_trips = 0;
  for (; leader.raft.progress_of(id(2))->match != Index(111); ++round_trips) {
    REQUIRE(round_trips < 10);
    for (const AppendRequest& request : leader.take<AppendRequest>(2)) follower.receive(1, request);
    for (const AppendReply& reply : follower.take<AppendReply>(1)) leader.receive(2, reply);
  }
  CHECK(round_trips <= 4);
}

TEST_CASE("raft §5.3: while the place of agreement is sought, one message at a time") {
  Server leader(config(), disk(1, Terms(20, 1)));
  make_leader(leader);
  CHECK(leader.take<AppendRequest>(2).size() == 1);
  for (int i = 0; i < 5; ++i) leader.propose();
  CHECK(leader.take<AppendRequest>(2).empty());
  leader.tick(3);
  CHECK(leader.take<AppendRequest>(2).size() == 1);  // the heartbeat asks again
}

TEST_CASE("raft §5.3: refusals that come late, twice or of nowhere move the leader nowhere") {
  Server leader = established_leader(config(), disk(1, {1, 1, 1}));
  leader.propose();
  const std::uint64_t term = leader.term().value;
  const Index next = leader.raft.progress_of(id(2))->next;
  for (const std::uint64_t rejected : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{4}}) {
    leader.receive(2, AppendReply{Term(term), false, {}, 0, Index(rejected), Index(9), Term(9)});
    CHECK(leader.raft.progress_of(id(2))->next == next);
  }
  leader.receive(2, matched(term, 1));  // an old one
  CHECK(leader.raft.progress_of(id(2))->match == Index(4));
  leader.receive(2, matched(term, 99));  // it has no such entry
  CHECK(leader.raft.progress_of(id(2))->match == Index(4));
  CHECK(leader.commit() == 4);
}

TEST_CASE("raft §5.3: a message lost on the way is noticed and sent again") {
  Network network(3);
  network.elect(1);
  network.tick(3);
  network.cut(1, 2);
  network[1].propose({"lost"});
  network.settle();
  network.heal();
  network[1].propose({"not lost"});
  network.settle();
  CHECK(network[2].last() == network[1].last());
}

TEST_CASE("raft: a link that comes back starts again from what is certain") {
  Server leader = established_leader();
  leader.propose({"lost with the connection"});
  leader.sent.clear();
  leader.raft.link_changed(id(2));
  leader.flush();
  const auto request = leader.take_one<AppendRequest>(2);
  CHECK(request.prev_index == Index(1));
  CHECK(request.entries.size() == 1);
  CHECK(leader.take<AppendRequest>(3).empty());
}

// ---- §5.4.2 Entries of earlier terms

TEST_CASE("raft §5.4.2: copies of an older term's entry are not counted (mistake 4)") {
  Server leader(config(), disk(2, {1, 2}));
  make_leader(leader);
  leader.receive(2, matched(3, 2));
  CHECK(leader.commit() == 0);
  leader.receive(2, matched(3, 3));  // the first entry of its own term takes them along
  CHECK(leader.commit() == 3);
}

TEST_CASE("raft figure 8: an entry on a majority that is not committed may be replaced; a committed one never") {
  const std::vector<Terms> logs{{1, 2}, {1, 2}, {1}, {1}, {1, 3}};
  for (const bool commits_in_term_4 : {false, true}) {
    Network network(5);
    start_with_logs(network, 3, logs);
    // (c) n1 leads in term 4 and copies the entry of term 2 to n3; its own entry of term 4 comes no further.
    make_candidate(network[1]);
    for (int n : {2, 3}) {
      network[n].receive(1, vote_request(4, 1, 2, 2));
      for (const VoteReply& vote : network[n].take<VoteReply>(1)) network[1].receive(n, vote);
    }
    REQUIRE(network[1].raft.leads());
    network[1].sent.clear();
    for (int n : {2, 3}) {
      const AppendRequest request = commits_in_term_4 ? append(4, 1, 1, 1, {2, 4}) : append(4, 1, 1, 1, {2});
      network[n].receive(1, request);
      network[n].take<AppendReply>(1);
      network[1].receive(n, matched(4, commits_in_term_4 ? 3 : 2));
    }
    CHECK(network[1].commit() == (commits_in_term_4 ? 3 : 0));
    network.crash(1);
    for (int n : {2, 3, 4}) network[n].tick(10);  // n1's lease is over
    network.collect();
    network.flying().clear();
    // (d), (e) n5 stands: in (d) it wins and replaces the entry; in (e) nobody who has term 4 votes for it.
    for (const std::uint64_t term : {4, 5}) {
      make_candidate(network[5]);
      REQUIRE(network[5].term() == Term(term));
      network.settle();
    }
    CHECK(network[5].raft.leads() == !commits_in_term_4);
  }
}

// ---- §5.5 Crashes, §8 the first entry

TEST_CASE("raft §5.5: a server that crashed goes on with what its disk has") {
  Network network(3);
  network.elect(1);
  network[1].propose({"a"});
  network.settle();
  for (int n : {1, 2, 3}) network.crash(n);
  for (int n : {1, 2, 3}) network.restart(n);
  const int leader = network.wait_for_leader();
  network.tick(3);
  for (int n : {1, 2, 3}) CHECK(network[n].commit() == 3);
  CHECK(*network[leader].applied[1].command == "a");
}

TEST_CASE("raft §5.5: a starting server applies what its disk knows to be committed") {
  const Server server(config(), disk(1, {1, 1, 1}, "n2", 2));
  CHECK(server.commit() == 2);
  CHECK(server.applied.size() == 2);
}

TEST_CASE("raft §8: a leader begins its term with an entry without a command") {
  Server leader(config(), disk(1, {1}));
  make_leader(leader);
  CHECK(leader.last() == 2);
  CHECK(leader.raft.log().at(Index(2)).command == nullptr);
  CHECK(leader.raft.log().at(Index(2)).term == Term(2));
}

TEST_CASE("raft: the first entry of an empty log is the one that was set, and of no other log") {
  const auto first_entry = [](const Terms& log) {
    Server leader(config(), disk(1, log));
    leader.raft.set_first_command(text("members"));
    make_leader(leader);
    return leader.raft.log().at(leader.raft.log().last_index()).command;
  };
  REQUIRE(first_entry({}));
  CHECK(*first_entry({}) == "members");
  CHECK(first_entry({1}) == nullptr);
}
