// Snapshots as a server lives with them: taken, started from, sent, taken over, damaged, and handed out as backups.
#include "tests/snapshot_fixture.hpp"

using namespace kv;
using namespace kv::replica_test;
using Catch::Matchers::Contains;

// ---- Taking and starting

TEST_CASE("A snapshot is taken after so many entries, the log forgets them, and a start goes on from it",
          "[replica][snapshot]") {
  Cluster cluster(often());
  write(cluster, "n1", 35);
  CHECK(snapshot_of(cluster, "n1") >= 30);
  CHECK(cluster["n1"].raft().log().base_index().value == snapshot_of(cluster, "n1"));
  CHECK(snapshots_of(cluster, "n1").size() == 2);
  const std::uint64_t digest = cluster["n1"].store().digest();
  for (const std::string name : {"n1", "n2", "n3"}) cluster.crash(name);
  for (const std::string name : {"n1", "n2", "n3"}) cluster.start(name);
  CHECK(cluster["n1"].applied() >= 30);
  cluster.elect("n1");
  CHECK(cluster["n1"].store().digest() == digest);
  CHECK(cluster.at_once(cluster.client("n1"), get("k0")) == "GET_OK v28@30");
  write(cluster, "n1", 20);
  check_alike(cluster);
}

TEST_CASE("The room of an older snapshot is given back when it is sure to be gone", "[replica][snapshot]") {
  Cluster cluster(often());
  write(cluster, "n1", 45);
  const std::vector<std::string>& log = cluster.directory("n1").log();
  std::size_t given_back = 0;
  for (auto at = log.begin(); at != log.end(); ++at) {
    if (!at->starts_with("give back ") || !at->ends_with(".snap")) continue;
    ++given_back;
    const auto removed = std::find(log.begin(), at, "remove " + at->substr(std::string("give back ").size()));
    REQUIRE(removed != at);
    CHECK(std::find(removed, at, "sync directory") != at);
  }
  CHECK(given_back >= 2);
}

TEST_CASE("A write session's answers are in the snapshot: a retry after it is not applied again",
          "[replica][snapshot]") {
  Cluster cluster(often());
  const message::WriteSession session{"6f1c2f9e-0000-4000-8000-000000000001", 1, 0};
  const message::Put first{"counter", "1", {}, session};
  REQUIRE(cluster.at_once(cluster.client("n1"), first) == "PUT_OK 2");
  write(cluster, "n1", 25);
  REQUIRE(snapshot_of(cluster, "n1") > 2);
  for (const std::string name : {"n1", "n2", "n3"}) cluster.crash(name);
  for (const std::string name : {"n1", "n2", "n3"}) cluster.start(name);
  cluster.elect("n1");
  CHECK(cluster.at_once(cluster.client("n1"), first) == "PUT_OK 2");
  CHECK(cluster.at_once(cluster.client("n1"), linearizable("counter")) == "GET_OK 1@2");
}

TEST_CASE("Whatever happens while a snapshot is written, it is of one moment", "[replica][snapshot]") {
  Cluster cluster(often(10));
  write(cluster, "n1", 8);
  cluster.stall_disk("n3");
  const ClientId client = cluster.client("n1");
  for (int i = 0; i < 30; ++i)
    cluster.at_once(client, put("k" + std::to_string(i % 7), "during " + std::to_string(i)));
  cluster.release_disk("n3");
  cluster.run();
  cluster.restart("n3");
  check_alike(cluster);
}

// ---- A follower that is too far behind

TEST_CASE(
    "A follower that needs entries the leader no longer has gets the snapshot in parts; parked reads are woken",
    "[replica][snapshot]") {
  Cluster cluster(often());
  leave_behind(cluster);
  const std::uint64_t newest = cluster["n1"].applied();
  cluster.hold("n1", "n3");
  cluster.start("n3");
  cluster.tick(2);
  const auto read = cluster.ask(cluster.client("n3"), get("k1", newest));
  cluster.run();
  CHECK(cluster.said(read) == "WAIT_FOR_RESPONSE");
  cluster.release("n1", "n3");
  cluster.tick(20);
  CHECK(cluster.parts_sent_to("n3") > 2);
  CHECK_THAT(cluster.said(read), Contains("WAIT_FOR_RESPONSE, GET_OK later "));
  check_alike(cluster);
  CHECK(cluster["n1"].raft().progress_of(raft::NodeId("n3"))->mode == raft::Progress::Mode::replicate);
}

