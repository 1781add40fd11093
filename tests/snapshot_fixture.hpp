// What the tests of snapshots on a cluster share.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/replica_fixture.hpp"

namespace kv::replica_test {

// Snapshots every few entries, in small parts, and no more of the log than they need.
inline Options often(std::uint64_t every = 10) {
  Options options;
  options.snapshot_every = every;
  options.snapshot_piece_bytes = 60;
  options.limits.kept_entries = 0;
  return options;
}

inline void write(Cluster& cluster, const std::string& node, int count, const std::string& value = "v") {
  const ClientId client = cluster.client(node);
  for (int i = 0; i < count; ++i) {
    const std::string key = "k" + std::to_string(i % 7);
    REQUIRE(cluster.at_once(client, put(key, value + std::to_string(i))).starts_with("PUT_OK"));
    cluster.tick();
  }
}

inline std::uint64_t snapshot_of(Cluster& cluster, const std::string& node) {
  return cluster[node].status().snapshot;
}

inline void check_alike(Cluster& cluster, const std::vector<std::string>& names = {"n1", "n2", "n3"}) {
  cluster.tick(100);
  for (const auto& name : names) {
    INFO(name);
    CHECK(cluster[name].applied() == cluster[names.front()].applied());
    CHECK(cluster[name].store().digest() == cluster[names.front()].store().digest());
  }
}

inline void flip_bit(Cluster& cluster, const std::string& node, const std::string& file, std::size_t at) {
  auto image = cluster.directory(node).image();
  image.at(file)[at] ^= 4;
  cluster.directory(node).restore(image);
}

inline std::vector<std::string> snapshots_of(Cluster& cluster, const std::string& node) {
  std::vector<std::string> names;
  for (const auto position : list_snapshots(cluster.directory(node))) names.push_back(snapshot_file_name(position));
  return names;
}

// It starts again with its log, and none of its snapshots is whole.
inline void lose_state(Cluster& cluster, const std::string& node) {
  cluster.crash(node);
  for (const std::string& name : snapshots_of(cluster, node)) flip_bit(cluster, node, name, 100);
  cluster.start(node);
}

// n3 is away while the others write more than their logs keep.
inline void leave_behind(Cluster& cluster, int writes = 40) {
  write(cluster, "n1", 5);
  cluster.crash("n3");
  write(cluster, "n1", writes, "later ");
  REQUIRE(cluster["n1"].raft().log().base_index() > raft::Index(6));
}

// All parts of a backup, by one request after the other.
inline std::string fetch_backup(Cluster& cluster, ClientId client) {
  auto id = cluster.ask(client, message::Backup{});
  for (int ticks = 0; cluster.said(id) == "nothing yet"; ++ticks) {
    REQUIRE(ticks < 1000);
    cluster.tick();
  }
  auto part = cluster.last<message::BackupOk>(id);
  std::string bytes = part.bytes;
  while (bytes.size() < part.size) {
    id = cluster.ask(client, message::Backup{0, part.snapshot, bytes.size()});
    cluster.run();
    bytes += cluster.last<message::BackupOk>(id).bytes;
  }
  return bytes;
}

}  // namespace kv::replica_test
