// Histories that break what is promised to a session, that show states that never were, or that lost a write;
// drawn as tests/checkers/notation.hpp has it, with all the rules that they break.
#include <catch2/catch.hpp>

#include "tests/checkers/notation.hpp"

using namespace kv::history;
using notation::broken_rules;
using notation::history_of;
using notation::rules_of;

TEST_CASE("freshness: the server had applied the position that was asked for") {
  CHECK(broken_rules("- k [get from 5 none at 4]") == "freshness");
  CHECK(broken_rules(R"(
      - k [put a @2]
      - k           [get from 5 a@2 at 4]
  )") == "freshness");
}

TEST_CASE("read-your-writes: a session sees its own acknowledged writes") {
  CHECK(broken_rules(R"(
      s2 k [put a @1]
      s1 k           [put b @2]
      s1 k                     [get a@1]
  )") == "read-your-writes");
  CHECK(broken_rules(R"(
      s1 k [put a @4]
      s1 k           [get none at 3]
  )") == "read-your-writes");
  CHECK(broken_rules(R"(
      s2 k [put a @1]
      s1 k           [del @2 found]
      s1 k                         [get a@1]
  )") == "read-your-writes");
  CHECK(broken_rules(R"(
      s2 k [put a @1]
      s1 k           [put b @2]
      s1 k                     [get a@1 at 2]            the server claims to be fresh enough
  )") == "read-your-writes, snapshot");
  CHECK(broken_rules(R"(
      s2 k [put a @1]
      s1 k           [put b @2]
      s1 k                     [lin a@1 at 2]
  )") == "read-your-writes, snapshot, linearizability, lost");
  CHECK(broken_rules(R"(
      s2 k [put a @1]
      s1 k           [put b @2]
      s1 k                     [put c !]
      s1 k                      [get b@2]                an older write is seen, the last one is not
      s1 k           [put d @3]
      s1 k                                [get b@2]
  )") == "read-your-writes");
}

TEST_CASE("monotonic-reads: a session does not go back") {
  CHECK(broken_rules(R"(
      s2 k [put a @1]
      s2 k           [put b @2]
      s1 k                     [get b@2]
      s1 k                               [get a@1]
  )") == "monotonic-reads");
  CHECK(broken_rules(R"(
      s2 k [put a @1]
      s1 k           [get a@1]
      s1 k                    [get none at 0]
  )") == "monotonic-reads");
  CHECK(broken_rules(R"(
      s2 k [put a @3]
      s2 k           [del @4 found]
      s1 k                         [get none at 5]
      s1 k                                        [get a@3]
  )") == "monotonic-reads");
  CHECK(broken_rules(R"(
      s2 k [put a @3]
      s2 k           [del @4 found]
      s1 k                         [get none at 5]
      s1 k                                        [get a@3 at 6]  though the server claims to be further on
  )") == "monotonic-reads, snapshot");
  CHECK(broken_rules(R"(
      s1 k [get none at 5]
      s1 k                [get none at 4]
  )") == "monotonic-reads");
  CHECK(broken_rules(R"(
      s2 k [put a @1]
      s2 k           [put b @2]
      s1 k                     [local b@2]              it remembers what any read told
      s1 k                                 [get a@1]
  )") == "monotonic-reads");
  CHECK(broken_rules(R"(
      s2 k [put a @1]
      s2 k           [put b @2]
      s1 k                     [lin b@2]
      s1 k                              [get a@1]
  )") == "monotonic-reads");
}

TEST_CASE("monotonic-writes: a session's writes take effect in its order") {
  CHECK(broken_rules(R"(
      s1 x [put a @5]
      s1 y           [put b @4]
  )") == "positions, monotonic-writes");
  CHECK(broken_rules(R"(
      s1 x [put a @5]
      s1 y           [put b @5]
  )") == "positions, monotonic-writes");
  CHECK(broken_rules(R"(
      s1 x [put a @5]
      s1 y           [put b ?>
      s2 y                     [local b@4 at 6]
  )") == "positions, monotonic-writes");
}

TEST_CASE("writes-follow-reads: a session's write comes after what it had read") {
  CHECK(broken_rules(R"(
      s2 x [put a @5...........]
      s1 x      [get a@5]
      s1 y                [put b @4]
  )") == "positions, writes-follow-reads");
  CHECK(broken_rules(R"(
      s1 x [get none at 7]
      s1 y                [put b @6]
  )") == "positions, writes-follow-reads");
  CHECK(broken_rules(R"(
      s2 x [put a @5...............]
      s1 x [put b if 1 !5]                              a conflict is a read as well
      s1 y                [del @4]
  )") == "positions, writes-follow-reads");
}

TEST_CASE("snapshot: any read shows the state at the position that it tells") {
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [put b @2]
      - k                     [local a@1 at 3]
  )") == "snapshot");
  CHECK(broken_rules(R"(
      - k [put a @2]
      - k           [local none at 3]
  )") == "snapshot");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [del @2 found]
      - k                         [local a@1 at 3]
  )") == "snapshot");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [put b ?>
      - k                     [local b@4]               another read told of the write
      - k                                [local a@1 at 5]
  )") == "snapshot");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [put b ?>
      - k                     [put c if 9 !3]           a conflict did
      - k                                    [local a@1 at 4]
  )") == "snapshot");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [put b ?>
      - k           [put c if 3 @5]            a condition that held did
      - k                          [local a@1 at 4]
  )") == "snapshot");
}

TEST_CASE("snapshot: an absence after a put takes a delete that can explain it") {
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [del ?>
      - k                   [local a@1 at 5]
      - k                                   [local none at 4]    absent before, there after
  )") == "snapshot");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [del ?>
      - k                   [put b @4]
      - k                             [local none at 3]
      - k                             [local none at 5]          two absences, one delete
  )") == "snapshot");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [del if 9 ?>
      - k                        [local none at 3]
  )") == "snapshot");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [del if 0 ?>
      - k                        [local none at 3]
  )") == "snapshot");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - y           [put x @6]
      - k                     [del ?>          it began when 6 was known
      - k                             [local none at 6]
  )") == "snapshot");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [del ?>
      - y           [put x @2]                 the only position it could have had
      - k                     [local none at 2]
  )") == "snapshot");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [del ?>
      - y           [put x @4]
      - k           [local a@1 at 3]
      - k           [local none at 4]          and this one is taken too
  )") == "snapshot");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - y           [put x @3]
      - k                     [del ?>          explains the second absence only
      - k                     [local none at 2]
      - k                      [local none at 6]
  )") == "snapshot");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [del ?>
      - k           [put b if 1 @5]            so a was there at 4
      - k                          [local none at 3]
  )") == "snapshot");
}

TEST_CASE("lost: the final contents hold what was acknowledged last") {
  const History two_puts = history_of(R"(
      - k [put a @1]
      - k           [put b @2]
  )");
  CHECK(rules_of(check(two_puts, Contents{})) == "snapshot, linearizability, lost");
  CHECK(rules_of(check(two_puts, Contents{{"k", {"a", 1}}})) == "snapshot, linearizability, lost");
  CHECK(rules_of(check(two_puts, Contents{{"k", {"b", 3}}})) == "positions, linearizability");
  CHECK(rules_of(check(two_puts, Contents{{"k", {"z", 3}}})) == "positions, linearizability");
  CHECK(rules_of(check(two_puts, Contents{{"k", {"b", 2}}, {"j", {"z", 3}}})) == "positions, linearizability");
  CHECK(rules_of(check(two_puts, Contents{{"k", {"b", 2}}})).empty());
}

TEST_CASE("lost: a delete that was acknowledged last stays") {
  const History deleted = history_of(R"(
      - k [put a @1]
      - k           [del @2 found]
  )");
  CHECK(rules_of(check(deleted, Contents{{"k", {"a", 1}}})) == "snapshot, linearizability, lost");
  CHECK(rules_of(check(deleted, Contents{})).empty());
}

TEST_CASE("lost: only a write of unknown outcome that could be the last one explains another end") {
  const History cannot = history_of(R"(
      - k [put a @1]
      - k           [put b @2]
      - k                     [del if 1 ?>
      - k                     [put c if 0 ?>
  )");
  CHECK(rules_of(check(cannot, Contents{})) == "snapshot, linearizability, lost");
  CHECK(rules_of(check(cannot, Contents{{"k", {"c", 5}}})) == "linearizability");
  const History can = history_of(R"(
      - k [put a @1]
      - k           [del if 1 ?>
      - k           [put c if 0 ?>
  )");
  CHECK(rules_of(check(can, Contents{{"k", {"a", 1}}})).empty());
  CHECK(rules_of(check(can, Contents{})).empty());
  CHECK(rules_of(check(can, Contents{{"k", {"c", 5}}})).empty());
  CHECK(rules_of(check(can, Contents{{"k", {"c", 2}}})) == "linearizability");  // no position left for the delete
}

TEST_CASE("lost: the contents are numbered behind the operations") {
  const std::vector<Violation> violations = check(history_of("s1 k [put a @1]"), Contents{});
  REQUIRE(!violations.empty());
  CHECK(violations.back().rule == Rule::lost);
  CHECK(violations.back().operations == std::vector<std::uint64_t>{0, 1});
  CHECK(violations.back().message ==
        "acknowledged, the last of its key, and not there at the end: #0 s1 put \"k\"=\"a\" [5, 14]: ok, ts 1; "
        "#1 linearizable get \"k\" [15, 16]: ok, absent, applied 3 (final contents)");
}