TEST_CASE("A transfer that was interrupted goes on where it was", "[replica][snapshot]") {
  Cluster cluster(often());
  leave_behind(cluster);
  Cluster whole(often());
  leave_behind(whole);
  whole.start("n3");
  whole.tick(30);
  const std::size_t parts = whole.parts_sent_to("n3");
  REQUIRE(parts > 4);

  cluster.start("n3");
  // A part at a time: between two of them the link breaks.
  for (int i = 0; i < 500 && cluster["n3"].applied() < 40; ++i) {
    if (cluster.parts_sent_to("n3") == parts / 2) cluster.relink("n1", "n3");
    cluster.tick();
  }
  check_alike(cluster);
  CHECK(cluster.parts_sent_to("n3") <= parts + 4);  // the first one again, and not all
}

TEST_CASE("What a follower has of its log stays behind a snapshot where it fits, and goes where it does not",
          "[replica][snapshot]") {
  Cluster cluster(often());
  write(cluster, "n1", 5);
  // n3 leads for a moment, alone: what it appends nobody else has.
  cluster.crash("n1");
  cluster.elect("n3");
  cluster.start("n1");
  cluster.tick(20);
  cluster.hold_all("n3");
  const ClientId client = cluster.client("n3");
  std::vector<std::uint64_t> lost;
  for (int i = 0; i < 3; ++i) lost.push_back(cluster.ask(client, put("k0", "lost")));
  cluster.tick(5);
  cluster.elect("n1");
  write(cluster, "n1", 40, "later ");
  const std::uint64_t before = cluster["n1"].applied();
  cluster.release_all("n3");
  cluster.tick(100);
  check_alike(cluster);
  // Its clients hear that nothing is known of the writes whose place is in the snapshot; what another entry is seen
  // to have replaced before it comes is written anew.
  int unknown = 0;
  for (const auto id : lost) {
    INFO(cluster.said(id));
    if (cluster.said(id).starts_with("ERROR")) {
      ++unknown;
    } else {
      CHECK(cluster.last<message::PutOk>(id).ts > before);
    }
  }
  CHECK(unknown > 0);
  cluster.restart("n3");
  check_alike(cluster);
}

TEST_CASE("A leader that takes newer snapshots while it sends one goes on with the one it has begun",
          "[replica][snapshot]") {
  Cluster cluster(often());
  leave_behind(cluster);
  cluster.stall_disk("n3");
  cluster.start("n3");
  cluster.tick(3);
  const std::uint64_t sent = snapshot_of(cluster, "n1");
  write(cluster, "n1", 40, "still later ");
  REQUIRE(snapshot_of(cluster, "n1") > sent + 20);
  cluster.release_disk("n3");
  cluster.tick(50);
  check_alike(cluster);
}

// ---- Damage

TEST_CASE("A damaged snapshot is named and set aside; the older one and the log take its place",
          "[replica][snapshot]") {
  Cluster cluster(often());
  write(cluster, "n1", 35);
  const std::string newest = snapshots_of(cluster, "n2").front();
  cluster.crash("n2");
  flip_bit(cluster, "n2", newest, 100);
  cluster.start("n2");
  REQUIRE(cluster.warnings("n2").size() == 1);
  CHECK_THAT(cluster.warnings("n2").front(), Contains(newest + " at offset 64: ") && Contains("older one"));
  CHECK(cluster.directory("n2").image().contains(newest + ".damaged"));
  CHECK(cluster["n2"].applied() >= 30);
  check_alike(cluster);
}

