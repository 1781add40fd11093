// What clients read, in a small cluster: at once, after waiting, or not at all (docs/protocol.md, GET).
#include "tests/replica_fixture.hpp"

using namespace kv;
using namespace kv::replica_test;

// ---- Session reads

TEST_CASE("A server that is fresh enough answers a GET at once", "[replica]") {
  Cluster cluster;
  const ClientId client = cluster.client("n2");
  cluster.at_once(client, put("colour", "blue"));
  cluster.tick(heartbeat_ticks);
  const auto id = cluster.ask(client, get("colour", 2));
  cluster.run();
  const auto ok = cluster.last<message::GetOk>(id);
  CHECK(cluster.said(id) == "GET_OK blue@2");
  CHECK(ok.key == "colour");
  CHECK(ok.applied == 2);
  CHECK(ok.node == "n2");
}

TEST_CASE("A key that is absent: null and ts 0", "[replica]") {
  Cluster cluster;
  const auto id = cluster.ask(cluster.client("n3"), get("colour"));
  cluster.run();
  const auto ok = cluster.last<message::GetOk>(id);
  CHECK_FALSE(ok.value.has_value());
  CHECK(ok.ts == 0);
  CHECK(ok.applied == 1);
}

TEST_CASE("One that is not: WAIT_FOR_RESPONSE, and the value unasked as soon as it is there", "[replica]") {
  Cluster cluster;
  cluster.hold("n1", "n3");
  CHECK(cluster.at_once(cluster.client("n1"), put("colour", "blue")) == "PUT_OK 2");
  const auto id = cluster.ask(cluster.client("n3"), get("colour", 2));
  cluster.run();
  const auto wait = cluster.last<message::WaitForResponse>(id);
  CHECK(wait.key == "colour");
  CHECK(wait.ts == 2);
  CHECK(wait.applied == 1);
  CHECK(wait.node == "n3");
  CHECK(cluster["n3"].status().waiting == 1);
  cluster.release("n1", "n3");
  cluster.run();
  CHECK(cluster.said(id) == "WAIT_FOR_RESPONSE, GET_OK blue@2");
  CHECK(cluster["n3"].status().waiting == 0);
}

TEST_CASE("A GET that waits too long: TIMEOUT with applied, ts and leader", "[replica]") {
  Cluster cluster;
  const auto id = cluster.ask(cluster.client("n2"), get("colour", 1000), 100);
  cluster.tick(10);
  CHECK(cluster.said(id) == "WAIT_FOR_RESPONSE");
  cluster.tick(2);
  CHECK(cluster.said(id) == "WAIT_FOR_RESPONSE, ERROR TIMEOUT");
  const auto error = cluster.last<message::Error>(id);
  CHECK(error.applied == 1);
  CHECK(error.ts == 1000);
  CHECK(error.leader == "n1");
}

TEST_CASE("Reads that wait for different positions are answered as each is reached", "[replica]") {
  Cluster cluster;
  const ClientId reader = cluster.client("n2");
  const ClientId writer = cluster.client("n1");
  const auto third = cluster.ask(reader, get("colour", 3));
  const auto second = cluster.ask(reader, get("colour", 2));
  cluster.run();
  cluster.at_once(writer, put("colour", "blue"));
  CHECK(cluster.said(second) == "WAIT_FOR_RESPONSE, GET_OK blue@2");
  CHECK(cluster.said(third) == "WAIT_FOR_RESPONSE");
  cluster.at_once(writer, put("colour", "red"));
  CHECK(cluster.said(third) == "WAIT_FOR_RESPONSE, GET_OK red@3");
}

TEST_CASE("A server that is cut off still serves what it has applied", "[replica]") {
  Cluster cluster;
  cluster.at_once(cluster.client("n1"), put("colour", "blue"));
  cluster.tick(heartbeat_ticks);
  cluster.cut("n1", "n3");
  cluster.cut("n2", "n3");
  cluster.at_once(cluster.client("n1"), put("colour", "red"));
  cluster.tick(2 * election_ticks);
  const ClientId client = cluster.client("n3");
  CHECK(cluster.at_once(client, get("colour", 2)) == "GET_OK blue@2");
  const auto id = cluster.ask(client, get("colour", 3));
  cluster.run();
  CHECK(cluster.said(id) == "WAIT_FOR_RESPONSE");
  CHECK(cluster.at_once(client, local("colour", 3)) == "GET_OK blue@2");  // ts is ignored
  cluster.heal("n1", "n3");
  cluster.heal("n2", "n3");
  cluster.tick(4 * election_ticks);
  CHECK(cluster.said(id) == "WAIT_FOR_RESPONSE, GET_OK red@3");
}

TEST_CASE("Replication that is delayed (--delay-replication) shows what waiting is; a restart does not wait",
          "[replica]") {
  Cluster cluster({.delay_ticks = {{"n3", 50}}});
  cluster.tick(50);
  CHECK(cluster.at_once(cluster.client("n1"), put("colour", "blue")) == "PUT_OK 2");
  const auto id = cluster.ask(cluster.client("n3"), get("colour", 2));
  cluster.tick(49);
  CHECK(cluster.said(id) == "WAIT_FOR_RESPONSE");
  cluster.tick(1);
  CHECK(cluster.said(id) == "WAIT_FOR_RESPONSE, GET_OK blue@2");
  CHECK(cluster.at_once(cluster.client("n1"), put("colour", "red")) == "PUT_OK 3");
  CHECK(cluster.at_once(cluster.client("n1"), put("shape", "round")) ==
        "PUT_OK 4");  // tells n3 that 3 is committed
  cluster.restart("n3");
  CHECK(cluster.at_once(cluster.client("n3"), get("colour", 3)) == "GET_OK red@3");
}

