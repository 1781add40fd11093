// What bounds a replica: a full disk, too many writes or reads, clients that leave in the middle.
#include "tests/replica_fixture.hpp"

using namespace kv;
using namespace kv::replica_test;

namespace {

std::uint64_t waiting(Cluster& cluster, const std::string& node) {
  return cluster[node].status().waiting;
}

}  // namespace

TEST_CASE("More writes under way than the limit: OVERLOADED, until some are done", "[replica]") {
  const std::string asked = GENERATE("n1", "n2");
  Cluster cluster({.limits = {.open_writes = 2}});
  cluster.stall_disk("n2");
  cluster.stall_disk("n3");
  const ClientId client = cluster.client(asked);
  for (int i = 0; i < 2; ++i) cluster.ask(client, put("colour", "blue"));
  cluster.run();
  CHECK(cluster.at_once(client, put("colour", "red")) == "ERROR OVERLOADED");
  cluster.release_disk("n2");
  cluster.run();
  CHECK(cluster.at_once(client, put("colour", "red")) == "PUT_OK 4");
}

TEST_CASE("Writes that wait for a leader are bounded in bytes", "[replica]") {
  Cluster cluster({.limits = {.open_write_bytes = 1000}});
  cluster.crash("n1");
  cluster.tick();
  const ClientId client = cluster.client("n2");
  cluster.ask(client, put("colour", std::string(900, 'x')));
  CHECK(cluster.at_once(client, put("colour", std::string(900, 'x'))) == "ERROR OVERLOADED");
  cluster.gone(client);
  const auto id = cluster.ask(cluster.client("n2"), put("colour", std::string(900, 'x')));
  cluster.run();
  CHECK(cluster.said(id) == "nothing yet");
}

// A majority that is slow, or a leader's disk, must not let clients fill the memory.
TEST_CASE("Writes that are not committed yet are bounded in bytes, at the leader and where they came from",
          "[replica]") {
  const std::string asked = GENERATE("n1", "n2");
  Cluster cluster({.limits = {.open_write_bytes = 1000}});
  cluster.stall_disk("n2");
  cluster.stall_disk("n3");
  const ClientId client = cluster.client(asked);
  const auto first = cluster.ask(client, put("colour", std::string(900, 'x')));
  cluster.run();
  CHECK(cluster.at_once(client, put("colour", std::string(900, 'x'))) == "ERROR OVERLOADED");
  cluster.release_disk("n2");
  cluster.run();
  CHECK(cluster.said(first) == "PUT_OK 2");
  CHECK(cluster.at_once(client, put("colour", std::string(900, 'x'))) == "PUT_OK 3");
}

TEST_CASE("Parked reads are bounded: OVERLOADED, until some are answered or their clients gone", "[replica]") {
  Cluster cluster({.limits = {.parked_reads = 2}});
  const ClientId one = cluster.client("n2");
  const ClientId other = cluster.client("n2");
  cluster.ask(one, get("colour", 99));
  cluster.ask(other, get("colour", 99), 100);
  CHECK(cluster.at_once(one, get("colour", 99)) == "ERROR OVERLOADED");
  CHECK(cluster.at_once(one, linearizable("colour")) == "ERROR OVERLOADED");
  CHECK(cluster.at_once(one, get("colour")) == "GET_OK absent");  // need not wait
  cluster.gone(one);
  CHECK(waiting(cluster, "n2") == 1);
  cluster.tick(12);
  CHECK(waiting(cluster, "n2") == 0);
}

// One big key that many wait for must not be copied for all of them at once.
TEST_CASE("The reads that one write wakes do not fill the memory with answers", "[replica]") {
  Cluster cluster({.size = 1});
  const ClientId client = cluster.client("n1");
  cluster.at_once(client, put("big", std::string(1 << 20, 'x')));
  std::vector<std::uint64_t> ids;
  SECTION("session reads") {
    for (int i = 0; i < 64; ++i) ids.push_back(cluster.ask(client, get("big", 3)));
  }
  SECTION("linearizable reads") {
    for (int i = 0; i < 64; ++i) ids.push_back(cluster.ask(client, linearizable("big")));
  }
  cluster.at_once(client, put("small", "1"));
  cluster.tick(100);
  for (const auto id : ids)
    CHECK(std::holds_alternative<message::GetOk>(AnswerBody(cluster.last<message::GetOk>(id))));
  CHECK(cluster.most_answer_bytes() <= 16u << 20);
}

