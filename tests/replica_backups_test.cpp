// What a client that asks for a backup must wait for, and how much of it is on its way at once.
#include "tests/replica_fixture.hpp"

using namespace kv;
using namespace kv::replica_test;

TEST_CASE("A backup waits until the server has applied the position that the client has seen", "[replica]") {
  Cluster cluster({.delay_ticks = {{"n3", 10}}});
  const ClientId writer = cluster.client("n1");
  CHECK(cluster.at_once(writer, put("colour", "blue")) == "PUT_OK 2");
  const ClientId client = cluster.client("n3");
  const auto id = cluster.ask(client, message::Backup{2, 0, 0});
  cluster.tick(3);
  CHECK(cluster.said(id) == "nothing yet");
  cluster.tick(20);
  CHECK(cluster.last<message::BackupOk>(id).snapshot >= 2);
}

TEST_CASE("A client has so many parts of a backup under way and no more: OVERLOADED", "[replica]") {
  Cluster cluster({.limits = {.backup_parts = 2}});
  const ClientId client = cluster.client("n1");
  const auto begun = cluster.ask(client, message::Backup{});
  cluster.tick(2);
  const auto first = cluster.last<message::BackupOk>(begun);
  cluster.stall_disk("n1");
  for (int i = 0; i < 2; ++i) cluster.ask(client, message::Backup{0, first.snapshot, 0});
  CHECK(cluster.at_once(client, message::Backup{0, first.snapshot, 0}) == "ERROR OVERLOADED");
  cluster.release_disk("n1");
  cluster.run();
  const auto id = cluster.ask(client, message::Backup{0, first.snapshot, 0});
  cluster.run();
  CHECK(cluster.last<message::BackupOk>(id).bytes == first.bytes);
}
