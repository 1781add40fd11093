// New clusters that begin with another one's backup.
#include "tests/snapshot_fixture.hpp"

using namespace kv;
using namespace kv::replica_test;
using Catch::Matchers::Contains;

namespace {

struct Restored {
  Cluster cluster{{.cluster_id = "new cluster", .formed = false}};
  std::uint64_t position = 0;
  std::uint64_t content = 0;
  std::string old_cluster;

  // Each of `names` begins with the backup of another cluster; all three start.
  explicit Restored(const std::vector<std::string>& names) {
    Cluster other(often());
    write(other, "n1", 20);
    const std::string backup = fetch_backup(other, other.client("n2"));
    position = other["n1"].applied();
    content = other["n1"].store().content_digest();
    old_cluster = other["n1"].status().cluster;
    for (const auto& name : names) cluster.restore(name, backup);
  }

  void start() {
    for (const std::string name : {"n1", "n2", "n3"}) {
      if (!cluster.is_up(name)) cluster.start(name);
    }
  }

  void check() {
    cluster.tick(200);
    check_alike(cluster);
    CHECK(cluster["n1"].store().content_digest() == content);
    CHECK(cluster["n1"].status().cluster != old_cluster);
    CHECK(cluster["n1"].roster().bound().has_value());
    CHECK(cluster.at_once(cluster.client("n3"), put("new", "n")).starts_with("PUT_OK"));
    CHECK(cluster.at_once(cluster.client("n2"), get("k5")).ends_with("v19@21"));
  }
};

}  // namespace

TEST_CASE("A new cluster begins with a backup: one server restored, or all", "[replica][snapshot][restore]") {
  const auto names = GENERATE(std::vector<std::string>{"n2"}, std::vector<std::string>{"n1", "n2", "n3"},
                              std::vector<std::string>{"n1", "n3"});
  Restored restored(names);
  restored.start();
  restored.check();
  for (const std::string name : {"n1", "n2", "n3"}) restored.cluster.restart(name);
  restored.cluster.tick(100);
  check_alike(restored.cluster);
}

TEST_CASE("A restored cluster does not begin before every member is there, whatever ends in between",
          "[replica][snapshot][restore]") {
  Restored restored({"n1"});
  Cluster& cluster = restored.cluster;
  cluster.start("n1");
  cluster.start("n2");
  cluster.tick(300);
  CHECK(cluster["n1"].status().cluster.empty());
  CHECK_FALSE(cluster["n1"].raft().leads());
  cluster.restart("n1");
  cluster.restart("n2");
  cluster.tick(300);
  CHECK_FALSE(cluster["n1"].raft().leads());
  CHECK_FALSE(cluster["n2"].raft().leads());
  restored.start();
  restored.check();
}

TEST_CASE("Two servers that were restored from different backups do not begin a cluster together",
          "[replica][snapshot][restore]") {
  Restored restored({"n1"});
  Cluster other(often());
  write(other, "n1", 10, "other ");
  restored.cluster.restore("n2", fetch_backup(other, other.client("n1")));
  restored.start();
  restored.cluster.tick(300);
  CHECK(restored.cluster["n1"].status().cluster.empty());
  CHECK_THAT(restored.cluster.refusal("n1", "n2"), Contains("restored from another backup"));
}

TEST_CASE("A backup is restored into an empty directory only, and a damaged one nowhere",
          "[replica][snapshot][restore]") {
  Cluster cluster(often());
  write(cluster, "n1", 20);
  std::string backup = fetch_backup(cluster, cluster.client("n1"));
  CHECK_THROWS_WITH(cluster.restore("n1", backup), Contains("has data already"));
  backup[80] ^= 1;
  Cluster fresh({.formed = false});
  CHECK_THROWS_WITH(fresh.restore("n1", backup), Contains("backup at offset 64: "));
  CHECK(fresh.directory("n1").list().empty());
}

namespace {

// A restore that ends before the log begins.
void restore_only(MemoryDirectory& directory, const std::string& backup) {
  MemoryDirectory elsewhere;
  const auto file = elsewhere.create("backup");
  file->write_at(0, backup);
  restore_backup(directory, *file, "backup", {});
}

Recovered recover_restored(MemoryDirectory& directory) {
  return recover(directory, WalOptions{4096}, {}, std::string(wal::identity_bytes, 'i'), true);
}

}  // namespace

TEST_CASE("A restore that was cut off before the log began can be done again, also with another backup",
          "[replica][snapshot][restore]") {
  Cluster cluster(often());
  write(cluster, "n1", 20);
  const std::string early = fetch_backup(cluster, cluster.client("n1"));
  const std::uint64_t early_content = cluster["n1"].store().content_digest();
  write(cluster, "n1", 20, "later ");
  const std::string late = fetch_backup(cluster, cluster.client("n1"));

  MemoryDirectory directory;
  restore_only(directory, late);
  const std::vector<std::string> names = directory.list();
  restore_only(directory, late);
  CHECK(directory.list() == names);
  restore_only(directory, early);
  REQUIRE(directory.list().size() == 1);
  CHECK(recover_restored(directory).replica.store->content_digest() == early_content);
  CHECK_THROWS_WITH(restore_only(directory, early), Contains("has data already"));
}

TEST_CASE("A server's own snapshots are no restore that was cut off", "[replica][snapshot][restore]") {
  Cluster cluster(often());
  write(cluster, "n1", 20);
  const std::string backup = fetch_backup(cluster, cluster.client("n1"));
  MemoryDirectory directory;
  auto image = cluster.directory("n1").image();
  std::erase_if(image, [](const auto& file) { return !file.first.ends_with(".snap"); });
  REQUIRE(!image.empty());
  directory.restore(image);
  CHECK_THROWS_WITH(restore_only(directory, backup), Contains("has data already"));
  CHECK(directory.image() == image);

  // Nor is one that is damaged: nobody knows whose it is.
  MemoryDirectory other;
  restore_only(other, backup);
  image = other.image();
  image.begin()->second[100] ^= 1;
  other.restore(image);
  CHECK_THROWS_WITH(restore_only(other, backup), Contains("has data already"));
  CHECK(other.image() == image);
}
