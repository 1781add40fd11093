// What clients write, in a small cluster: when a write is answered, and with which code (docs/protocol.md, PUT).
#include "tests/replica_fixture.hpp"

using namespace kv;
using namespace kv::replica_test;

namespace {

const std::string session_id = "7f0c1a52-0c4e-4a1e-8f5d-0c8b7f1a2b3c";

message::Put in_session(message::Put write, std::uint64_t seq, std::uint64_t from = 0) {
  write.session = message::WriteSession{session_id, seq, from};
  return write;
}

message::Put only_if(message::Put write, std::uint64_t ts) {
  write.if_ts = ts;
  return write;
}

// A leader that nothing from the others reaches: after a while it steps down.
// And nobody takes its place meanwhile.
void make_step_down(Cluster& cluster, const std::string& leader) {
  cluster.let_stand(leader);
  for (int ticks = 0; cluster[leader].raft().leads(); ++ticks) {
    REQUIRE(ticks < 1000);
    cluster.tick();
  }
  cluster.let_stand("");
}

}  // namespace

// ---- Where it is fine

TEST_CASE("A write is done at the leader, and every server shows it", "[replica]") {
  Cluster cluster;
  CHECK(cluster.at_once(cluster.client("n1"), put("colour", "blue")) == "PUT_OK 2");  // the first entry: members
  for (const std::string node : {"n1", "n2", "n3"}) {
    CHECK(cluster.at_once(cluster.client(node), get("colour", 2)) == "GET_OK blue@2");
  }
}

TEST_CASE("A write at a follower is forwarded to the leader, and its answer passed on", "[replica]") {
  Cluster cluster;
  const ClientId client = cluster.client("n2");
  CHECK(cluster.at_once(client, put("colour", "blue")) == "PUT_OK 2");
  CHECK(cluster.at_once(client, only_if(put("colour", "red"), 1)) == "ERROR CONFLICT");
  CHECK(cluster.at_once(client, erase("colour")) == "DELETE_OK 4 found");
  CHECK(cluster.at_once(client, erase("colour")) == "DELETE_OK 5 absent");
}

TEST_CASE("A single server needs nobody", "[replica]") {
  Cluster cluster({.size = 1});
  const ClientId client = cluster.client("n1");
  CHECK(cluster.at_once(client, put("colour", "blue")) == "PUT_OK 2");
  cluster.stall_disk("n1");
  const auto id = cluster.ask(client, put("colour", "red"));
  cluster.run();
  CHECK(cluster.said(id) == "nothing yet");
  cluster.release_disk("n1");
  cluster.run();
  CHECK(cluster.said(id) == "PUT_OK 3");
}

TEST_CASE("if_ts that does not hold: CONFLICT with the key's current ts", "[replica]") {
  Cluster cluster;
  const ClientId client = cluster.client("n1");
  CHECK(cluster.at_once(client, only_if(put("colour", "blue"), 0)) == "PUT_OK 2");
  const auto id = cluster.ask(client, only_if(put("colour", "red"), 0));
  cluster.run();
  const auto error = cluster.last<message::Error>(id);
  CHECK(error.code == message::Code::conflict);
  CHECK(error.ts == 2);
  CHECK(cluster.at_once(client, only_if(put("colour", "red"), 2)) == "PUT_OK 4");
}

TEST_CASE("No PUT_OK before a majority has the write on disk, the leader's own copy included", "[replica]") {
  Cluster cluster;
  const auto stalled = GENERATE(std::pair{"n2", "n3"}, std::pair{"n1", "n2"});
  cluster.stall_disk(stalled.first);
  cluster.stall_disk(stalled.second);
  const auto id = cluster.ask(cluster.client("n1"), put("colour", "blue"));
  cluster.run();
  CHECK(cluster.said(id) == "nothing yet");
  cluster.release_disk(stalled.first);
  cluster.run();
  CHECK(cluster.said(id) == "PUT_OK 2");
}

TEST_CASE("A write that comes while leadership is handed over waits for the next leader", "[replica]") {
  Cluster cluster;
  cluster["n1"].stop();
  const auto id = cluster.ask(cluster.client("n2"), put("colour", "blue"));
  cluster.tick(5);
  CHECK_FALSE(cluster["n1"].raft().leads());
  CHECK(cluster.said(id).starts_with("PUT_OK"));
}

