// Lists, transactions, watches, and reads of a key's next version, in a small cluster (docs/protocol.md).
#include "tests/replica_fixture.hpp"

using namespace kv;
using namespace kv::replica_test;
using message::Operation;

namespace {

message::List list(std::string prefix, std::uint64_t ts = 0) {
  message::List list;
  list.prefix = std::move(prefix);
  list.ts = ts;
  return list;
}
message::Get newer(std::string key, std::uint64_t than) {
  message::Get get;
  get.key = std::move(key);
  get.newer_than = than;
  return get;
}
message::Watch watch_key(std::string key, std::optional<std::uint64_t> from = {}) {
  return {std::move(key), {}, from};
}
message::Watch watch_prefix(std::string prefix, std::optional<std::uint64_t> from = {}) {
  return {{}, std::move(prefix), from};
}
message::TxnOperation txn_put(std::string key, std::string value) {
  return {Operation::put, std::move(key), std::move(value)};
}
message::TxnOperation txn_get(std::string key) {
  return {Operation::get, std::move(key), {}};
}
message::TxnOperation txn_erase(std::string key) {
  return {Operation::erase, std::move(key), {}};
}

// n3 is cut off while "k" is written 60 times, and is brought forward by a snapshot.
void leave_behind(Cluster& cluster) {
  cluster.cut("n1", "n3");
  cluster.cut("n2", "n3");
  for (int i = 0; i < 60; ++i) {
    cluster.at_once(cluster.client("n1"), put("k", std::to_string(i)));
    cluster.tick();
  }
  cluster.tick(100);
  REQUIRE(cluster["n1"].raft().log().base_index() > raft::Index(20));
  cluster.heal_everything();
  cluster.tick(5 * election_ticks);
  REQUIRE(cluster.parts_sent_to("n3") > 0);
}

constexpr const char* session = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";

}  // namespace

// ---- LIST

TEST_CASE("A LIST is answered by any server, in order, with each item's ts", "[replica]") {
  Cluster cluster;
  const ClientId client = cluster.client("n2");
  cluster.at_once(client, put("a/2", "two"));
  cluster.at_once(client, put("a/1", "one"));
  cluster.at_once(client, put("b", "other"));
  CHECK(cluster.at_once(client, list("a/", 4)) == "LIST_OK a/1=one@3 a/2=two@2");
  message::List keys = list("");
  keys.keys_only = true;
  keys.limit = 2;
  CHECK(cluster.at_once(cluster.client("n1"), keys) == "LIST_OK a/1@3 a/2@2 and more");
  keys.after = "a/2";
  CHECK(cluster.at_once(cluster.client("n1"), keys) == "LIST_OK b@4");
}

TEST_CASE("A LIST waits for its ts as a GET does, and its wait names no key", "[replica]") {
  Cluster cluster;
  cluster.hold("n1", "n3");
  cluster.at_once(cluster.client("n1"), put("k", "v"));
  const auto id = cluster.ask(cluster.client("n3"), list("", 2));
  cluster.run();
  CHECK(cluster.said(id) == "WAIT_FOR_RESPONSE");
  CHECK(cluster.last<message::WaitForResponse>(id).key.empty());
  cluster.release("n1", "n3");
  cluster.run();
  CHECK(cluster.said(id) == "WAIT_FOR_RESPONSE, LIST_OK k=v@2");
  CHECK(cluster.last<message::ListOk>(id).applied == 2);
}

TEST_CASE("A linearizable LIST sees what was written through another server; a local one need not", "[replica]") {
  Cluster cluster;
  cluster.hold("n1", "n3");
  cluster.at_once(cluster.client("n1"), put("k", "v"));
  message::List asked = list("");
  asked.consistency = message::Consistency::local;
  CHECK(cluster.at_once(cluster.client("n3"), asked) == "LIST_OK");
  asked.consistency = message::Consistency::linearizable;
  const auto id = cluster.ask(cluster.client("n3"), asked);
  cluster.run();
  CHECK(cluster.said(id) == "nothing yet");
  cluster.release("n1", "n3");
  cluster.tick(election_ticks);
  CHECK(cluster.said(id) == "LIST_OK k=v@2");
}

TEST_CASE("A LIST of big values ends before a frame would be full, and many of them do not fill the memory",
          "[replica]") {
  Cluster cluster;
  const ClientId client = cluster.client("n1");
  for (int i = 0; i < 6; ++i) cluster.at_once(client, put("k" + std::to_string(i), std::string(1 << 20, 'x')));
  const auto id = cluster.ask(client, list("k"));
  cluster.run();
  const auto ok = cluster.last<message::ListOk>(id);
  CHECK(ok.items.size() == 3);
  CHECK(ok.more);
}

