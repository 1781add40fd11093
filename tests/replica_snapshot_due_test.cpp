// When a server takes a snapshot, and how it paces one: by entries, by bytes of the log, in turns with the others.
#include <algorithm>
#include <set>
#include <string>

#include "tests/snapshot_fixture.hpp"

using namespace kv;
using namespace kv::replica_test;

namespace {

// Four keys of so many bytes.
void write_big_state(Cluster& cluster, std::size_t bytes) {
  for (const char* key : {"a", "b", "c", "d"}) {
    REQUIRE(cluster.at_once(cluster.client("n1"), put(key, std::string(bytes, 'v'))).starts_with("PUT_OK"));
  }
}

}  // namespace

TEST_CASE("A snapshot is taken after so many bytes of the log", "[replica][snapshot]") {
  Options options = often(100'000);
  options.snapshot_log_bytes = 5000;
  Cluster cluster(options);
  write(cluster, "n1", 4, std::string(1000, 'v'));
  CHECK(snapshot_of(cluster, "n1") == 0);
  // What is written meanwhile hurries it on: at leisure it would take more than 50 ticks.
  write(cluster, "n1", 5, std::string(1000, 'v'));
  CHECK(snapshot_of(cluster, "n1") > 0);
}

TEST_CASE("A snapshot of a big state waits until the log has a quarter of its bytes, and then for its turn",
          "[replica][snapshot]") {
  Cluster cluster(often());
  write_big_state(cluster, 5000);
  write(cluster, "n1", 10);
  cluster.tick(1000);
  const std::uint64_t first = snapshot_of(cluster, "n1");
  REQUIRE(first == 10);
  write(cluster, "n1", 16);
  cluster.tick(1000);
  REQUIRE(cluster["n1"].applied() == 31);
  CHECK(snapshot_of(cluster, "n1") == first);
  write(cluster, "n1", 3, std::string(2000, 'v'));
  cluster.tick(1000);
  CHECK(snapshot_of(cluster, "n1") == first);
  SECTION("it comes") {
    write(cluster, "n1", 6);
  }
  SECTION("after a start, too") {
    cluster.restart("n1");
    cluster.elect("n1");
    write(cluster, "n1", 6);
  }
  cluster.tick(1000);
  CHECK(snapshot_of(cluster, "n1") == 40);
}

TEST_CASE("Servers of a big state take their snapshots in turns, too", "[replica][snapshot]") {
  Options options = often(9);
  options.snapshot_log_bytes = 6000;
  Cluster cluster(options);
  write_big_state(cluster, 10'000);
  write(cluster, "n1", 300);
  const std::set<std::uint64_t> positions{snapshot_of(cluster, "n1"), snapshot_of(cluster, "n2"),
                                          snapshot_of(cluster, "n3")};
  CHECK(positions.size() == 3);
}

TEST_CASE("However big the state is and small the writes are, a snapshot is taken before the log is too long",
          "[replica][snapshot]") {
  Options options = often();
  options.snapshot_log_bytes = 4000;
  Cluster cluster(options);
  write_big_state(cluster, 20'000);
  cluster.tick(1000);
  REQUIRE(snapshot_of(cluster, "n1") > 0);
  std::size_t longest = 0;
  for (int i = 0; i < 500; ++i) {
    write(cluster, "n1", 1, "");
    longest = std::max(longest, cluster["n1"].raft().log().bytes());
  }
  CHECK(longest < 2 * options.snapshot_log_bytes);
}

TEST_CASE("A snapshot takes its time as long as nothing is written behind it", "[replica][snapshot]") {
  Options options = often(100'000);
  options.snapshot_log_bytes = 5000;
  Cluster cluster(options);
  write(cluster, "n1", 5, std::string(1000, 'v'));
  cluster.tick(10);
  CHECK(snapshot_of(cluster, "n1") == 0);
  cluster.tick(100);
  CHECK(snapshot_of(cluster, "n1") > 0);
}

TEST_CASE("Servers take their snapshots in turns", "[replica][snapshot]") {
  Cluster cluster(often(30));
  write(cluster, "n1", 68);
  CHECK(cluster["n1"].applied() == 69);
  CHECK(snapshot_of(cluster, "n1") == 60);
  CHECK(snapshot_of(cluster, "n2") == 50);
  CHECK(snapshot_of(cluster, "n3") == 40);
}

TEST_CASE("However often snapshots are due, there is some time without one", "[replica][snapshot]") {
  Options options = often(100'000);
  options.snapshot_log_bytes = 5000;
  options.size = 1;
  Cluster cluster(options);
  cluster.stall_snapshots("n1");
  write(cluster, "n1", 6, std::string(1000, 'v'));
  cluster.tick(200);
  cluster.release_snapshots("n1");
  cluster.run();
  const std::uint64_t first = snapshot_of(cluster, "n1");
  REQUIRE(first > 0);
  write(cluster, "n1", 12, std::string(1000, 'v'));
  cluster.tick(30);
  CHECK(snapshot_of(cluster, "n1") == first);
  cluster.tick(200);
  CHECK(snapshot_of(cluster, "n1") > first);
}

TEST_CASE("Who asks for a snapshot while one is taken gets that, if it is new enough, and no other is taken",
          "[replica][snapshot]") {
  Options options = often(100'000);
  options.size = 1;
  Cluster cluster(options);
  write(cluster, "n1", 20);
  cluster.stall_snapshots("n1");
  const auto first = cluster.ask(cluster.client("n1"), message::Backup{});
  cluster.run();
  const std::uint64_t position = cluster["n1"].applied();
  const auto second = cluster.ask(cluster.client("n1"), message::Backup{});
  cluster.run();
  write(cluster, "n1", 1);
  cluster.release_snapshots("n1");
  cluster.tick(1000);
  CHECK(cluster.said(first) == "BACKUP_OK");
  CHECK(cluster.said(second) == "BACKUP_OK");
  CHECK(snapshot_of(cluster, "n1") == position);
}