TEST_CASE("A server whose snapshots are all damaged votes, does not stand, and gets the state from the leader",
          "[replica][snapshot]") {
  Cluster cluster(often());
  write(cluster, "n1", 35);
  cluster.crash("n2");
  for (const std::string& name : snapshots_of(cluster, "n2")) flip_bit(cluster, "n2", name, 70);
  cluster.hold_all("n2");
  cluster.start("n2");
  CHECK(cluster["n2"].raft().lacks_state());
  CHECK(cluster["n2"].applied() == 0);
  CHECK_THAT(cluster.warnings("n2").front(), Contains("asked for from the leader"));
  cluster.tick(200);
  CHECK(cluster["n2"].raft().role() == raft::Role::follower);  // alone it does not stand
  const auto read = cluster.ask(cluster.client("n2"), get("k0", 30));

  SECTION("from the one that it knew") {
    cluster.release_all("n2");
  }
  SECTION("from one that it had to elect first") {
    cluster.crash("n1");
    cluster.release_all("n2");
    cluster.elect("n3");
    cluster.start("n1");
  }
  SECTION("whose newest is older than what its own log begins with") {
    cluster.crash("n3");
    cluster.release_all("n2");
    for (const std::string& name : snapshots_of(cluster, "n1")) cluster.directory("n1").remove(name);
    cluster.directory("n1").sync();
    cluster.start("n3");
  }
  cluster.tick(150);
  CHECK_FALSE(cluster["n2"].raft().lacks_state());
  CHECK_THAT(cluster.said(read), Contains("GET_OK"));
  check_alike(cluster);
  cluster.restart("n2");
  check_alike(cluster);
}

TEST_CASE("A server alone whose snapshots are all damaged refuses to start, and changes nothing",
          "[replica][snapshot]") {
  Options options = often();
  options.size = 1;
  Cluster cluster(options);
  write(cluster, "n1", 35);
  cluster.crash("n1");
  for (const std::string& name : snapshots_of(cluster, "n1")) flip_bit(cluster, "n1", name, 70);
  const auto image = cluster.directory("n1").image();
  CHECK_THROWS_WITH(cluster.start("n1"),
                    Contains("there is no whole snapshot with what") && Contains("Restore this server's data"));
  for (const auto& [name, bytes] : image) CHECK(cluster.directory("n1").image().contains(name));
}

TEST_CASE("A log that is gone while there are snapshots, and snapshots that are gone while the log needs them",
          "[replica][snapshot]") {
  Options options = often();
  options.size = 1;
  Cluster cluster(options);
  write(cluster, "n1", 60);
  cluster.crash("n1");
  auto image = cluster.directory("n1").image();
  REQUIRE_FALSE(image.contains("0000000000000001.wal"));  // dropped
  SECTION("no log") {
    std::erase_if(image, [](const auto& item) { return item.first.ends_with(".wal"); });
    cluster.directory("n1").restore(image);
    CHECK_THROWS_WITH(cluster.start("n1"), Contains("there are snapshots, but no log"));
  }
  SECTION("no snapshots") {
    std::erase_if(image, [](const auto& item) { return item.first.ends_with(".snap"); });
    cluster.directory("n1").restore(image);
    CHECK_THROWS_WITH(cluster.start("n1"), Contains("the log") && Contains("snapshot"));
  }
}

TEST_CASE("A leader whose snapshot is damaged hears of it from the follower, and takes another",
          "[replica][snapshot]") {
  Cluster cluster(often());
  leave_behind(cluster);
  const std::string newest = snapshots_of(cluster, "n1").front();
  flip_bit(cluster, "n1", newest, 100);  // while it runs
  cluster.start("n3");
  cluster.tick(200);
  check_alike(cluster);
}

// ---- Crashes, each of them