// ---- TXN

TEST_CASE("A TXN through any server: all of it at one position, or the other list", "[replica]") {
  Cluster cluster;
  const ClientId client = cluster.client("n3");
  cluster.at_once(client, put("a", "old"));
  const message::Txn txn{{{"a", 2}}, {txn_put("a", "new"), txn_put("b", "made"), txn_get("a")}, {txn_get("a")}, {}};
  CHECK(cluster.at_once(client, txn) == "TXN_OK 3 then PUT a PUT b GET a=new@3");
  CHECK(cluster.at_once(client, txn) == "TXN_OK 4 else GET a=new@3");
  CHECK(cluster.at_once(cluster.client("n1"), get("b", 4)) == "GET_OK made@3");
}

TEST_CASE("A TXN that is repeated with its session is applied once, also by another leader", "[replica]") {
  Cluster cluster;
  message::Txn txn{{}, {txn_put("a", "1"), txn_get("b")}, {}, message::WriteSession{session, 1, 1}};
  CHECK(cluster.at_once(cluster.client("n1"), txn) == "TXN_OK 2 then PUT a GET b absent");
  cluster.at_once(cluster.client("n1"), put("b", "2"));
  cluster.crash("n1");
  cluster.elect("n2");
  CHECK(cluster.in_time(cluster.client("n3"), txn) == "TXN_OK 2 then PUT a GET b absent");
  CHECK(cluster.at_once(cluster.client("n2"), get("a")) == "GET_OK 1@2");
}

TEST_CASE("A seq that was another kind of write's gets an error, and never that one's answer", "[replica]") {
  const std::string asked = GENERATE("n1", "n2");
  Cluster cluster;
  const ClientId client = cluster.client(asked);
  const auto in_session = [](std::uint64_t seq) { return message::WriteSession{session, seq, 1}; };
  message::Put write = put("a", "1");
  write.session = in_session(1);
  message::Delete deletion = erase("a");
  deletion.session = in_session(2);
  message::Txn txn{{}, {}, {}, in_session(3)};
  message::Put conflict = put("a", "2");
  conflict.if_ts = 1;
  conflict.session = in_session(4);
  REQUIRE(cluster.at_once(client, write) == "PUT_OK 2");
  REQUIRE(cluster.at_once(client, deletion).starts_with("DELETE_OK"));
  REQUIRE(cluster.at_once(client, txn) == "TXN_OK 4 then");
  REQUIRE(cluster.at_once(client, conflict) == "ERROR CONFLICT");
  for (const std::uint64_t seq : {2, 3}) {
    write.session = in_session(seq);
    CHECK(cluster.at_once(client, write) == "ERROR BAD_REQUEST");
  }
  for (const std::uint64_t seq : {1, 3}) {
    deletion.session = in_session(seq);
    CHECK(cluster.at_once(client, deletion) == "ERROR BAD_REQUEST");
  }
  for (const std::uint64_t seq : {1, 2, 4}) {
    txn.session = in_session(seq);
    CHECK(cluster.at_once(client, txn) == "ERROR BAD_REQUEST");
  }
  CHECK(cluster.at_once(client, put("b", "1")).starts_with("PUT_OK"));
}

TEST_CASE("A TXN whose answer fits no frame is TOO_LARGE, and nothing of it is done", "[replica]") {
  Cluster cluster;
  const ClientId client = cluster.client("n2");
  cluster.at_once(client, put("k", std::string(1 << 20, 'x')));
  const message::Txn txn{{}, {txn_put("a", "v"), txn_get("k"), txn_get("k"), txn_get("k"), txn_get("k")}, {}, {}};
  CHECK(cluster.at_once(client, txn) == "ERROR TOO_LARGE");
  CHECK(cluster.at_once(client, get("a", 3)) == "GET_OK absent");
}