// Committed together, they would be in memory together: much more than their commands.
TEST_CASE("What transactions read is handed out in parts, in order, at the leader and where they came from",
          "[replica]") {
  const std::string asked = GENERATE("n1", "n2");
  Cluster cluster;
  const ClientId client = cluster.client(asked);
  const std::string big(900 << 10, 'x');
  for (const std::string key : {"a", "b", "c"}) cluster.at_once(client, put(key, big));
  const auto reads = [](const std::string& key) { return message::TxnOperation{message::Operation::get, key, {}}; };
  cluster.stall_disk("n2");
  cluster.stall_disk("n3");
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 32; ++i)
    ids.push_back(cluster.ask(client, message::Txn{{}, {reads("a"), reads("b"), reads("c")}, {}, {}}));
  const auto behind = cluster.ask(client, put("small", "1"));
  cluster.run();
  cluster.release_disk("n2");
  cluster.run();
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const message::TxnOk ok = cluster.last<message::TxnOk>(ids[i]);
    CHECK(ok.ts == 5 + i);
    CHECK(ok.results.size() == 3);
  }
  CHECK(cluster.said(behind) == "PUT_OK 37");
  CHECK(cluster.most_answer_bytes() <= (1 << 20) + 3 * big.size());
}

TEST_CASE("A write for which nobody waits any more counts for the quota until its fate is known", "[replica]") {
  Cluster cluster({.quota = 1000});
  cluster.stall_disk("n2");
  cluster.stall_disk("n3");
  const ClientId client = cluster.client("n1");
  const auto late = cluster.ask(client, put("colour", std::string(900, 'x')));
  cluster.tick(default_timeout_ms / tick_ms + 2);
  CHECK(cluster.said(late) == "ERROR UNKNOWN_OUTCOME");
  CHECK(cluster.at_once(client, put("shape", std::string(900, 'x'))) == "ERROR NO_SPACE");
  cluster.release_disk("n2");
  cluster.tick(heartbeat_ticks);
  CHECK(cluster["n1"].store().keys() == 1);
  cluster.at_once(client, erase("colour"));
  CHECK(cluster.at_once(client, put("shape", std::string(900, 'x'))).starts_with("PUT_OK"));
}

TEST_CASE("What a client that is gone had asked is forgotten: a write that was not sent on is not done",
          "[replica]") {
  Cluster cluster;
  cluster.crash("n1");
  cluster.tick();
  const ClientId client = cluster.client("n2");
  cluster.ask(client, put("colour", "blue"));
  cluster.ask(client, get("colour", 99));
  cluster.ask(client, linearizable("colour"));
  cluster.run();
  cluster.gone(client);
  CHECK(waiting(cluster, "n2") == 0);
  CHECK(cluster["n2"].is_quiet());
  cluster.elect("n3");
  CHECK(cluster.at_once(cluster.client("n3"), get("colour")) == "GET_OK absent");
}

TEST_CASE("A client that is gone while its write is under way leaves nothing behind", "[replica]") {
  const std::string asked = GENERATE("n1", "n2");
  Cluster cluster({.limits = {.open_writes = 1}});
  cluster.stall_disk("n2");
  cluster.stall_disk("n3");
  const ClientId client = cluster.client(asked);
  cluster.ask(client, put("colour", "blue"));
  cluster.run();
  cluster.gone(client);
  cluster.release_disk("n2");
  cluster.tick(heartbeat_ticks);
  CHECK(cluster.at_once(cluster.client(asked), get("colour")) == "GET_OK blue@2");
  CHECK(cluster.at_once(cluster.client(asked), put("colour", "red")) == "PUT_OK 3");
}

TEST_CASE("A lost write of a client that is gone is not routed again", "[replica]") {
  Cluster cluster;
  cluster.hold_all("n1");
  const ClientId client = cluster.client("n1");
  cluster.ask(client, put("colour", "blue"));
  cluster.run();
  cluster.gone(client);
  cluster.elect("n2");
  cluster.release_all("n1");
  cluster.tick(heartbeat_ticks);
  CHECK(cluster.at_once(cluster.client("n2"), linearizable("colour")) == "GET_OK absent");
}

TEST_CASE("A client that is gone while its linearizable read is under way is not waited for", "[replica]") {
  const std::string asked = GENERATE("n1", "n2");
  Cluster cluster;
  cluster.hold_all("n1");
  const ClientId client = cluster.client(asked);
  cluster.ask(client, linearizable("colour"));
  cluster.run();
  CHECK(waiting(cluster, asked) == 1);
  cluster.gone(client);
  CHECK(waiting(cluster, asked) == 0);
  cluster.release_all("n1");
  cluster.tick(heartbeat_ticks);
  CHECK(waiting(cluster, asked) == 0);
}