// ---- Linearizable reads

TEST_CASE("A linearizable read shows the latest write, on any server", "[replica]") {
  Cluster cluster;
  cluster.hold("n1", "n3");
  CHECK(cluster.at_once(cluster.client("n1"), put("colour", "blue")) == "PUT_OK 2");
  const auto id = cluster.ask(cluster.client("n3"), linearizable("colour"));
  cluster.run();
  CHECK(cluster.said(id) == "nothing yet");
  cluster.release("n1", "n3");
  cluster.run();
  CHECK(cluster.said(id) == "GET_OK blue@2");
  CHECK(cluster.at_once(cluster.client("n1"), linearizable("colour")) == "GET_OK blue@2");
  CHECK(cluster.at_once(cluster.client("n2"), linearizable("colour")) == "GET_OK blue@2");
}

TEST_CASE("A leader that was cut off serves no linearizable read from its own knowledge", "[replica]") {
  Cluster cluster;
  cluster.at_once(cluster.client("n1"), put("colour", "blue"));
  cluster.hold_all("n1");
  cluster.sleep("n1");
  cluster.elect("n2");
  cluster.at_once(cluster.client("n2"), put("colour", "red"));
  cluster.wake("n1");
  REQUIRE(cluster["n1"].raft().leads());  // it does not know better
  const auto id = cluster.ask(cluster.client("n1"), linearizable("colour"));
  cluster.tick(3);
  CHECK(cluster.said(id) == "nothing yet");
  CHECK(cluster.at_once(cluster.client("n1"), get("colour", 2)) == "GET_OK blue@2");  // a session read may be old
  cluster.release_all("n1");
  cluster.tick(heartbeat_ticks);
  CHECK(cluster.said(id).starts_with("GET_OK red"));
}

TEST_CASE("Nor does a follower that still believes in it", "[replica]") {
  Cluster cluster({.size = 5});
  cluster.at_once(cluster.client("n1"), put("colour", "blue"));
  for (const std::string a : {"n1", "n5"}) {
    for (const std::string b : {"n2", "n3", "n4"}) cluster.hold(a, b), cluster.hold(b, a);
  }
  const auto id = cluster.ask(cluster.client("n5"), linearizable("colour"), 1000);
  cluster.elect("n2");
  cluster.at_once(cluster.client("n2"), put("colour", "red"));
  cluster.tick(102);
  CHECK(cluster.said(id) == "ERROR NO_LEADER");
}

TEST_CASE("A linearizable read whose time passes says who leads, if anyone", "[replica]") {
  Cluster cluster;
  cluster.hold_all("n1");
  const auto at_leader = cluster.ask(cluster.client("n1"), linearizable("colour"), 100);
  const auto at_follower = cluster.ask(cluster.client("n2"), linearizable("colour"), 100);
  cluster.tick(12);
  for (const auto id : {at_leader, at_follower}) {
    const auto error = cluster.last<message::Error>(id);
    CHECK(error.code == message::Code::timeout);
    CHECK(error.applied == 1);
    CHECK(error.leader == "n1");
    CHECK(error.ts.has_value());
  }
  CHECK(cluster["n1"].status().waiting == 0);
  CHECK(cluster["n2"].status().waiting == 0);
}

TEST_CASE("A new leader serves no linearizable read before it has committed in its own term", "[replica]") {
  Cluster cluster;
  cluster.at_once(cluster.client("n1"), put("colour", "blue"));
  cluster.sleep("n1");
  cluster.elect("n2");
  CHECK(cluster.at_once(cluster.client("n2"), linearizable("colour")) == "GET_OK blue@2");
  cluster.wake("n1");
  cluster.tick(heartbeat_ticks);
  cluster.stall_disk("n1");
  cluster.stall_disk("n3");
  cluster.sleep("n2");
  const auto early = cluster.ask(cluster.client("n3"), linearizable("colour"));
  cluster.tick(2 * election_ticks);
  CHECK(cluster.said(early) == "nothing yet");
  cluster.release_disk("n1");
  cluster.release_disk("n3");
  cluster.elect("n3");
  CHECK(cluster.said(early) == "GET_OK blue@2");
}

TEST_CASE("A linearizable read survives a link that breaks and a leader that changes", "[replica]") {
  Cluster cluster;
  cluster.at_once(cluster.client("n1"), put("colour", "blue"));
  cluster.tick(heartbeat_ticks);
  cluster.hold("n1", "n2");
  const auto id = cluster.ask(cluster.client("n2"), linearizable("colour"));
  cluster.run();
  CHECK(cluster.said(id) == "nothing yet");
  SECTION("the link is opened again") {
    cluster.relink("n1", "n2");
    cluster.release("n1", "n2");
    cluster.run();
  }
  SECTION("the leader is gone") {
    cluster.crash("n1");
    cluster.release("n1", "n2");
    cluster.elect("n3");
  }
  SECTION("the leader's answer never comes") {
    cluster.sleep("n1");
    cluster.elect("n3");
    cluster.tick(election_ticks);
  }
  CHECK(cluster.said(id) == "GET_OK blue@2");
}

TEST_CASE("Many linearizable reads at a follower are one question", "[replica]") {
  Cluster cluster;
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 50; ++i) ids.push_back(cluster.ask(cluster.client("n2"), linearizable("colour")));
  const Effects effects = cluster["n2"].take_effects();  // the test's own: they reach nobody
  CHECK(effects.send.size() == 1);
  cluster.tick(election_ticks + heartbeat_ticks);  // so it is asked again
  for (const auto id : ids) CHECK(cluster.said(id) == "GET_OK absent");
}