// ---- No leader

TEST_CASE("NO_LEADER where the time passes before anyone could be asked: the write is nowhere", "[replica]") {
  Cluster cluster;
  cluster.crash("n1");
  cluster.crash("n3");
  cluster.tick(2 * election_ticks);
  const auto id = cluster.ask(cluster.client("n2"), put("colour", "blue"), 200);
  cluster.tick(20);
  CHECK(cluster.said(id) == "nothing yet");
  cluster.tick(2);
  CHECK(cluster.said(id) == "ERROR NO_LEADER");
  cluster.start("n1");
  cluster.start("n3");
  cluster.elect("n2");
  CHECK(cluster.at_once(cluster.client("n2"), get("colour")) == "GET_OK absent");
}

TEST_CASE("A write that waits for a leader is done when there is one", "[replica]") {
  Cluster cluster;
  cluster.crash("n1");
  cluster.tick();
  const auto id = cluster.ask(cluster.client("n3"), put("colour", "blue"));
  cluster.run();
  CHECK(cluster.said(id) == "nothing yet");
  cluster.elect("n2");
  CHECK(cluster.said(id).starts_with("PUT_OK"));
}

// ---- The outcome is not known

TEST_CASE("UNKNOWN_OUTCOME where the time passes after the write has entered a log", "[replica]") {
  Cluster cluster;
  const std::string asked = GENERATE("n1", "n2");
  cluster.hold("n3", "n1");
  cluster.stall_disk("n2");
  const auto id = cluster.ask(cluster.client(asked), put("colour", "blue"), 100);
  cluster.tick(12);
  CHECK(cluster.said(id) == "ERROR UNKNOWN_OUTCOME");
  cluster.release_disk("n2");
  cluster.tick(heartbeat_ticks);
  CHECK(cluster.said(id) == "ERROR UNKNOWN_OUTCOME");  // once, though it is done by now
  CHECK(cluster.at_once(cluster.client("n1"), get("colour")) == "GET_OK blue@2");
}

TEST_CASE("UNKNOWN_OUTCOME where the link to the leader breaks before its answer", "[replica]") {
  Cluster cluster;
  cluster.hold("n1", "n2");
  const auto id = cluster.ask(cluster.client("n2"), put("colour", "blue"));
  cluster.run();
  CHECK(cluster.said(id) == "nothing yet");
  cluster.release("n1", "n2");
  cluster.cut("n1", "n2");
  cluster.run();
  CHECK(cluster.said(id) == "ERROR UNKNOWN_OUTCOME");
  CHECK(cluster.at_once(cluster.client("n1"), get("colour")) == "GET_OK blue@2");
}

TEST_CASE("PUT_OK after all where the leader changed and the write survived", "[replica]") {
  Cluster cluster;
  cluster.hold("n2", "n1");
  cluster.hold("n3", "n1");
  const auto id = cluster.ask(cluster.client("n1"), put("colour", "blue"));
  cluster.run();
  cluster.sleep("n1");
  cluster.elect("n2");
  CHECK(cluster.said(id) == "nothing yet");
  cluster.wake("n1");
  cluster.release_all("n1");
  cluster.tick(heartbeat_ticks);
  CHECK_FALSE(cluster["n1"].raft().leads());
  CHECK(cluster.said(id) == "PUT_OK 2");
}

// ---- The leader changed and the write did not survive

TEST_CASE("A write that another leader's entry has replaced is routed again", "[replica]") {
  Cluster cluster;
  cluster.hold_all("n1");
  const auto id = cluster.ask(cluster.client("n1"), put("colour", "blue"));
  cluster.elect("n2");
  CHECK(cluster.at_once(cluster.client("n2"), put("colour", "red")) == "PUT_OK 3");
  cluster.release_all("n1");
  cluster.tick(heartbeat_ticks);
  CHECK(cluster.said(id) == "PUT_OK 4");
  CHECK(cluster.at_once(cluster.client("n3"), get("colour", 4)) == "GET_OK blue@4");
}

