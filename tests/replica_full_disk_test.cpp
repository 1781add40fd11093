// A disk that has no room, or takes no write: what a server still does, whom it tells, and how it makes room.
#include <algorithm>
#include <string>
#include <vector>

#include "tests/snapshot_fixture.hpp"

using namespace kv;
using namespace kv::replica_test;

namespace {

// Of two snapshots and more of the log, on n1 alone.
void write_past_two_snapshots(Cluster& cluster) {
  write(cluster, "n1", 45, std::string(100, 'v'));
  cluster.tick(100);
  REQUIRE(snapshots_of(cluster, "n1").size() == 2);
  REQUIRE(snapshot_of(cluster, "n1") < cluster["n1"].applied());
}

}  // namespace

TEST_CASE("NO_SPACE where the leader's disk is full; reads and deletes still work", "[replica]") {
  Cluster cluster;
  cluster.at_once(cluster.client("n1"), put("colour", "blue"));
  cluster["n1"].disk_has_room(false);
  for (const std::string node : {"n1", "n2"}) {
    const ClientId client = cluster.client(node);
    CHECK(cluster.at_once(client, put("colour", "red")) == "ERROR NO_SPACE");
    CHECK(cluster.at_once(client, linearizable("colour")) == "GET_OK blue@2");
    CHECK(cluster.at_once(client, erase("shape")).starts_with("DELETE_OK"));
  }
  cluster["n1"].disk_has_room(true);
  CHECK(cluster.at_once(cluster.client("n2"), put("colour", "red")).starts_with("PUT_OK"));
}

TEST_CASE("A disk that takes no write is told of, to the log and to clients", "[replica]") {
  const bool is_full = GENERATE(true, false);
  Cluster cluster({.size = 1});
  cluster["n1"].disk_has_room(!is_full);
  cluster.stall_disk("n1");
  const std::string what =
      is_full ? "the disk is so full that it has not taken a write for longer than an election takes"
              : "the disk has not finished a write for longer than an election takes";
  cluster.ask(cluster.client("n1"), erase("colour"));
  cluster.run();
  cluster.tick(election_ticks);
  CHECK(cluster.warnings("n1").empty());
  cluster.tick(1);
  CHECK(cluster.warnings("n1") == std::vector{what + ": until it has, this server neither leads nor votes"});

  const auto id = cluster.ask(cluster.client("n1"), erase("colour"), 100);
  cluster.tick(12);
  CHECK(cluster.last<message::Error>(id).code == message::Code::no_leader);
  CHECK(cluster.last<message::Error>(id).message == "n1 found no leader in time: " + what);

  cluster.release_disk("n1");
  cluster["n1"].disk_has_room(true);
  cluster.tick(3 * election_ticks);
  CHECK(cluster.at_once(cluster.client("n1"), put("colour", "red")).starts_with("PUT_OK"));
  CHECK(cluster.warnings("n1").size() == 1);
  CHECK(std::count(cluster.news("n1").begin(), cluster.news("n1").end(),
                   "the disk has finished the write that it was busy with") == 1);
}

TEST_CASE("A leader whose disk is full hands over to a server that has room", "[replica]") {
  Cluster cluster;
  cluster["n1"].disk_has_room(false);
  cluster.tick(3 * election_ticks);
  CHECK_FALSE(cluster["n1"].raft().leads());
  CHECK(cluster.at_once(cluster.client("n2"), put("a", "b")).starts_with("PUT_OK"));
  CHECK(cluster.at_once(cluster.client("n1"), put("a", "c")).starts_with("PUT_OK"));
}

TEST_CASE("What a majority has no room for gets NO_SPACE, and a minority is no hindrance", "[replica]") {
  Cluster cluster;
  cluster["n2"].disk_has_room(false);
  cluster.tick(heartbeat_ticks + 1);
  CHECK(cluster.at_once(cluster.client("n1"), put("a", "b")).starts_with("PUT_OK"));
  cluster["n3"].disk_has_room(false);
  cluster.tick(heartbeat_ticks + 1);
  CHECK(cluster.at_once(cluster.client("n1"), put("a", "c")) == "ERROR NO_SPACE");
  CHECK(cluster.at_once(cluster.client("n1"), erase("a")).starts_with("DELETE_OK"));
  CHECK(cluster["n1"].status().full);
  cluster["n3"].disk_has_room(true);
  cluster.tick(heartbeat_ticks + 1);
  CHECK(cluster.at_once(cluster.client("n1"), put("a", "d")).starts_with("PUT_OK"));
}

