// What `status` says of a cluster that is not well.
#include <catch2/catch.hpp>

#include "client/diagnosis.hpp"

using namespace kv;
using namespace kv::client;
using Lines = std::vector<std::string>;

namespace {

message::StatusOk status(std::string node, std::uint64_t applied, std::string role = "follower") {
  message::StatusOk ok;
  ok.node = std::move(node);
  ok.role = std::move(role);
  ok.term = 3;
  ok.leader = "n1";
  ok.committed = ok.applied = ok.log_last = applied;
  return ok;
}
message::StatusOk leader(std::uint64_t applied, std::vector<message::PeerStatus> peers = {}) {
  message::StatusOk ok = status("n1", applied, "leader");
  ok.peers = std::move(peers);
  return ok;
}
Lines troubles(std::vector<message::StatusOk> all) {
  std::vector<NodeStatus> rows;
  for (message::StatusOk& one : all) rows.push_back({one.node, one.node + ":7401", std::move(one)});
  return troubles_of(rows);
}

}  // namespace

TEST_CASE("diagnosis: of servers that are level, or nearly, there is nothing to say") {
  CHECK(troubles({leader(57, {{"n2", 57, 3}}), status("n2", 57)}).empty());
  CHECK(troubles({leader(57, {{"n2", 50, 3}}), status("n2", 50)}).empty());
}

TEST_CASE("diagnosis: one that the leader does not hear") {
  CHECK(troubles({leader(57, {{"n2", 41, 4200}}), status("n2", 41)}) ==
        Lines{"n2 is 16 behind: the leader n1 has heard nothing from it for 4.2s: look at the network between "
              "them, and "
              "at its log"});
}

TEST_CASE("diagnosis: one that applies late on purpose") {
  message::StatusOk late = status("n2", 41);
  late.log_last = late.committed = 57;
  late.delay_ms = 3000;
  CHECK(troubles({leader(57, {{"n2", 57, 3}}), late}) ==
        Lines{"n2 is 16 behind: it has everything and applies it 3s late: --delay-replication"});
}

TEST_CASE("diagnosis: one that has much to get, or to apply") {
  CHECK(troubles({leader(20'000, {{"n2", 500, 3}}), status("n2", 500)}) ==
        Lines{"n2 is 19500 behind: the leader n1 is sending it what it lacks (it has the log up to 500)"});
  message::StatusOk applying = status("n2", 500);
  applying.log_last = 20'000;
  CHECK(troubles({leader(20'000, {{"n2", 20'000, 3}}), applying}) ==
        Lines{"n2 is 19500 behind: it has everything in its log and is applying it"});
}

TEST_CASE("diagnosis: no leader, and no one to ask") {
  message::StatusOk alone = status("n2", 41);
  alone.leader.clear();
  message::StatusOk other = status("n3", 57);
  other.leader.clear();
  const Lines lines = troubles({alone, other});
  REQUIRE(lines.size() == 3);
  CHECK(lines[0] == "n2 is 16 behind: and no leader could be asked why");
  CHECK(lines[1] ==
        "n2 knows no leader: an election is under way, it reaches no majority of the members, or its disk takes no "
        "write");
}

TEST_CASE("diagnosis: one that is full, and one that cannot be reached") {
  message::StatusOk full = leader(57);
  full.full = true;
  full.bytes = 1 << 20;
  full.quota = 1 << 20;
  CHECK(troubles({full}) == Lines{"n1 has reached its quota (1 MiB of 1 MiB): writes that add get NO_SPACE; delete "
                                  "keys, or raise --quota"});
  full.quota = 2 << 20;
  CHECK(troubles({full}) == Lines{"n1 has no room, on its disk or on those of a majority: writes that add get "
                                  "NO_SPACE; make room there (deleting keys helps if a snapshot of the rest fits "
                                  "beside the log)"});
  CHECK(troubles_of({{"", "host:1", std::string("connection refused")}}) == Lines{"host:1: connection refused"});
}

TEST_CASE("diagnosis: data that differ at one position, and only there") {
  std::vector<message::StatusOk> all = {leader(57), status("n2", 57), status("n3", 56)};
  all[0].digest = all[1].digest = "aa";
  all[2].digest = "bb";
  CHECK(troubles(all).empty());
  all[2].applied = all[2].committed = all[2].log_last = 57;
  CHECK(troubles(all) ==
        Lines{"the data of n1 and n3 differ at 57, which must never be: stop writing, keep their data "
              "directories, and report it"});
}

TEST_CASE("diagnosis: of two that say that they lead, the later one does") {
  message::StatusOk old = leader(41, {{"n2", 41, 9000}});
  message::StatusOk now = status("n3", 57, "leader");
  now.term = 4;
  now.peers = {{"n1", 41, 5000}, {"n2", 57, 3}};
  CHECK(troubles({old, now, status("n2", 57)}) == Lines{"n1 is 16 behind: the leader n3 has heard nothing from it "
                                                        "for 5s: look at the network between them, and at "
                                                        "its log"});
}