TEST_CASE("A server that ends at any operation on its disk, in its log or a snapshot, has all that was answered",
          "[replica][snapshot]") {
  const auto kept = GENERATE(MemoryDirectory::Kept::everything, MemoryDirectory::Kept::nothing,
                             MemoryDirectory::Kept::names_only);
  bool finished = false;
  std::uint64_t n = 1;
  for (; !finished; ++n) {
    CAPTURE(n);
    Options options = often(4);
    options.size = 1;
    options.segment_bytes = 1024;
    Cluster cluster(options);
    cluster.directory("n1").fail(n, EIO, true);
    std::map<std::string, std::string> answered;
    std::string unanswered;
    const ClientId client = cluster.client("n1");
    for (int i = 0; i < 25 && cluster.is_up("n1"); ++i) {
      const std::string key = "k" + std::to_string(i % 3);
      const auto id = cluster.ask(client, put(key, std::to_string(i)));
      cluster.run();
      if (cluster.is_up("n1")) cluster.tick();
      if (cluster.said(id).starts_with("PUT_OK")) {
        answered[key] = std::to_string(i);
      } else {
        unanswered = key;
      }
    }
    finished = cluster.is_up("n1");
    cluster.crash("n1", kept);
    cluster.start("n1");
    CHECK(cluster.warnings("n1").empty());
    cluster.elect("n1");
    for (const auto& [key, value] : answered) {
      if (key != unanswered)
        CHECK_THAT(cluster.at_once(cluster.client("n1"), linearizable(key)), Contains(value + "@"));
    }
    write(cluster, "n1", 10);
  }
  CHECK(n > 100);
}

TEST_CASE("A follower that ends at any operation while it takes a snapshot over has it afterwards, or asks again",
          "[replica][snapshot]") {
  const auto kept = GENERATE(MemoryDirectory::Kept::everything, MemoryDirectory::Kept::nothing,
                             MemoryDirectory::Kept::names_only);
  bool finished = false;
  std::uint64_t n = 1;
  for (; !finished; ++n) {
    CAPTURE(n);
    Options options = often();
    options.snapshot_piece_bytes = 1000;
    Cluster cluster(options);
    leave_behind(cluster, 25);
    cluster.start("n3");
    cluster.directory("n3").fail(n, EIO, true);
    cluster.tick(15);
    finished = cluster.is_up("n3");
    cluster.crash("n3", kept);
    cluster.start("n3");
    CHECK(cluster.warnings("n3").empty());
    cluster.tick(60);
    check_alike(cluster);
    write(cluster, "n1", 3);
    cluster.restart("n3");
    check_alike(cluster);
  }
  CHECK(n > 10);
}

// ---- Limits

TEST_CASE("Beyond the quota writes that add get NO_SPACE; the others, reads and deletes go on",
          "[replica][snapshot]") {
  Options options;
  options.quota = 100;
  Cluster cluster(options);
  const ClientId client = cluster.client(GENERATE("n1", "n2"));
  CHECK(cluster.at_once(client, put("a", std::string(60, 'a'))).starts_with("PUT_OK"));
  CHECK(cluster.at_once(client, put("b", std::string(39, 'b'))) == "ERROR NO_SPACE");
  CHECK(cluster.at_once(client, put("b", std::string(38, 'b'))).starts_with("PUT_OK"));  // exactly
  CHECK(cluster["n1"].status().full);
  CHECK(cluster.at_once(client, put("c", "")) == "ERROR NO_SPACE");
  CHECK(cluster.at_once(client, put("a", std::string(60, 'c'))).starts_with("PUT_OK"));  // adds nothing
  CHECK(cluster.at_once(client, get("b")).starts_with("GET_OK b"));
  CHECK(cluster.at_once(client, erase("b")).starts_with("DELETE_OK"));
  CHECK(cluster.at_once(client, put("c", "c")).starts_with("PUT_OK"));
  CHECK_FALSE(cluster["n1"].status().full);
}

TEST_CASE("Writes that are under way count for the quota", "[replica][snapshot]") {
  Options options;
  options.quota = 100;
  Cluster cluster(options);
  const ClientId client = cluster.client("n1");
  cluster.stall_disk("n2");
  cluster.stall_disk("n3");
  const auto first = cluster.ask(client, put("a", std::string(60, 'a')));
  cluster.run();
  CHECK(cluster.at_once(client, put("b", std::string(60, 'b'))) == "ERROR NO_SPACE");
  cluster.release_disk("n2");
  cluster.run();
  CHECK(cluster.said(first).starts_with("PUT_OK"));
}