TEST_CASE("A full disk keeps one snapshot, and takes another of what is there at once", "[replica][snapshot]") {
  Options options = often();
  options.size = 1;
  Cluster cluster(options);
  write_past_two_snapshots(cluster);
  cluster.stall_snapshots("n1");
  cluster["n1"].disk_has_room(false);
  cluster.run();
  cluster.do_snapshot_task("n1");
  CHECK(snapshots_of(cluster, "n1").size() == 1);
  cluster.release_snapshots("n1");
  cluster.run();
  CHECK(snapshot_of(cluster, "n1") == cluster["n1"].applied());
  CHECK(snapshots_of(cluster, "n1").size() == 1);
}

TEST_CASE("A full disk has a pause between snapshots, and need not wait it out when it has room again",
          "[replica][snapshot]") {
  Options options = often();
  options.size = 1;
  Cluster cluster(options);
  write_past_two_snapshots(cluster);
  cluster["n1"].disk_has_room(false);
  cluster.run();
  const std::uint64_t first = snapshot_of(cluster, "n1");
  const ClientId client = cluster.client("n1");
  for (int i = 0; i < 30; ++i) REQUIRE(cluster.at_once(client, erase("k1")).starts_with("DELETE_OK"));
  cluster.tick(100);
  REQUIRE(snapshot_of(cluster, "n1") == first);
  SECTION("it has room") {
    cluster["n1"].disk_has_room(true);
    cluster.tick(100);
  }
  SECTION("the pause is over") {
    cluster.tick(1000);
  }
  CHECK(snapshot_of(cluster, "n1") > first);
}

TEST_CASE("A leader without room does not hand over to a server that has lost its state", "[replica][snapshot]") {
  Cluster cluster(often());
  write(cluster, "n1", 30);
  lose_state(cluster, "n3");
  cluster.stall_snapshots("n3");
  cluster.tick(5);
  REQUIRE(cluster["n3"].raft().lacks_state());
  cluster.crash("n2");
  cluster["n1"].disk_has_room(false);
  const ClientId client = cluster.client("n1");
  for (std::uint32_t i = 0; i < 3 * election_ticks; ++i) {
    cluster.tick();
    REQUIRE(cluster.at_once(client, erase("k1")).starts_with("DELETE_OK"));
  }
}

// ---- A disk on which no further snapshot fits, though the log still does

