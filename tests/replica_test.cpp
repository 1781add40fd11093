// A replica as a member of its cluster: forming, sessions' INIT, leadership, stopping. Writes, reads and limits
// have files of their own.
#include "tests/replica_fixture.hpp"

using namespace kv;
using namespace kv::replica_test;

namespace {

const Options unformed{.formed = false};

message::Init init(std::uint64_t protocol = protocol_version) {
  return {protocol, "test"};
}

bool anyone_leads(Cluster& cluster, std::initializer_list<const char*> nodes) {
  return std::any_of(nodes.begin(), nodes.end(), [&](const char* node) { return cluster[node].raft().leads(); });
}

message::Put in_session(message::Put write, std::uint64_t seq) {
  write.session = message::WriteSession{"7f0c1a52-0c4e-4a1e-8f5d-0c8b7f1a2b3c", seq, 0};
  return write;
}

}  // namespace

// ---- Forming

TEST_CASE("A cluster is formed only when every member has been reached", "[replica]") {
  Cluster cluster(unformed);
  cluster.start("n1");
  cluster.start("n2");
  cluster.tick(500);
  CHECK_FALSE(anyone_leads(cluster, {"n1", "n2"}));
  CHECK(cluster["n1"].raft().term() == raft::Term(0));
  cluster.start("n3");
  cluster.elect("n2");
  for (const std::string node : {"n1", "n2", "n3"}) {
    CHECK(cluster[node].roster().cluster() == "cluster of n2, start 2");
    CHECK(cluster[node].applied() == 1);
  }
}