// ---- Backups, and what begins with them

TEST_CASE("A backup is a whole snapshot of at least what there was, from any server, with the writes going on",
          "[replica][snapshot]") {
  const std::string node = GENERATE("n1", "n2");
  Cluster cluster(often(100'000));
  write(cluster, "n1", 20);
  const ClientId client = cluster.client(node);
  const std::uint64_t before = cluster[node].applied();
  const std::uint64_t digest = cluster[node].store().digest();
  const std::string backup = fetch_backup(cluster, client);
  write(cluster, "n1", 20, "later ");

  MemoryDirectory elsewhere;
  const auto file = elsewhere.create("backup");
  file->write_at(0, backup);
  const auto loaded = load_snapshot(*file, sessions_kept);
  REQUIRE(std::holds_alternative<LoadedSnapshot>(loaded));
  CHECK(std::get<LoadedSnapshot>(loaded).position.index.value == before);
  CHECK(std::get<LoadedSnapshot>(loaded).store->digest() == digest);
}

TEST_CASE("A part of a backup that was not begun on this connection is COMPACTED", "[replica][snapshot]") {
  Cluster cluster(often());
  write(cluster, "n1", 20);
  CHECK(cluster.at_once(cluster.client("n1"), message::Backup{0, 10, 0}) == "ERROR COMPACTED");
}

TEST_CASE("A backup of a position that does not come in time is a TIMEOUT", "[replica][snapshot]") {
  Cluster cluster(often());
  const auto id = cluster.ask(cluster.client("n1"), message::Backup{1000, 0, 0}, 200);
  cluster.tick(19);
  CHECK(cluster.said(id) == "nothing yet");
  cluster.tick(2);
  CHECK(cluster.said(id) == "ERROR TIMEOUT");
}

TEST_CASE("More backups at a time than the limit are OVERLOADED, until one is gone", "[replica][snapshot]") {
  Options options = often();
  options.limits.backups = 1;
  Cluster cluster(options);
  write(cluster, "n1", 5);
  const ClientId first = cluster.client("n1");
  CHECK(cluster.in_time(first, message::Backup{}) == "BACKUP_OK");
  CHECK(cluster.at_once(cluster.client("n1"), message::Backup{}) == "ERROR OVERLOADED");
  cluster.gone(first);
  CHECK(cluster.in_time(cluster.client("n1"), message::Backup{}) == "BACKUP_OK");
}

TEST_CASE("A follower that takes over a snapshot of which the leader's log has gone on gets the next one",
          "[replica][snapshot]") {
  Options options = often();
  options.limits.log_bytes = 5000;
  Cluster cluster(options);
  leave_behind(cluster, 30);
  cluster.stall_disk("n3");
  cluster.start("n3");
  cluster.tick(3);
  const std::uint64_t sent = snapshot_of(cluster, "n1");
  REQUIRE(cluster.parts_sent_to("n3") > 0);
  // More than the leader keeps for it.
  write(cluster, "n1", 60, "still later ");
  REQUIRE(cluster["n1"].raft().log().base_index().value > sent);
  cluster.release_disk("n3");
  cluster.tick(500);
  check_alike(cluster);
  write(cluster, "n1", 50, "more ");
  check_alike(cluster);
}

TEST_CASE("A follower that had no room for a snapshot gets the next one, which may be smaller",
          "[replica][snapshot]") {
  Cluster cluster(often(20));
  write(cluster, "n1", 40, std::string(1000, 'v'));
  cluster.tick(300);
  lose_state(cluster, "n3");
  REQUIRE(cluster["n3"].raft().lacks_state());
  cluster.directory("n3").limit_space(cluster.directory("n3").used() + 4000);
  cluster.tick(100);
  REQUIRE(cluster["n3"].raft().lacks_state());
  const ClientId client = cluster.client("n1");
  for (int i = 0; i < 7; ++i) cluster.at_once(client, erase("k" + std::to_string(i)));
  fetch_backup(cluster, client);
  cluster.tick(200);
  CHECK_FALSE(cluster["n3"].raft().lacks_state());
}