TEST_CASE("A TXN that may add counts against the quota, one that does not is taken when it is full", "[replica]") {
  Cluster cluster({.quota = 1000});
  const ClientId client = cluster.client("n1");
  CHECK(cluster.at_once(client, put("k", std::string(900, 'x'))) == "PUT_OK 2");
  const message::Txn adds{{}, {txn_put("a", std::string(200, 'x'))}, {}, {}};
  const message::Txn adds_else{{{"k", 0}}, {}, {txn_put("a", std::string(200, 'x'))}, {}};
  CHECK(cluster.at_once(client, adds) == "ERROR NO_SPACE");
  CHECK(cluster.at_once(client, adds_else) == "ERROR NO_SPACE");
  CHECK(cluster.at_once(client, message::Txn{{}, {txn_erase("k"), txn_get("k")}, {}, {}}) ==
        "TXN_OK 3 then DELETE k GET k absent");
  CHECK(cluster.at_once(client, adds) == "TXN_OK 4 then PUT a");
}

// ---- WATCH

TEST_CASE("A watch on any server gets each change of its keys, once and in order", "[replica]") {
  Cluster cluster;
  const auto id = cluster.ask(cluster.client("n3"), watch_prefix("a/"));
  cluster.run();
  CHECK(cluster["n3"].status().watching == 1);
  const ClientId writer = cluster.client("n1");
  cluster.at_once(writer, put("a/1", "x"));
  cluster.at_once(writer, put("b", "y"));
  cluster.at_once(writer, erase("a/2"));  // absent: nothing changes
  cluster.at_once(writer, erase("a/1"));
  cluster.at_once(writer, message::Txn{{}, {txn_put("a/3", "z"), txn_put("a/4", "z"), txn_get("b")}, {}, {}});
  cluster.tick(heartbeat_ticks);
  CHECK(cluster.said(id) == "WATCH_OK 1, a/1=x@2, a/1 gone@5, a/3=z@6+, a/4=z@6");
}

TEST_CASE("A refused write, a conflict and a repeated one are no events", "[replica]") {
  Cluster cluster;
  const ClientId client = cluster.client("n1");
  const auto id = cluster.ask(client, watch_key("k"));
  message::Put once = put("k", "v");
  once.session = {session, 1, 1};
  cluster.at_once(client, once);
  cluster.at_once(client, once);
  cluster.at_once(client, message::Put{"k", "w", 1, {}});
  CHECK(cluster.said(id) == "WATCH_OK 1, k=v@2");
}

TEST_CASE("A watch goes on at another server from the last ts, without gap or repeat", "[replica]") {
  Cluster cluster;
  const ClientId writer = cluster.client("n1");
  const auto first = cluster.ask(cluster.client("n2"), watch_key("k"));
  cluster.at_once(writer, put("k", "a"));
  cluster.tick(heartbeat_ticks);
  CHECK(cluster.said(first) == "WATCH_OK 1, k=a@2");
  cluster.crash("n2");
  cluster.at_once(writer, put("k", "b"));
  const auto second = cluster.ask(cluster.client("n3"), watch_key("k", 2));
  cluster.at_once(writer, put("k", "c"));
  cluster.tick(heartbeat_ticks);
  CHECK(cluster.said(second) == "WATCH_OK 3, k=b@3, k=c@4");
}

TEST_CASE("A server that starts again knows the changes that are in its log", "[replica]") {
  Cluster cluster({.size = 1});
  cluster.at_once(cluster.client("n1"), put("k", "a"));
  cluster.at_once(cluster.client("n1"), put("k", "b"));
  cluster.restart("n1");
  cluster.tick(5 * election_ticks);
  CHECK(cluster.at_once(cluster.client("n1"), watch_key("k", 1)) == "WATCH_OK 4, k=a@2, k=b@3");
}

TEST_CASE("One that starts from a snapshot says COMPACTED to who asks for more", "[replica]") {
  Cluster cluster({.size = 1, .snapshot_every = 10});
  const ClientId client = cluster.client("n1");
  for (int i = 0; i < 50; ++i) cluster.at_once(client, put("k", std::to_string(i)));
  cluster.tick(100);
  const std::uint64_t snapshot = cluster["n1"].status().snapshot;
  REQUIRE(snapshot > 10);
  cluster.restart("n1");
  cluster.tick(5 * election_ticks);
  const ClientId again = cluster.client("n1");
  const auto id = cluster.ask(again, watch_key("k", 1));
  cluster.run();
  CHECK(cluster.said(id) == "ERROR COMPACTED");
  REQUIRE(cluster.last<message::Error>(id).oldest);
  CHECK(*cluster.last<message::Error>(id).oldest > 1);
  CHECK(
      cluster.at_once(again, watch_key("k", *cluster.last<message::Error>(id).oldest - 1)).starts_with("WATCH_OK"));
}

