// A log in memory that comes near its limit because snapshots are slower than writes: writes go on as the snapshot
// under way does, and none is refused for it.
#include <algorithm>
#include <string>
#include <vector>

#include "tests/snapshot_fixture.hpp"

using namespace kv;
using namespace kv::replica_test;

namespace {

constexpr std::size_t big = 1000;  // bytes of a value
constexpr std::size_t most_log_bytes = 40 * big;

// A snapshot is due as soon as there are ten more writes; it is of some twenty parts.
Options slow_snapshots() {
  Options options = often(100'000);
  options.snapshot_log_bytes = 10 * big;
  options.snapshot_piece_bytes = 2000;
  options.limits.log_bytes = most_log_bytes;
  return options;
}

std::uint64_t ask_to_write(Cluster& cluster, ClientId client, int number,
                           std::optional<std::uint64_t> timeout_ms = {}) {
  const std::uint64_t id =
      cluster.ask(client, put("k" + std::to_string(number % 40), std::string(big, 'v')), timeout_ms);
  cluster.run();
  return id;
}

std::size_t count_answered(Cluster& cluster, const std::vector<std::uint64_t>& ids) {
  return static_cast<std::size_t>(
      std::count_if(ids.begin(), ids.end(), [&](std::uint64_t id) { return cluster.said(id) != "nothing yet"; }));
}

void check_in_order(Cluster& cluster, const std::vector<std::uint64_t>& ids) {
  std::uint64_t before = 0;
  for (const std::uint64_t id : ids) {
    CHECK(cluster.said(id).starts_with("PUT_OK"));
    const std::uint64_t ts = cluster.last<message::PutOk>(id).ts;
    CHECK(ts > before);
    before = ts;
  }
}

}  // namespace

TEST_CASE("Behind a snapshot that does not go on writes wait before the log is full, and none is refused",
          "[replica][snapshot]") {
  Cluster cluster(slow_snapshots());
  cluster.stall_snapshots("n1");
  const ClientId client = cluster.client(GENERATE("n1", "n2"));
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 60; ++i) ids.push_back(ask_to_write(cluster, client, i));
  const std::size_t answered = count_answered(cluster, ids);
  CHECK(answered > 10);
  CHECK(answered < 40);
  CHECK(cluster["n1"].raft().log().bytes() < most_log_bytes);
  cluster.release_snapshots("n1");
  cluster.tick(20);
  check_in_order(cluster, ids);
  check_alike(cluster);
}

TEST_CASE("However slow snapshots are, writes go on with them, and the log stays within its limit",
          "[replica][snapshot]") {
  Cluster cluster(slow_snapshots());
  cluster.stall_snapshots("n1");
  const ClientId client = cluster.client("n1");
  std::vector<std::uint64_t> ids;
  std::size_t longest = 0;
  int longest_pause = 0;
  int pause = 0;
  for (int i = 0; i < 600; ++i) {
    const std::uint64_t before = cluster["n1"].applied();
    ids.push_back(ask_to_write(cluster, client, i));
    cluster.do_snapshot_task("n1");
    cluster.tick();
    longest = std::max(longest, cluster["n1"].raft().log().bytes());
    pause = cluster["n1"].applied() == before ? pause + 1 : 0;
    longest_pause = std::max(longest_pause, pause);
  }
  CHECK(longest <= most_log_bytes);
  // A snapshot takes more than twenty of these rounds.
  CHECK(longest_pause < 10);
  CHECK(snapshot_of(cluster, "n1") > 0);
  cluster.release_snapshots("n1");
  cluster.tick(20);
  check_in_order(cluster, ids);
}

TEST_CASE("A write that waited for the snapshot in vain is OVERLOADED, and not done", "[replica][snapshot]") {
  Cluster cluster(slow_snapshots());
  cluster.stall_snapshots("n1");
  const ClientId client = cluster.client("n1");
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 60; ++i) ids.push_back(ask_to_write(cluster, client, i, 500));
  cluster.tick(60);
  CHECK(cluster.said(ids.back()) == "ERROR OVERLOADED");
  CHECK(cluster["n1"].store().find("k19")->ts() < 30);
  cluster.release_snapshots("n1");
  cluster.tick(20);
  CHECK(cluster.at_once(client, put("k1", "again")).starts_with("PUT_OK"));
  check_alike(cluster);
}

TEST_CASE("A log that is full and that no snapshot makes shorter takes no writes", "[replica][snapshot]") {
  Options options;
  options.limits.log_bytes = 5 * big;
  Cluster cluster(options);
  const ClientId client = cluster.client("n1");
  ask_to_write(cluster, client, 0);
  CHECK(cluster.said(ask_to_write(cluster, client, 1)).starts_with("PUT_OK"));
  const std::uint64_t id = ask_to_write(cluster, client, 2, 500);
  CHECK(cluster.said(id) == "nothing yet");
  cluster.tick(60);
  CHECK(cluster.said(id) == "ERROR OVERLOADED");
  CHECK(cluster["n1"].store().find("k2") == nullptr);
}
