// Who is welcome between servers, and who may form a cluster (docs/architecture.md, "Identity").
#include "server/roster.hpp"

#include <catch2/catch.hpp>

using namespace kv;

namespace {

command::Member member(const std::string& node) {
  return {node, "identity of " + node, node + ":7501", node + ":7401"};
}

Roster roster() {
  return Roster(member("n1"), {"n3", "n1", "n2"}, "new cluster");
}

Roster bound_roster() {
  Roster roster_of_n1 = roster();
  roster_of_n1.bind({"ours", {member("n1"), member("n2"), member("n3")}});
  return roster_of_n1;
}

message::PeerInit says_init(const std::string& node, const std::string& cluster = "") {
  return {protocol_version, cluster, node, "identity of " + node, "n1", node + ":7401", node + ":7501"};
}

message::PeerInitOk says_init_ok(const std::string& node, const std::string& cluster = "") {
  return {protocol_version, "kvd test", cluster, node, "identity of " + node, node + ":7401", node + ":7501"};
}

std::string code_of(const std::optional<message::Error>& error) {
  return error ? std::string(name_of(error->code)) : "welcome";
}

}  // namespace

TEST_CASE("A member that says the right things is welcome, with and without a cluster", "[roster]") {
  CHECK(code_of(roster().check(says_init("n2"))) == "welcome");
  CHECK(code_of(roster().check(says_init("n2", "theirs"))) == "welcome");  // we are new here
  CHECK(code_of(bound_roster().check(says_init("n2", "ours"))) == "welcome");
  CHECK(code_of(bound_roster().check(says_init("n2"))) == "welcome");  // it has not heard of the first entry yet
  CHECK(code_of(bound_roster().check("n2", says_init_ok("n2", "ours"))) == "welcome");
}

TEST_CASE("A wrong protocol, a wrong 'to', an unknown node and our own name are refused", "[roster]") {
  auto init = says_init("n2");
  init.protocol = 2;
  CHECK(code_of(roster().check(init)) == "BAD_REQUEST");
  init = says_init("n2");
  init.to = "n3";
  CHECK(code_of(roster().check(init)) == "BAD_REQUEST");
  CHECK(code_of(roster().check(says_init("n4"))) == "BAD_REQUEST");
  CHECK(code_of(roster().check(says_init("n1"))) == "BAD_REQUEST");
  CHECK(code_of(roster().check(says_init(""))) == "BAD_REQUEST");
}

TEST_CASE("What we have dialled must be what we meant to dial", "[roster]") {
  auto answer = says_init_ok("n2");
  answer.protocol = 2;
  CHECK(code_of(roster().check("n2", answer)) == "BAD_REQUEST");
  CHECK(code_of(roster().check("n2", says_init_ok("n3"))) == "BAD_REQUEST");
  CHECK(code_of(roster().check("n1", says_init_ok("n1"))) == "BAD_REQUEST");  // we have dialled ourselves
}

TEST_CASE("Another cluster is refused, and told which one this is", "[roster]") {
  const auto error = bound_roster().check(says_init("n2", "theirs"));
  REQUIRE(error);
  CHECK(error->code == message::Code::cluster_mismatch);
  CHECK(error->cluster == "ours");
  CHECK(code_of(bound_roster().check("n2", says_init_ok("n2", "theirs"))) == "CLUSTER_MISMATCH");
}

TEST_CASE("Another identity under a known name is refused: an emptied or copied data directory", "[roster]") {
  auto init = says_init("n2");
  init.identity = "identity of n2, wiped";
  CHECK(code_of(bound_roster().check(init)) == "CLUSTER_MISMATCH");
  auto answer = says_init_ok("n2", "ours");
  answer.identity = "identity of n3";
  CHECK(code_of(bound_roster().check("n2", answer)) == "CLUSTER_MISMATCH");
}

// Two processes under one name would each get a vote of this server in the same term.
TEST_CASE("Before the first entry, too, there is one of each name", "[roster]") {
  Roster ours = roster();
  ours.reached(says_init_ok("n2"));
  auto second = says_init("n2");
  second.identity = "identity of another n2";
  CHECK(code_of(ours.check(second)) != "welcome");
  CHECK(code_of(ours.check(says_init("n2"))) == "welcome");
  ours.lost("n2");  // it may have been started anew, with an empty directory
  CHECK(code_of(ours.check(second)) == "welcome");
}

TEST_CASE("A cluster is formed by one that has reached every member and found each without a cluster", "[roster]") {
  Roster ours = roster();
  CHECK_FALSE(ours.can_form());
  ours.reached(says_init_ok("n2"));
  CHECK_FALSE(ours.can_form());
  ours.reached(says_init_ok("n3"));
  REQUIRE(ours.can_form());
  CHECK(ours.form() == command::Members{"new cluster", {member("n1"), member("n2"), member("n3")}});
  ours.lost("n2");
  CHECK_FALSE(ours.can_form());
  ours.reached(says_init_ok("n2", "theirs"));
  CHECK_FALSE(ours.can_form());
}

TEST_CASE("A cluster that exists is not formed again, unless its first entry was replaced", "[roster]") {
  Roster ours = bound_roster();
  CHECK(ours.cluster() == "ours");
  ours.reached(says_init_ok("n2"));
  ours.reached(says_init_ok("n3"));
  CHECK_FALSE(ours.can_form());
  ours.unbind();
  CHECK(ours.cluster().empty());
  CHECK(ours.can_form());
}

TEST_CASE("A single server forms a cluster of its own", "[roster]") {
  const Roster alone(member("n1"), {"n1"}, "new cluster");
  REQUIRE(alone.can_form());
  CHECK(alone.form() == command::Members{"new cluster", {member("n1")}});
}

TEST_CASE("New addresses are news, of others and of this server; identities are not", "[roster]") {
  Roster ours = bound_roster();
  CHECK_FALSE(ours.with_news());
  ours.reached(says_init_ok("n2", "ours"));
  CHECK_FALSE(ours.with_news());
  auto moved = says_init_ok("n2", "ours");
  moved.advertise = "elsewhere:1";
  ours.reached(moved);
  const auto news = ours.with_news();
  REQUIRE(news);
  CHECK(news->members[1].client_address == "elsewhere:1");
  CHECK(news->members[1].identity == "identity of n2");
  CHECK(news->cluster == "ours");
  ours.bind(*news);
  CHECK_FALSE(ours.with_news());

  Roster moved_itself({"n1", "identity of n1", "n1:7501", "elsewhere:2"}, {"n1", "n2", "n3"}, "unused");
  CHECK_FALSE(moved_itself.with_news());  // nothing is bound yet
  moved_itself.bind({"ours", {member("n1"), member("n2"), member("n3")}});
  REQUIRE(moved_itself.with_news());
  CHECK(moved_itself.with_news()->members[0].client_address == "elsewhere:2");
}