TEST_CASE("It is routed again only if no later write of its connection was sent on", "[replica]") {
  Cluster cluster;
  cluster.hold_all("n1");
  const ClientId one = cluster.client("n1");
  const ClientId other = cluster.client("n1");
  const auto first = cluster.ask(one, put("colour", "first"));
  const auto second = cluster.ask(one, put("colour", "second"));
  const auto others = cluster.ask(other, put("shape", "round"));
  cluster.run();
  cluster.elect("n2");
  cluster.at_once(cluster.client("n2"), put("x", "1"));
  cluster.at_once(cluster.client("n2"), put("x", "2"));
  cluster.release_all("n1");
  cluster.tick(heartbeat_ticks);
  CHECK(cluster.said(first) == "ERROR NO_LEADER");
  CHECK(cluster.said(second).starts_with("PUT_OK"));
  CHECK(cluster.said(others).starts_with("PUT_OK"));
}

TEST_CASE("A write that was replaced goes before those that its connection has queued since", "[replica]") {
  Cluster cluster;
  cluster.hold_all("n1");
  const ClientId client = cluster.client("n1");
  const auto first = cluster.ask(client, put("colour", "first"));
  cluster.run();
  make_step_down(cluster, "n1");
  const auto second = cluster.ask(client, put("colour", "second"));
  cluster.elect("n2");
  CHECK(cluster.said(second) == "nothing yet");
  cluster.release_all("n1");
  cluster.tick(heartbeat_ticks);
  // Whichever of the two were done, in the log they stand as they were sent.
  CHECK(cluster.last<message::PutOk>(second).ts > 2);
  if (cluster.said(first) != "ERROR NO_LEADER") {
    CHECK(cluster.last<message::PutOk>(first).ts < cluster.last<message::PutOk>(second).ts);
  }
  CHECK(cluster.at_once(cluster.client("n1"), linearizable("colour")).starts_with("GET_OK second"));
}

TEST_CASE("The writes of one connection keep their order through changes of leader", "[replica]") {
  Cluster cluster;
  const ClientId client = cluster.client("n3");
  std::vector<std::uint64_t> ids;
  const auto write_some = [&] {
    for (int i = 0; i < 5; ++i) ids.push_back(cluster.ask(client, put("count", std::to_string(ids.size()))));
  };
  write_some();
  cluster.hold("n3", "n1");
  write_some();
  cluster.run();
  cluster.cut("n1", "n2");
  cluster.elect("n2");
  write_some();
  cluster.run();
  cluster.heal("n1", "n2");
  cluster.release("n3", "n1");
  write_some();
  cluster.tick(600);
  std::uint64_t last_ts = 0;
  for (const auto id : ids) {
    CHECK(cluster.said(id) != "nothing yet");
    if (!cluster.said(id).starts_with("PUT_OK")) continue;
    CHECK(cluster.last<message::PutOk>(id).ts > last_ts);
    last_ts = cluster.last<message::PutOk>(id).ts;
  }
  CHECK(cluster.at_once(client, linearizable("count")).starts_with("GET_OK 19@"));
}

TEST_CASE("A write that was forwarded in another term is refused: nothing enters the log", "[replica]") {
  Cluster cluster;
  const std::uint64_t term = cluster["n1"].raft().term().value;
  for (const std::uint64_t other : {term - 1, term + 1}) {
    cluster.hand_over("n1", "n2", {{}, message::Forward{1000, other, 5000, put("colour", "blue")}});
    cluster.run();
  }
  CHECK(cluster["n1"].raft().log().last_index() == raft::Index(1));
}

TEST_CASE("A refusal that belongs to an earlier term does not keep a server from the leader", "[replica]") {
  Cluster cluster;
  cluster.hold("n2", "n1");
  cluster.hold("n3", "n1");
  const ClientId client = cluster.client("n2");
  const auto id = cluster.ask(client, put("colour", "blue"));
  cluster.run();  // on its way to n1, in the first term
  make_step_down(cluster, "n1");
  cluster.release("n3", "n1");
  cluster.elect("n1");  // n2 hears that n1 leads again before it hears n1's refusal
  cluster.release("n2", "n1");
  cluster.tick(100);
  CHECK(cluster.said(id).starts_with("PUT_OK"));
  CHECK(cluster.at_once(client, put("colour", "red")).starts_with("PUT_OK"));
  CHECK(cluster.at_once(client, linearizable("colour")).starts_with("GET_OK red"));
}