TEST_CASE("INIT waits for a cluster that is still forming, or gets NO_LEADER", "[replica]") {
  Cluster cluster(unformed);
  cluster.start("n1");
  cluster.start("n2");
  const ClientId client = cluster.client("n1");
  const auto patient = cluster.ask(client, init(), 60'000);
  const auto hasty = cluster.ask(client, init(), 100);
  const auto wrong = cluster.ask(client, init(), 60'000, "another cluster");
  const auto write = cluster.ask(client, put("colour", "blue"), 100);
  cluster.tick(12);
  CHECK(cluster.said(patient) == "nothing yet");
  CHECK(cluster.said(hasty) == "ERROR NO_LEADER");
  CHECK(cluster.said(write) == "ERROR NO_LEADER");
  cluster.start("n3");
  cluster.elect("n1");
  CHECK(cluster.said(patient) == "INIT_OK");
  CHECK(cluster.said(wrong) == "ERROR CLUSTER_MISMATCH");
}

TEST_CASE("A server whose disk was emptied is refused, and does not vote", "[replica]") {
  Cluster cluster;
  cluster.at_once(cluster.client("n1"), put("colour", "blue"));
  cluster.wipe("n3");
  cluster.start("n3");
  cluster.tick(heartbeat_ticks);
  CHECK(cluster.refusal("n3", "n1").find("another data directory") != std::string::npos);
  CHECK(cluster.refusal("n1", "n3").find("another data directory") != std::string::npos);
  cluster.crash("n1");
  cluster.tick(500);
  CHECK_FALSE(anyone_leads(cluster, {"n2", "n3"}));  // it does not vote
  CHECK(cluster["n3"].raft().term() == raft::Term(0));
}

// n1 leads a cluster that n3 has voted for and heard no more of; then n1 comes back with an empty disk.
void form_without_n3_and_wipe_n1(Cluster& cluster) {
  for (const std::string node : {"n1", "n2", "n3"}) cluster.start(node);
  cluster.run();
  REQUIRE(cluster["n3"].roster().can_form());
  cluster.stall_disk("n3");  // its vote is the last that n1 gets, and then n3 hears nothing more
  while (cluster["n1"].raft().role() != raft::Role::candidate) {
    cluster["n1"].tick();
    cluster.run();
  }
  cluster.hold("n1", "n3");
  cluster.hold("n2", "n3");
  cluster.release_disk("n3");
  cluster.run();
  REQUIRE(cluster["n1"].raft().leads());
  const ClientId client = cluster.client("n1");
  REQUIRE(cluster.at_once(client, put("colour", "blue")) == "PUT_OK 2");
  REQUIRE(cluster["n3"].roster().cluster().empty());
  cluster.wipe("n1");
  cluster.start("n1");
  cluster.release("n1", "n3");
}

TEST_CASE("What a server knows of the others' emptiness from earlier forms no second cluster", "[replica]") {
  Cluster cluster(unformed);
  form_without_n3_and_wipe_n1(cluster);
  cluster.tick(500);
  CHECK_FALSE(cluster["n3"].raft().leads());
  CHECK_FALSE(cluster["n1"].raft().leads());
  cluster.release("n2", "n3");
  cluster.tick(500);
  CHECK(cluster["n2"].raft().leads() != cluster["n3"].raft().leads());
  const ClientId other = cluster.client("n3");
  CHECK(cluster.at_once(other, linearizable("colour")).find("blue") != std::string::npos);
}

// n3 lets the emptied n1 in while it knows no members, and learns then who they are.
TEST_CASE("A link that was opened before the members were known is not one for ever", "[replica]") {
  Cluster cluster(unformed);
  form_without_n3_and_wipe_n1(cluster);
  cluster.tick(1);
  REQUIRE(cluster["n3"].roster().is_reached("n1"));
  cluster.release("n2", "n3");
  cluster.elect("n2");
  REQUIRE_FALSE(cluster["n3"].roster().cluster().empty());
  cluster.crash("n2");
  cluster.tick(500);
  CHECK_FALSE(cluster["n3"].raft().leads());  // it would be with n1's vote, which has forgotten what it voted for
  CHECK_FALSE(cluster["n3"].roster().is_reached("n1"));
}

// It has voted, and then heard its leader, but never an entry: it belongs to no cluster yet, and has a leader.
TEST_CASE("A server without a log does not wait for ever for a leader that is gone", "[replica]") {
  Cluster cluster(unformed);
  for (const std::string node : {"n1", "n2", "n3"}) cluster.start(node);
  cluster.run();
  cluster.stall_disk("n3");
  while (cluster["n1"].raft().role() != raft::Role::candidate) {
    cluster["n1"].tick();
    cluster.run();
  }
  cluster.hold("n1", "n3");
  cluster.release_disk("n3");
  cluster.run();
  REQUIRE(cluster["n1"].raft().leads());
  REQUIRE(cluster.at_once(cluster.client("n1"), put("colour", "blue")) == "PUT_OK 2");
  // A heartbeat reaches it, but none of the entries before.
  const raft::Term term = cluster["n1"].raft().term();
  cluster.hand_over(
      "n3", "n1", {{}, raft::AppendRequest{term, raft::NodeId("n1"), raft::Index(2), term, {}, raft::Index(2), 0}});
  cluster.run();
  REQUIRE(cluster["n3"].raft().leader().name == "n1");
  REQUIRE(cluster["n3"].roster().cluster().empty());
  cluster.crash("n1");
  cluster.tick(500);
  CHECK(cluster["n2"].raft().leads());
  CHECK(cluster.at_once(cluster.client("n3"), linearizable("colour")).find("blue") != std::string::npos);
}

TEST_CASE("Servers whose disks were emptied form no cluster while a member remembers one", "[replica]") {
  Cluster cluster;
  cluster.wipe("n2");
  cluster.wipe("n3");
  cluster.start("n2");
  cluster.start("n3");
  cluster.tick(500);
  CHECK_FALSE(anyone_leads(cluster, {"n1", "n2", "n3"}));
  CHECK(cluster["n2"].roster().cluster().empty());
}

// The one who formed it was cut off before anyone heard of it, and is started again when another has formed it.
TEST_CASE("A first entry that only its author has is the cluster's: the others form none without it", "[replica]") {
  Cluster cluster(unformed);
  for (const std::string node : {"n1", "n2", "n3"}) cluster.start(node);
  cluster.run();
  // The others' votes reach n1, but nothing that n1 says as their leader reaches them.
  cluster.stall_disk("n2");
  cluster.stall_disk("n3");
  while (cluster["n1"].raft().role() != raft::Role::candidate) {
    cluster["n1"].tick();
    cluster.run();
  }
  cluster.hold("n1", "n2");
  cluster.hold("n1", "n3");
  cluster.release_disk("n2");
  cluster.release_disk("n3");
  cluster.run();
  REQUIRE(cluster["n1"].raft().leads());
  REQUIRE(cluster.durable_copies(1) == 1);
  cluster.sleep("n1");
  cluster.tick(500);
  CHECK_FALSE(cluster["n2"].raft().leads());
  CHECK_FALSE(cluster["n3"].raft().leads());
  cluster.wake("n1");
  cluster.release_all("n1");
  cluster.restart("n1");
  cluster.tick(8 * election_ticks);
  CHECK(cluster.refusal("n1", "n2") == "");
  CHECK(cluster["n1"].roster().cluster() == cluster["n2"].roster().cluster());
  CHECK(cluster["n1"].roster().cluster() == cluster["n3"].roster().cluster());
  CHECK(anyone_leads(cluster, {"n1", "n2", "n3"}));
}

TEST_CASE("A data directory of other members is refused at start", "[replica]") {
  const command::Members members{"a cluster", {{"n1", "i1", "a", "b"}, {"n9", "i9", "c", "d"}}};
  const raft::Entry first{raft::Term(1), raft::Index(1), raft::Payload(encode(members))};
  ReplicaConfig config;
  config.self = {"n1", "i1", "a", "b"};
  config.names = {"n1", "n2"};
  CHECK_THROWS_AS(Replica(config, {{raft::Term(1), {}}, {first}, raft::Index(1)}), std::runtime_error);
  config.names = {"n9", "n1"};
  CHECK_NOTHROW(Replica(config, {{raft::Term(1), {}}, {first}, raft::Index(1)}));
}

TEST_CASE("A log that holds what this version does not know is refused at start", "[replica]") {
  const raft::Entry first{raft::Term(1), raft::Index(1), raft::Payload("\x7f of the future")};
  ReplicaConfig config;
  config.self = {"n1", "i1", "a", "b"};
  config.names = {"n1"};
  CHECK_THROWS_AS(Replica(config, {{raft::Term(1), {}}, {first}, raft::Index(1)}), std::runtime_error);
}

// ---- INIT and STATUS

TEST_CASE("INIT_OK says where the client is", "[replica]") {
  Cluster cluster;
  cluster.at_once(cluster.client("n1"), put("colour", "blue"));
  cluster.tick(heartbeat_ticks);
  const auto id = cluster.ask(cluster.client("n2"), init(), {}, "cluster of n1, start 1");
  cluster.run();
  const auto ok = cluster.last<message::InitOk>(id);
  CHECK(ok.protocol == 1);
  CHECK(ok.server == "kvd test");
  CHECK(ok.cluster == "cluster of n1, start 1");
  CHECK(ok.node == "n2");
  CHECK(ok.leader == "n1");
  CHECK(ok.applied == 2);
  CHECK(ok.members == std::vector<message::Member>{{"n1", "n1:7401"}, {"n2", "n2:7401"}, {"n3", "n3:7401"}});
}

TEST_CASE("A client of another cluster is told so, whatever it asks", "[replica]") {
  Cluster cluster;
  const ClientId client = cluster.client("n2");
  for (const Body& body : {Body(init()), Body(put("colour", "blue")), Body(erase("colour")), Body(get("colour", 9)),
                           Body(linearizable("colour")), Body(message::Status{})}) {
    const auto id = cluster.ask(client, body, {}, "another cluster");
    cluster.run();
    CHECK(cluster.said(id) == "ERROR CLUSTER_MISMATCH");
    CHECK(cluster.last<message::Error>(id).cluster == "cluster of n1, start 1");
  }
  CHECK(cluster["n1"].raft().log().last_index() == raft::Index(1));
}

TEST_CASE("An answer does not repeat what was asked at any length", "[replica]") {
  Cluster cluster;
  const auto id = cluster.ask(cluster.client("n1"), init(), {}, std::string(1 << 20, '\n'));
  cluster.run();
  const auto error = cluster.last<message::Error>(id);
  CHECK(error.code == message::Code::cluster_mismatch);
  CHECK(error.message.size() < 1000);
  CHECK(error.message.find('\n') == std::string::npos);
}

TEST_CASE("INIT of a protocol that the server does not speak: BAD_REQUEST", "[replica]") {
  Cluster cluster;
  CHECK(cluster.at_once(cluster.client("n1"), init(2)) == "ERROR BAD_REQUEST");
}

TEST_CASE("STATUS tells the role, the positions, and at the leader its peers", "[replica]") {
  Cluster cluster;
  cluster.at_once(cluster.client("n1"), put("colour", "blue"));
  cluster.tick(heartbeat_ticks);
  const auto leader = cluster["n1"].status();
  CHECK(leader.role == "leader");
  CHECK(leader.leader == "n1");
  CHECK(leader.committed == 2);
  CHECK(leader.applied == 2);
  CHECK(leader.log_first == 1);
  CHECK(leader.log_last == 2);
  CHECK(leader.keys == 1);
  CHECK(leader.bytes == 10);
  REQUIRE(leader.peers.size() == 2);
  CHECK(leader.peers[0].node == "n2");
  CHECK(leader.peers[0].match == 2);
  const auto follower = cluster["n2"].status();
  CHECK(follower.role == "follower");
  CHECK(follower.leader == "n1");
  CHECK(follower.peers.empty());
  CHECK(cluster.at_once(cluster.client("n3"), message::Status{}) == "STATUS_OK");
}

TEST_CASE("A member's new address reaches every client", "[replica]") {
  Cluster cluster;
  const std::string moved = GENERATE("n1", "n3");
  cluster.move_to(moved, "elsewhere:1");
  const std::string leader = moved == "n1" ? "n2" : "n1";
  cluster.elect(leader);
  cluster.tick(4 * heartbeat_ticks);
  for (const std::string node : {"n1", "n2", "n3"}) {
    const auto id = cluster.ask(cluster.client(node), init());
    cluster.run();
    const auto members = cluster.last<message::InitOk>(id).members;
    CHECK(std::count(members.begin(), members.end(), message::Member{moved, "elsewhere:1"}) == 1);
  }
  const auto last = cluster[leader].raft().log().last_index();
  cluster.tick(100);
  CHECK(cluster[leader].raft().log().last_index() == last);  // said once
}

// ---- Leadership

TEST_CASE("Answered writes survive restarts of everyone", "[replica]") {
  Cluster cluster;
  CHECK(cluster.at_once(cluster.client("n2"), put("colour", "blue")) == "PUT_OK 2");
  for (const std::string node : {"n1", "n2", "n3"}) cluster.crash(node);
  for (const std::string node : {"n1", "n2", "n3"}) cluster.start(node);
  cluster.elect("n3");
  for (const std::string node : {"n1", "n2", "n3"}) {
    CHECK(cluster.at_once(cluster.client(node), linearizable("colour")) == "GET_OK blue@2");
  }
}

TEST_CASE("The preferred leader gets leadership once it is caught up", "[replica]") {
  Cluster cluster({.preferred_leader = "n2"});
  REQUIRE(cluster["n1"].raft().leads());
  cluster.tick(150);
  CHECK(cluster["n2"].raft().leads());
  cluster.tick(500);
  CHECK(cluster["n2"].raft().leads());
}

TEST_CASE("The preferred leader is not asked to lead while it is not there", "[replica]") {
  Cluster cluster({.preferred_leader = "n2"});
  cluster.cut("n1", "n2");
  cluster.cut("n2", "n3");
  cluster.tick(90);
  const auto id = cluster.ask(cluster.client("n3"), put("colour", "blue"));
  for (int i = 0; i < 200; ++i) {
    cluster.tick();
    REQUIRE_FALSE(cluster["n1"].raft().transferring());
  }
  CHECK(cluster.said(id).starts_with("PUT_OK"));
}

// Each attempt stops all writes for as long as an election takes.
TEST_CASE("A preferred leader that fails to get elected is asked ever more seldom", "[replica]") {
  Cluster cluster({.preferred_leader = "n2"});
  for (int i = 0; i < 3000; ++i) cluster.elect("n1");  // the others' questions for votes are lost meanwhile
  CHECK(cluster["n1"].raft().term().value < 40);
}

// ---- Stopping

TEST_CASE("A leader that stops hands over, and is quiet then", "[replica]") {
  Cluster cluster;
  const ClientId client = cluster.client("n1");
  cluster.stall_disk("n2");
  cluster.stall_disk("n3");
  const auto write = cluster.ask(client, put("colour", "blue"));
  const auto read = cluster.ask(client, get("colour", 99));
  cluster.run();
  cluster["n1"].stop();
  CHECK_FALSE(cluster["n1"].is_quiet());
  CHECK(cluster.at_once(client, put("colour", "red")) == "ERROR SHUTTING_DOWN");
  CHECK(cluster.at_once(client, get("colour")) == "ERROR SHUTTING_DOWN");
  CHECK(cluster.said(read) == "WAIT_FOR_RESPONSE, ERROR SHUTTING_DOWN");
  CHECK(cluster.said(write) == "nothing yet");
  cluster.release_disk("n2");
  cluster.release_disk("n3");
  cluster.tick(5);
  CHECK(cluster.said(write).starts_with("PUT_OK"));  // what was under way has ended
  CHECK(cluster["n1"].is_quiet());
  CHECK(anyone_leads(cluster, {"n2", "n3"}));
}

TEST_CASE("A single server that stops is quiet when its writes are done", "[replica]") {
  Cluster cluster({.size = 1});
  cluster.stall_disk("n1");
  const auto id = cluster.ask(cluster.client("n1"), put("colour", "blue"));
  cluster.run();
  cluster["n1"].stop();
  CHECK_FALSE(cluster["n1"].is_quiet());
  cluster.release_disk("n1");
  cluster.run();
  CHECK(cluster.said(id) == "PUT_OK 2");
  CHECK(cluster["n1"].is_quiet());
}

TEST_CASE("abandon() answers everything, as truthfully as is possible", "[replica]") {
  Cluster cluster;
  cluster.hold_all("n1");
  const ClientId at_leader = cluster.client("n1");
  const ClientId at_follower = cluster.client("n2");
  const auto proposed = cluster.ask(at_leader, in_session(put("colour", "blue"), 1));
  const auto forwarded = cluster.ask(at_follower, put("colour", "red"));
  std::vector<std::uint64_t> reads;
  for (const ClientId client : {at_leader, at_follower}) {
    reads.push_back(cluster.ask(client, get("colour", 99)));
    reads.push_back(cluster.ask(client, linearizable("colour")));
  }
  cluster.run();
  cluster.crash("n3");
  cluster["n1"].abandon();
  cluster["n2"].abandon();
  cluster.run();
  CHECK(cluster.said(proposed) == "ERROR UNKNOWN_OUTCOME");
  CHECK(cluster.said(forwarded) == "ERROR UNKNOWN_OUTCOME");
  for (const auto id : reads) CHECK(cluster.said(id).ends_with("ERROR SHUTTING_DOWN"));
}

TEST_CASE("abandon() while there is no leader and no cluster: nothing was done", "[replica]") {
  Cluster cluster(unformed);
  cluster.start("n1");
  const ClientId client = cluster.client("n1");
  const std::vector<std::uint64_t> ids{cluster.ask(client, init()), cluster.ask(client, put("colour", "blue")),
                                       cluster.ask(client, linearizable("colour"))};
  cluster.run();
  cluster["n1"].abandon();
  cluster.run();
  for (const auto id : ids) CHECK(cluster.said(id) == "ERROR SHUTTING_DOWN");
}