TEST_CASE("A follower that takes a snapshot over ends its watches with COMPACTED, and never leaves a gap",
          "[replica]") {
  Cluster cluster({.limits = {.kept_entries = 0}, .snapshot_every = 10});
  const auto id = cluster.ask(cluster.client("n3"), watch_key("k"));
  cluster.run();
  leave_behind(cluster);
  REQUIRE(cluster["n3"].status().applied >= 61);
  CHECK(cluster.said(id) == "WATCH_OK 1, ERROR COMPACTED");
  CHECK(cluster["n3"].status().watching == 0);
}

TEST_CASE("Behind CANCEL_OK nothing of the watch comes", "[replica]") {
  Cluster cluster;
  const ClientId client = cluster.client("n1");
  const auto id = cluster.ask(client, watch_key("k"));
  cluster.at_once(client, put("k", "a"));
  CHECK(cluster.at_once(client, message::Cancel{id}) == "CANCEL_OK");
  CHECK(cluster.at_once(client, message::Cancel{id}) == "CANCEL_OK absent");
  cluster.at_once(client, put("k", "b"));
  CHECK(cluster.said(id) == "WATCH_OK 1, k=a@2");
}

TEST_CASE("A client that is gone leaves no watch behind", "[replica]") {
  Cluster cluster;
  const ClientId client = cluster.client("n1");
  cluster.at_once(client, watch_key("k"));
  cluster.gone(client);
  CHECK(cluster["n1"].status().watching == 0);
  cluster.at_once(cluster.client("n1"), put("k", "v"));
}

TEST_CASE("A client that does not read holds up nobody, and is told when it has lost its place", "[replica]") {
  Cluster cluster({.watch_limits = {.changes = 5}});
  const ClientId slow = cluster.client("n1");
  const ClientId quick = cluster.client("n1");
  const auto late = cluster.ask(slow, watch_key("k"));
  const auto prompt = cluster.ask(quick, watch_key("k"));
  cluster.run();
  cluster["n1"].client_has_room(slow, false);
  for (int i = 0; i < 20; ++i) cluster.at_once(quick, put("k", "v"));
  CHECK(cluster.said(late) == "WATCH_OK 1");
  CHECK(cluster.said(prompt).ends_with("k=v@21"));
  cluster["n1"].client_has_room(slow, true);
  cluster.run();
  CHECK(cluster.said(late) == "WATCH_OK 1, ERROR OVERLOADED");
}

// ---- A key's next version

TEST_CASE("newer_than: at once where there is a newer version, else as soon as it comes", "[replica]") {
  Cluster cluster;
  const ClientId client = cluster.client("n2");
  cluster.at_once(client, put("k", "a"));
  cluster.tick(heartbeat_ticks);
  CHECK(cluster.at_once(client, newer("k", 1)) == "GET_OK a@2");
  const auto id = cluster.ask(client, newer("k", 2));
  const auto other = cluster.ask(client, newer("j", 1));
  cluster.run();
  CHECK(cluster.said(id) == "WAIT_FOR_RESPONSE");
  CHECK(cluster["n2"].status().waiting == 2);
  cluster.at_once(client, put("k", "b"));
  cluster.tick(heartbeat_ticks);
  CHECK(cluster.said(id) == "WAIT_FOR_RESPONSE, GET_OK b@3");
  CHECK(cluster.said(other) == "WAIT_FOR_RESPONSE");
}

TEST_CASE("newer_than: who is gone before the read was looked at leaves nothing behind", "[replica]") {
  Cluster cluster;
  const ClientId client = cluster.client("n1");
  REQUIRE(cluster.at_once(client, put("k", "a")) == "PUT_OK 2");
  const ClientId other = cluster.client("n1");
  cluster.ask(other, newer("k", 2));
  cluster.gone(other);
  cluster.run();
  CHECK(cluster["n1"].status().waiting == 0);
}

// If each looked through all the others, this would take minutes.
TEST_CASE("newer_than: as many as may wait for one key end together", "[replica]") {
  Cluster cluster({.size = 1});
  const ClientId client = cluster.client("n1");
  REQUIRE(cluster.at_once(client, put("k", "a")) == "PUT_OK 2");
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 100'000; ++i) ids.push_back(cluster.ask(client, newer("k", 2)));
  const auto until_all_are_told = [&] {
    for (int i = 0; cluster["n1"].status().waiting > 0; ++i) {
      REQUIRE(i < 1000);
      cluster.tick();
    }
  };
  SECTION("by their time") {
    until_all_are_told();
    CHECK(cluster.said(ids.front()) == "WAIT_FOR_RESPONSE, ERROR TIMEOUT");
    CHECK(cluster.said(ids.back()) == "WAIT_FOR_RESPONSE, ERROR TIMEOUT");
  }
  SECTION("by a new version") {
    cluster.at_once(client, put("k", "b"));
    until_all_are_told();
    CHECK(cluster.said(ids.front()) == "WAIT_FOR_RESPONSE, GET_OK b@3");
    CHECK(cluster.said(ids.back()) == "WAIT_FOR_RESPONSE, GET_OK b@3");
  }
  SECTION("with their client") {
    cluster.gone(client);
    CHECK(cluster["n1"].status().waiting == 0);
  }
}