namespace {

constexpr std::size_t big = 1000;  // bytes of a value
constexpr std::size_t most_log_bytes = 40 * big;

std::string key_of(int number) {
  return "s" + std::to_string(number);
}

Options with_a_short_log(std::size_t size) {
  Options options = often(100'000);
  options.size = size;
  options.snapshot_log_bytes = 10 * big;
  options.snapshot_piece_bytes = 2000;
  options.limits.log_bytes = most_log_bytes;
  return options;
}

void write_state(Cluster& cluster, int count) {
  const ClientId client = cluster.client("n1");
  for (int i = 0; i < count; ++i) {
    REQUIRE(cluster.in_time(client, put(key_of(i), std::string(big, 'v'))).starts_with("PUT_OK"));
  }
  cluster.tick(500);
}

// As many as are answered at once, one way or the other: what the last one got.
std::string write_until_refused(Cluster& cluster, ClientId client) {
  for (int i = 0; i < 200; ++i) {
    const std::string said = cluster.in_time(client, put("more" + std::to_string(i), std::string(big, 'v')));
    if (!said.starts_with("PUT_OK")) return said;
  }
  return "PUT_OK";
}

void leave_room(Cluster& cluster, const std::string& node, std::size_t bytes) {
  cluster.directory(node).limit_space(cluster.directory(node).used() + bytes);
}

}  // namespace

TEST_CASE("Where no snapshot fits and the log is full, writes that add get NO_SPACE, and deletes make room",
          "[replica][snapshot]") {
  Cluster cluster(with_a_short_log(1));
  write_state(cluster, 200);
  for (const bool has_room : {false, true}) {  // of two snapshots one is left
    cluster["n1"].disk_has_room(has_room);
    cluster.run();
  }
  leave_room(cluster, "n1", 150 * big);
  const ClientId client = cluster.client("n1");
  REQUIRE(write_until_refused(cluster, client) == "ERROR NO_SPACE");
  leave_room(cluster, "n1", 220 * big);  // nearly as much as the snapshot needs
  // It is not tried in vain again and again.
  const std::uint64_t changes = cluster.directory("n1").changes();
  cluster.tick(5000);
  CHECK(cluster.directory("n1").changes() < changes + 50);
  CHECK(cluster["n1"].raft().log().bytes() > most_log_bytes);
  CHECK(cluster["n1"].status().full);
  for (int i = 0; i < 120; ++i) REQUIRE(cluster.at_once(client, erase(key_of(i))).starts_with("DELETE_OK"));
  cluster.tick(1100);
  CHECK(cluster["n1"].raft().log().bytes() < most_log_bytes / 2);
  CHECK_FALSE(cluster["n1"].status().full);
  CHECK(cluster.at_once(client, put("new", "v")).starts_with("PUT_OK"));
}

TEST_CASE("Not even deletes make a full log longer without end", "[replica][snapshot]") {
  Cluster cluster(with_a_short_log(1));
  write_state(cluster, 200);
  leave_room(cluster, "n1", 100 * big);
  const ClientId client = cluster.client("n1");
  REQUIRE(write_until_refused(cluster, client) == "ERROR NO_SPACE");
  leave_room(cluster, "n1", 500 * big);
  cluster.stall_snapshots("n1");
  std::uint64_t last = 0;
  for (int i = 0; i < 300; ++i) last = cluster.ask(client, erase(key_of(i)), 100'000);
  cluster.run();
  CHECK(cluster["n1"].raft().log().bytes() > most_log_bytes * 6 / 5);
  CHECK(cluster["n1"].raft().log().bytes() < most_log_bytes * 5 / 4 + big);
  CHECK(cluster.said(last) == "nothing yet");
  cluster.release_snapshots("n1");
  cluster.tick(1100);
  CHECK(cluster.said(last).starts_with("DELETE_OK"));
}

TEST_CASE("A damaged snapshot is none for whose sake the older one goes", "[replica][snapshot]") {
  Options options = often(20);
  Cluster cluster(options);
  write(cluster, "n1", 5);
  cluster.crash("n3");
  const ClientId client = cluster.client("n1");
  for (int i = 0; i < 60; ++i) {
    REQUIRE(cluster.at_once(client, put(key_of(i), std::string(100, 'v'))).starts_with("PUT_OK"));
    cluster.tick();
  }
  cluster.tick(300);
  const std::vector<std::string> snapshots = snapshots_of(cluster, "n1");
  REQUIRE(snapshots.size() == 2);
  flip_bit(cluster, "n1", snapshots.front(), 100);  // while it runs
  SECTION("when there is no room for another") {
    leave_room(cluster, "n1", 300);
    cluster.start("n3");
    cluster.tick(1000);
    REQUIRE(std::any_of(cluster.warnings("n1").begin(), cluster.warnings("n1").end(),
                        [](const std::string& text) { return text.starts_with("the disk has no room"); }));
  }
  SECTION("when the disk is full") {
    cluster.stall_snapshots("n1");
    cluster.start("n3");
    for (int i = 0; cluster.warnings("n1").empty(); ++i) {
      REQUIRE(i < 100);
      cluster.tick();
      cluster.do_snapshot_task("n1");
    }
    cluster["n1"].disk_has_room(false);
    for (int i = 0; i < 12; ++i) {
      cluster.run();
      cluster.do_snapshot_task("n1");
    }
    REQUIRE(snapshots_of(cluster, "n1").front() == snapshots.front());
  }
  const std::vector<std::string> left = snapshots_of(cluster, "n1");
  CHECK(std::find(left.begin(), left.end(), snapshots.back()) != left.end());
}

TEST_CASE("The older snapshot goes where the next one fits in its place", "[replica][snapshot]") {
  Cluster cluster(with_a_short_log(1));
  write_state(cluster, 200);
  REQUIRE(snapshots_of(cluster, "n1").size() == 2);
  leave_room(cluster, "n1", 150 * big);
  const std::uint64_t before = snapshot_of(cluster, "n1");
  const ClientId client = cluster.client("n1");
  for (int i = 0; i < 20; ++i)
    REQUIRE(cluster.at_once(client, put("k", std::string(big, 'v'))).starts_with("PUT_OK"));
  cluster.tick(1100);
  CHECK(snapshot_of(cluster, "n1") > before);
}

TEST_CASE("A leader on whose disk no snapshot fits hands over when its log is full", "[replica][snapshot]") {
  Options options = with_a_short_log(3);
  options.preferred_leader = "n1";
  Cluster cluster(options);
  write_state(cluster, 200);
  leave_room(cluster, "n1", 60 * big);
  const ClientId client = cluster.client("n2");
  REQUIRE(write_until_refused(cluster, client) == "ERROR NO_SPACE");
  cluster.tick(3 * election_ticks);
  CHECK_FALSE(cluster["n1"].raft().leads());
  CHECK(cluster["n1"].status().full);
  for (int i = 0; i < 5; ++i) CHECK(cluster.at_once(client, put("k", std::string(big, 'v'))).starts_with("PUT_OK"));
  cluster.tick(2000);
  CHECK_FALSE(cluster["n1"].raft().leads());
}
