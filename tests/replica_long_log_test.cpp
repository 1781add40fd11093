// A log in memory that comes near its limit because snapshots are slower than writes: writes go on as the snapshot
// under way does, and none is refused for it.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "tests/snapshot_fixture.hpp"

using namespace kv;
using namespace kv::replica_test;

namespace {

constexpr std::size_t big = 1000;  // bytes of a value
constexpr std::size_t most_log_bytes = 40 * big;

// A snapshot is due as soon as there are so many more writes; it is of some twenty parts.
Options slow_snapshots(std::size_t writes = 10) {
  Options options = often(100'000);
  options.snapshot_log_bytes = writes * big;
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

using Ids = std::vector<std::uint64_t>;

Ids ask_to_write_all(Cluster& cluster, ClientId client, int count, std::uint64_t ticks_between = 0,
                     std::optional<std::uint64_t> timeout_ms = {}) {
  Ids ids;
  for (int i = 0; i < count; ++i) {
    ids.push_back(ask_to_write(cluster, client, i, timeout_ms));
    cluster.tick(static_cast<int>(ticks_between));
  }
  return ids;
}

std::size_t count_answered(Cluster& cluster, const Ids& ids) {
  return static_cast<std::size_t>(
      std::count_if(ids.begin(), ids.end(), [&](std::uint64_t id) { return cluster.said(id) != "nothing yet"; }));
}

void check_in_order(Cluster& cluster, const Ids& ids) {
  std::uint64_t before = 0;
  for (const std::uint64_t id : ids) {
    REQUIRE(cluster.said(id).starts_with("PUT_OK"));
    const std::uint64_t ts = cluster.last<message::PutOk>(id).ts;
    CHECK(ts > before);
    before = ts;
  }
}

struct Course {
  Ids ids;
  std::size_t longest_log = 0;
  int longest_pause = 0;  // rounds in which nothing was applied
};

// So many rounds: a write more than there were, and one task of the snapshots of n1, which leads.
Course write_beside_snapshots(Cluster& cluster, int rounds) {
  Course course;
  const ClientId client = cluster.client("n1");
  int pause = 0;
  for (int i = 0; i < rounds; ++i) {
    const std::uint64_t before = cluster["n1"].applied();
    course.ids.push_back(ask_to_write(cluster, client, i, 100'000));
    cluster.do_snapshot_task("n1");
    cluster.tick();
    pause = cluster["n1"].applied() == before ? pause + 1 : 0;
    course.longest_pause = std::max(course.longest_pause, pause);
    course.longest_log = std::max(course.longest_log, cluster["n1"].raft().log().bytes());
  }
  return course;
}

// n1 leads, and its snapshot does not go on.
void fill_log(Cluster& cluster) {
  cluster.stall_snapshots("n1");
  ask_to_write_all(cluster, cluster.client("n1"), 60, 0, 300);
  cluster.tick(40);
}

// Of more than two hundred parts.
void make_big_state(Cluster& cluster, ClientId client) {
  for (int i = 0; i < 400; ++i) {
    cluster.ask(client, put("s" + std::to_string(i), std::string(big, 'v')));
    cluster.run();
    cluster.tick(2);
  }
}

}  // namespace

TEST_CASE("Behind a snapshot that does not go on writes wait before the log is full, and none is refused",
          "[replica][snapshot]") {
  Cluster cluster(slow_snapshots());
  cluster.stall_snapshots("n1");
  const Ids ids = ask_to_write_all(cluster, cluster.client(GENERATE("n1", "n2")), 60);
  const std::size_t answered = count_answered(cluster, ids);
  CHECK(answered > 10);
  CHECK(answered < 40);
  CHECK(cluster["n1"].raft().log().bytes() < most_log_bytes);
  cluster.release_snapshots("n1");
  cluster.tick(50);
  check_in_order(cluster, ids);
  check_alike(cluster);
}

TEST_CASE("However slow snapshots are, writes go on with them, and the log stays within its limit",
          "[replica][snapshot]") {
  Cluster cluster(slow_snapshots(GENERATE(5, 10, 20)));
  cluster.stall_snapshots("n1");
  const Course course = write_beside_snapshots(cluster, 600);
  CHECK(course.longest_log <= most_log_bytes);
  // A snapshot takes more than twenty of these rounds.
  CHECK(course.longest_pause < 5);
  cluster.release_snapshots("n1");
  cluster.tick(100);
  check_in_order(cluster, course.ids);
}

TEST_CASE("A snapshot of a big state that begins early does not stop the writes beside it", "[replica][snapshot]") {
  Cluster cluster(slow_snapshots(20));
  const ClientId client = cluster.client("n1");
  make_big_state(cluster, client);
  cluster.tick(300);
  cluster.stall_snapshots("n1");
  cluster.ask(cluster.client("n1"), message::Backup{});
  cluster.run();
  const Course course = write_beside_snapshots(cluster, 190);
  CHECK(course.longest_log <= most_log_bytes);
  // It is of more than two hundred parts. Half of the log was full at once, and a tenth is for all that follows.
  CHECK(course.longest_pause < 60);
}

TEST_CASE("A write that waited for the snapshot in vain is OVERLOADED, and not done", "[replica][snapshot]") {
  Cluster cluster(slow_snapshots());
  fill_log(cluster);
  const ClientId client = cluster.client(GENERATE("n1", "n2"));
  const std::uint64_t id = cluster.ask(client, put("new", "v"), 500);
  cluster.run();
  cluster.tick(30);
  CHECK(cluster.said(id) == "nothing yet");
  cluster.tick(40);
  CHECK(cluster.said(id) == "ERROR OVERLOADED");
  cluster.release_snapshots("n1");
  cluster.tick(50);
  CHECK(cluster["n1"].store().find("new") == nullptr);
  CHECK(cluster.at_once(client, put("new", "again")).starts_with("PUT_OK"));
  check_alike(cluster);
}

TEST_CASE("A forwarded write that has little time and comes in the turn of a tick is done", "[replica]") {
  Cluster cluster(slow_snapshots());
  message::Forward forward;
  forward.number = 7;
  forward.term = cluster["n1"].raft().term().value;
  forward.timeout_ms = 50;
  forward.request = put("new", "v");
  REQUIRE(cluster["n1"].receive({raft::NodeId("n2"), forward}, identity_of("n2")));
  cluster.tick();
  CHECK(cluster["n1"].store().find("new") != nullptr);
}

TEST_CASE("A full disk is told at once, and takes deletes, however long the log is", "[replica][snapshot]") {
  Options options = slow_snapshots();
  options.size = 1;
  Cluster cluster(options);
  fill_log(cluster);
  const ClientId client = cluster.client("n1");
  const std::uint64_t waits = ask_to_write(cluster, client, 1);
  CHECK(cluster.said(waits) == "nothing yet");
  cluster["n1"].disk_has_room(false);
  cluster.run();
  CHECK(cluster.said(waits) == "ERROR NO_SPACE");
  CHECK(cluster.at_once(client, erase("k1")).starts_with("DELETE_OK"));
}

TEST_CASE("A long log does not wait for the rest between two snapshots", "[replica][snapshot]") {
  Cluster cluster(slow_snapshots(5));
  const ClientId client = cluster.client("n1");
  ask_to_write_all(cluster, client, 40, 5);
  cluster.tick(100);
  cluster.stall_snapshots("n1");
  ask_to_write_all(cluster, client, 6, 1);
  cluster.tick(4000);
  cluster.release_snapshots("n1");
  cluster.tick(30);
  const Ids ids = ask_to_write_all(cluster, client, 60);
  cluster.tick(30);
  check_in_order(cluster, ids);
}

TEST_CASE("What the log keeps for a follower does not keep writes waiting", "[replica][snapshot]") {
  Cluster cluster(slow_snapshots(GENERATE(5, 20)));
  const ClientId client = cluster.client("n1");
  ask_to_write_all(cluster, client, 5, 1);
  cluster.crash("n3");
  ask_to_write_all(cluster, client, 80, 3);
  cluster.tick(100);
  fetch_backup(cluster, client);
  cluster.tick(100);
  cluster.start("n3");
  cluster.stall_snapshots("n3");
  cluster.run();
  cluster.tick(4);
  ask_to_write_all(cluster, client, 10, 10);
  const ClientId other = cluster.client("n1");
  CHECK(cluster.in_time(other, message::Backup{}) == "BACKUP_OK");
  cluster.gone(other);
  cluster.release_snapshots("n3");
  cluster.tick(300);
  const Ids ids = ask_to_write_all(cluster, client, 100, 20);
  cluster.tick(100);
  check_in_order(cluster, ids);
}

TEST_CASE("A server that took over a snapshot in the midst of its log takes writes when it leads",
          "[replica][snapshot]") {
  Cluster cluster(slow_snapshots(20));
  const ClientId client = cluster.client("n1");
  ask_to_write_all(cluster, client, 45, 3);
  fetch_backup(cluster, client);
  cluster.tick(200);
  lose_state(cluster, "n3");
  cluster.stall_snapshots("n3");
  cluster.run();
  cluster.tick(3);
  REQUIRE(cluster["n3"].raft().lacks_state());
  ask_to_write_all(cluster, client, 19, 2);
  cluster.release_snapshots("n3");
  cluster.tick(200);
  REQUIRE(!cluster["n3"].raft().lacks_state());
  CHECK(cluster["n3"].raft().log().bytes() < most_log_bytes / 2);
  cluster.crash("n1");
  cluster.elect("n3");
  const Ids ids = ask_to_write_all(cluster, cluster.client("n3"), 60, 20);
  check_in_order(cluster, ids);
}

TEST_CASE("Where no snapshot fits on the disk the log stays within its limit all the same", "[replica][snapshot]") {
  Options options = slow_snapshots();
  options.size = 1;
  options.limits.open_write_bytes = 12 * big;
  Cluster cluster(options);
  const ClientId client = cluster.client("n1");
  make_big_state(cluster, client);
  cluster.tick(500);
  cluster.directory("n1").limit_space(cluster.directory("n1").used() + 300 * big);
  std::size_t longest = 0;
  for (int attempts = 0; attempts < 8; ++attempts) {
    cluster.stall_snapshots("n1");
    ask_to_write_all(cluster, client, 40, 0, 500);
    cluster.release_snapshots("n1");
    cluster.run();
    longest = std::max(longest, cluster["n1"].raft().log().bytes());
    cluster.tick(1100);
  }
  CHECK(longest <= most_log_bytes + 2 * big);
  CHECK(!cluster.warnings("n1").empty());
}

TEST_CASE("A log that is long for what is not applied yet makes no more snapshots than are worth it",
          "[replica][snapshot]") {
  Options options = slow_snapshots(40);
  options.delay_ticks["n2"] = 300;
  Cluster cluster(options);
  const ClientId client = cluster.client("n1");
  std::uint64_t last = 0;
  int snapshots = 0;
  for (int i = 0; i < 500; ++i) {
    ask_to_write(cluster, client, i);
    cluster.tick(5);
    if (std::exchange(last, snapshot_of(cluster, "n2")) != last) ++snapshots;
  }
  CHECK(cluster["n2"].raft().log().bytes() > most_log_bytes);
  CHECK(snapshots > 2);
  CHECK(snapshots < 250);
}

TEST_CASE("A snapshot that writes wait for goes as fast as the disk", "[replica][snapshot]") {
  Cluster cluster(slow_snapshots(200));
  const ClientId client = cluster.client("n1");
  make_big_state(cluster, client);
  cluster.tick(300);
  cluster.stall_snapshots("n1");
  const Ids ids = ask_to_write_all(cluster, client, 60);
  REQUIRE(count_answered(cluster, ids) < 60);
  cluster.release_snapshots("n1");
  cluster.run();
  check_in_order(cluster, ids);
}

TEST_CASE("A log that had become long while no snapshot fitted stays within its limit when one does",
          "[replica][snapshot]") {
  Options options = slow_snapshots();
  options.size = 1;
  Cluster cluster(options);
  const ClientId client = cluster.client("n1");
  make_big_state(cluster, client);
  cluster.tick(500);
  cluster.directory("n1").limit_space(cluster.directory("n1").used() + 300 * big);
  for (int i = 0; cluster["n1"].raft().log().bytes() < most_log_bytes * 3 / 4; ++i) {
    REQUIRE(i < 100);
    ask_to_write_all(cluster, client, 1, 2);
  }
  cluster.directory("n1").limit_space(cluster.directory("n1").used() + 3000 * big);
  cluster.stall_snapshots("n1");
  cluster.tick(1000);
  const Course course = write_beside_snapshots(cluster, 300);
  CHECK(course.longest_log <= most_log_bytes + 2 * big);
  cluster.release_snapshots("n1");
  cluster.tick(100);
  CHECK(cluster.at_once(client, put("new", "v")).starts_with("PUT_OK"));
}

TEST_CASE("A follower whose log has grown beyond the limit makes writes wait when it leads",
          "[replica][snapshot]") {
  Cluster cluster(slow_snapshots());
  cluster.stall_snapshots("n2");
  const ClientId client = cluster.client("n1");
  for (int i = 0; i < 60; ++i) {
    ask_to_write(cluster, client, i);
    cluster.tick(2);
  }
  REQUIRE(cluster["n2"].raft().log().bytes() > most_log_bytes);
  cluster.crash("n1");
  cluster.elect("n2");
  const ClientId other = cluster.client("n2");
  const std::uint64_t id = ask_to_write(cluster, other, 1);
  CHECK(cluster.said(id) == "nothing yet");
  cluster.release_snapshots("n2");
  cluster.tick(50);
  CHECK(cluster.said(id).starts_with("PUT_OK"));
}

TEST_CASE("A follower with a long log passes writes on all the same", "[replica][snapshot]") {
  Options options = slow_snapshots();
  options.delay_ticks["n2"] = 100'000;
  Cluster cluster(options);
  for (const std::string node : {"n1", "n2"}) {
    const Ids ids = ask_to_write_all(cluster, cluster.client(node), 60, 2);
    check_in_order(cluster, ids);
    CHECK(cluster["n2"].raft().log().bytes() > most_log_bytes);
  }
}

TEST_CASE("However many writes wait, those of other servers hear of it before their own clocks end them",
          "[replica][snapshot]") {
  Cluster cluster(slow_snapshots());
  fill_log(cluster);
  const ClientId own = cluster.client("n1");
  for (int i = 0; i < 80'000; ++i) cluster.ask(own, put("new", "v"), 100'000);
  const ClientId client = cluster.client("n2");
  Ids ids;
  for (std::uint64_t ms = 1000; ms < 2000; ms += 10) ids.push_back(cluster.ask(client, put("new", "v"), ms));
  cluster.run();
  REQUIRE(count_answered(cluster, ids) == 0);
  cluster.tick(220);
  CHECK(std::all_of(ids.begin(), ids.end(),
                    [&](std::uint64_t id) { return cluster.said(id) == "ERROR OVERLOADED"; }));
}

TEST_CASE("A server that has lost its state alone is given the snapshot that was begun, however the log goes on",
          "[replica][snapshot]") {
  Cluster cluster(slow_snapshots(20));
  const ClientId client = cluster.client("n1");
  ask_to_write_all(cluster, client, 45, 3);
  cluster.tick(200);
  lose_state(cluster, "n3");
  cluster.stall_snapshots("n3");
  cluster.run();
  cluster.tick(3);
  REQUIRE(cluster["n3"].raft().lacks_state());
  REQUIRE(cluster.parts_sent_to("n3") > 0);
  const std::string begun = std::to_string(snapshot_of(cluster, "n1"));
  ask_to_write_all(cluster, client, 60, 2);
  REQUIRE(cluster["n1"].raft().log().base_index() > raft::Index(std::stoull(begun)));
  cluster.release_snapshots("n3");
  cluster.tick(200);
  const std::vector<std::string>& news = cluster.news("n3");
  CHECK(std::any_of(news.begin(), news.end(), [&](const std::string& text) {
    return text.starts_with("took over the snapshot of " + begun + ":");
  }));
  check_alike(cluster);
}