TEST_CASE("newer_than: a deletion is a newer version, with its ts", "[replica]") {
  Cluster cluster;
  const ClientId client = cluster.client("n1");
  cluster.at_once(client, put("k", "a"));
  const auto id = cluster.ask(client, newer("k", 2));
  cluster.at_once(client, erase("k"));
  CHECK(cluster.said(id) == "WAIT_FOR_RESPONSE, GET_OK absent");
  CHECK(cluster.last<message::GetOk>(id).ts == 3);
  const auto again = cluster.ask(client, newer("k", 2));
  const auto next = cluster.ask(client, newer("k", 3));
  cluster.run();
  CHECK(cluster.said(again) == "GET_OK absent");
  CHECK(cluster.last<message::GetOk>(again).ts == 3);
  CHECK(cluster.said(next) == "WAIT_FOR_RESPONSE");
  cluster.at_once(client, put("k", "b"));
  CHECK(cluster.said(next) == "WAIT_FOR_RESPONSE, GET_OK b@4");
}

TEST_CASE("newer_than: a TXN's changes wake it too", "[replica]") {
  Cluster cluster;
  const ClientId client = cluster.client("n1");
  const auto id = cluster.ask(client, newer("b", 1));
  cluster.at_once(client, message::Txn{{}, {txn_put("a", "x"), txn_put("b", "y")}, {}, {}});
  CHECK(cluster.said(id) == "WAIT_FOR_RESPONSE, GET_OK y@2");
}

TEST_CASE("newer_than: when the time is over, TIMEOUT says what the key's ts is", "[replica]") {
  Cluster cluster;
  const ClientId client = cluster.client("n1");
  cluster.at_once(client, put("k", "a"));
  const auto id = cluster.ask(client, newer("k", 2), 100);
  cluster.tick(12);
  CHECK(cluster.said(id) == "WAIT_FOR_RESPONSE, ERROR TIMEOUT");
  const auto error = cluster.last<message::Error>(id);
  CHECK(error.ts == 2);
  CHECK(error.message == "no version newer than 2 came in time: the key's ts is 2 on n1, which has applied 2");
  CHECK(cluster["n1"].status().waiting == 0);
}

TEST_CASE("newer_than: a client that is gone waits no longer, and the others do", "[replica]") {
  Cluster cluster;
  const ClientId gone = cluster.client("n1");
  const ClientId stays = cluster.client("n1");
  cluster.ask(gone, newer("k", 1));
  const auto id = cluster.ask(stays, newer("k", 1));
  cluster.run();
  cluster.gone(gone);
  CHECK(cluster["n1"].status().waiting == 1);
  cluster.at_once(stays, put("k", "v"));
  CHECK(cluster.said(id) == "WAIT_FOR_RESPONSE, GET_OK v@2");
}

TEST_CASE("newer_than: a server that takes a snapshot over looks at what became of the key", "[replica]") {
  Cluster cluster({.limits = {.kept_entries = 0}, .snapshot_every = 10});
  const ClientId client = cluster.client("n3");
  const auto id = cluster.ask(client, newer("k", 1), 60'000);
  const auto absent = cluster.ask(client, newer("j", 1), 60'000);
  cluster.run();
  leave_behind(cluster);
  CHECK(cluster.said(id) == "WAIT_FOR_RESPONSE, GET_OK 58@60");  // what the snapshot has
  CHECK(cluster.said(absent) == "WAIT_FOR_RESPONSE");
}

TEST_CASE("newer_than: no more of them than parked reads may be", "[replica]") {
  Cluster cluster({.limits = {.parked_reads = 2}});
  const ClientId client = cluster.client("n1");
  cluster.ask(client, newer("a", 1));
  cluster.ask(client, newer("b", 1));
  CHECK(cluster.at_once(client, newer("c", 1)) == "ERROR OVERLOADED");
}