TEST_CASE("A write whose time passes while the leader hands over does not keep the next ones from it",
          "[replica]") {
  Cluster cluster({.preferred_leader = "n3"});
  // n1 is about to hand over to n3, which never hears of it.
  for (int i = 0; i < 100 && !cluster["n1"].raft().transferring(); ++i) {
    cluster.release("n1", "n3");
    cluster.tick();
    cluster.hold("n1", "n3");
    cluster.tick(4);
  }
  REQUIRE(cluster["n1"].raft().transferring());
  const ClientId client = cluster.client("n2");
  const auto late = cluster.ask(client, put("colour", "blue"), 20);
  cluster.tick(10);
  CHECK(cluster.said(late) == "ERROR UNKNOWN_OUTCOME");
  cluster.cut("n1", "n3");
  cluster.tick(election_ticks);
  REQUIRE(cluster["n1"].raft().leads());
  REQUIRE_FALSE(cluster["n1"].raft().transferring());
  const auto id = cluster.ask(client, put("colour", "red"));
  cluster.tick(5);
  CHECK(cluster.said(id).starts_with("PUT_OK"));
}

TEST_CASE("An answer to a server's former life is not taken for one to its present life", "[replica]") {
  Cluster cluster;
  cluster.crash("n3");
  cluster.stall_disk("n2");
  cluster.ask(cluster.client("n2"), put("old", "1"));
  cluster.run();  // in the leader's log; without n2's disk it is not committed
  cluster.restart("n2");
  cluster.tick(heartbeat_ticks);
  const auto id = cluster.ask(cluster.client("n2"), put("new", "2"));
  cluster.run();
  CHECK(cluster.said(id) == "nothing yet");
  cluster.release_disk("n2");
  cluster.tick();
  CHECK(cluster.last<message::PutOk>(id).key == "new");
  CHECK(cluster.said(id) == "PUT_OK 3");
}

// ---- Sessions

TEST_CASE("A repeated write of a session gets its first answer again, on any server", "[replica]") {
  Cluster cluster;
  CHECK(cluster.at_once(cluster.client("n2"), in_session(put("colour", "blue"), 1)) == "PUT_OK 2");
  CHECK(cluster.at_once(cluster.client("n2"), in_session(only_if(put("colour", "red"), 0), 2)) == "ERROR CONFLICT");
  cluster.at_once(cluster.client("n1"), erase("colour"));
  CHECK(cluster.at_once(cluster.client("n3"), in_session(put("colour", "blue"), 1)) == "PUT_OK 2");
  CHECK(cluster.at_once(cluster.client("n1"), in_session(only_if(put("colour", "red"), 0), 2)) == "ERROR CONFLICT");
  CHECK(cluster.at_once(cluster.client("n1"), get("colour")) == "GET_OK absent");
}

TEST_CASE("It does so after a change of leader and a restart of everyone", "[replica]") {
  Cluster cluster;
  cluster.at_once(cluster.client("n1"), in_session(put("colour", "blue"), 1));
  for (const std::string node : {"n1", "n2", "n3"}) cluster.restart(node);
  cluster.elect("n3");
  CHECK(cluster.at_once(cluster.client("n2"), in_session(put("colour", "blue"), 1)) == "PUT_OK 2");
}

TEST_CASE("A seq that is older than the answers that are kept: SESSION_EXPIRED", "[replica]") {
  Cluster cluster({.size = 1});
  const ClientId client = cluster.client("n1");
  for (std::uint64_t seq = 1; seq <= answers_kept_per_session + 1; ++seq) {
    cluster.ask(client, in_session(put("count", std::to_string(seq)), seq));
  }
  cluster.run();
  CHECK(cluster.at_once(client, in_session(put("count", "again"), 2)) == "PUT_OK 3");
  CHECK(cluster.at_once(client, in_session(put("count", "again"), 1)) == "ERROR SESSION_EXPIRED");
}
