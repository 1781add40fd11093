// Histories that break rule `positions`, or that contradict themselves (rule `answers`), drawn as
// tests/checkers/notation.hpp has it, with all the rules that they break.
#include <catch2/catch.hpp>

#include "tests/checkers/notation.hpp"

using namespace kv::history;
using notation::broken_rules;

TEST_CASE("positions: no two writes share one, over all keys") {
  CHECK(broken_rules(R"(
      - x [put a @1]
      - y [put b @1]
  )") == "positions");
  CHECK(broken_rules(R"(
      - x [put a @1]
      - y [del @1]
  )") == "positions");
  CHECK(broken_rules(R"(
      - x [del @1]
      - y [del @1]
  )") == "positions");
  CHECK(broken_rules(R"(
      - x [put a ?]
      - x           [get a@3]
      - y [put b @3...........]
  )") == "positions");
}

TEST_CASE("positions: conditions and conflicts tell of writes too") {
  CHECK(broken_rules(R"(
      - x [put a @3]
      - k           [put b if 3 @5]            the position of another key's write
  )") == "positions, linearizability");
  CHECK(broken_rules(R"(
      - x [put a @3]
      - k           [put b if 7 !3]
  )") == "positions, linearizability");
  CHECK(broken_rules(R"(
      - x [put a ?>
      - k [put b if 7 !4]                      one of x and k is at 4
      - k [put c ?>
      - x [put d if 7 !4]
  )") == "positions");
  CHECK(broken_rules(R"(
      - k [put a ?>
      - k [del @4 found]
      - k               [local a@4]            the position of a delete
  )") == "positions, linearizability");
}

TEST_CASE("positions: a position has one value") {
  CHECK(broken_rules(R"(
      - k [put a ?]
      - k [put b ?]
      - k           [local a@2]
      - k           [local b@2]
  )") == "positions, linearizability");
  CHECK(broken_rules(R"(
      - k [put a @2]
      - k [put b ?]
      - k           [local b@2]
  )") == "positions, linearizability");
}

TEST_CASE("positions: a value has one position") {
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [local a@3]                a retried write that was applied twice
  )") == "positions");
  CHECK(broken_rules(R"(
      - k [put a ?]
      - k           [local a@1]
      - k           [local a@3]
  )") == "positions");
  CHECK(broken_rules(R"(
      - x [put a @1]
      - y           [local a@1]                and one key
  )") == "positions");
  CHECK(broken_rules(R"(
      - x [put a ?]
      - y           [local a@1]
  )") == "positions");
}

TEST_CASE("positions: what is read was written, and before") {
  CHECK(broken_rules(R"(
      - k [local z@3]                          by nobody
  )") == "positions");
  CHECK(broken_rules(R"(
      - k [put a !]
      - k           [local a@2]
  )") == "positions");
  CHECK(broken_rules(R"(
      - k [local a@2 at 5.......]
      - k [put a if 3 !0]                      also while the failing write goes on
  )") == "positions");
  CHECK(broken_rules(R"(
      - k [local a@2]
      - k             [put a @2]
  )") == "positions");
  CHECK(broken_rules(R"(
      - k [local a@2]
      - k             [put a ?>
  )") == "positions");
}

TEST_CASE("positions: a write comes after all that was known when it began") {
  CHECK(broken_rules(R"(
      - x [put a @5]
      - y           [put b @4]
  )") == "positions");
  CHECK(broken_rules(R"(
      - x [put a @5]
      - y           [del @4]
  )") == "positions");
  CHECK(broken_rules(R"(
      - x [put a @5]
      - y           [put b ?>
      - y                     [local b@3 at 6]          its position is told by a read
  )") == "positions");
  CHECK(broken_rules(R"(
      - x [local none at 7]                    a server had applied 7
      - y                   [put a @7]
  )") == "positions");
  CHECK(broken_rules(R"(
      - x [put a @6................]
      - x [put b if 1 !6]                      a conflict told of 6
      - y                 [put c @4]
  )") == "positions");
}

TEST_CASE("positions: a linearizable read comes after all that was known when it began") {
  CHECK(broken_rules(R"(
      - x [put a @9]
      - y           [lin none at 8]
  )") == "positions");
  CHECK(broken_rules(R"(
      - x [local none at 9]
      - y                   [lin none at 8]
  )") == "positions");
}

TEST_CASE("positions: an answer tells positions that can be") {
  CHECK(broken_rules(R"(
      - k [put a @5]
      - k           [local a@5 at 3]           beyond what the server had applied
  )") == "positions");
  CHECK(broken_rules(R"(
      - k [put a ?]
      - k           [local a@0 at 3]
  )") == "positions");
  CHECK(broken_rules(R"(
      - k [local none@4 at 5]
  )") == "positions");
  CHECK(broken_rules(R"(
      - k [put a @0]
  )") == "positions, linearizability");
}

TEST_CASE("positions: the message names both sides and what they say") {
  const std::vector<Violation> violations = check(notation::history_of(R"(
      s1 x [put a @1]
      s2 y [put b @1]
  )"));
  REQUIRE(violations.size() == 1);
  CHECK(violations[0].operations == std::vector<std::uint64_t>{1, 0});
  CHECK(violations[0].message ==
        "two writes at one position: #1 s2 put \"y\"=\"b\" [11, 20]: ok, ts 1; "
        "#0 s1 put \"x\"=\"a\" [11, 20]: ok, ts 1");
}

TEST_CASE("positions: a value that was read too early is named as such") {
  const std::vector<Violation> violations = check(notation::history_of(R"(
      - k [local a@2]
      - k             [put a @2]
  )"));
  REQUIRE(violations.size() == 2);
  CHECK(violations[0].message ==
        "read before it was written: #0 local get \"k\" [10, 20]: ok, \"a\", ts 2, applied 2; "
        "#1 put \"k\"=\"a\" [22, 31]: ok, ts 2");
  CHECK(violations[1].operations == std::vector<std::uint64_t>{1, 0});
}

TEST_CASE("answers: an operation does not contradict itself") {
  CHECK(broken_rules("- k [put a if 4 !3 @5]") == "answers");  // both written and a conflict
  CHECK(broken_rules("- k [put a !3]") == "answers");          // a conflict with no condition
  CHECK(broken_rules("- k [lin if 4 none at 5]") == "answers");
  CHECK(broken_rules("- k [put a @5>") == "answers");  // an answer that never came
  CHECK(broken_rules("- k [put a ? found]") == "answers");
  History backwards = notation::history_of("- k [put a @5]");
  std::swap(backwards[0].invoked, backwards[0].ended);
  CHECK(notation::rules_of(check(backwards)) == "answers");
}

TEST_CASE("answers: the values of a history are unique") {
  CHECK(broken_rules(R"(
      - x [put a @1]
      - y           [put a @2]
  )") == "answers");
}

TEST_CASE("checkers: of each rule only the first violations are reported, in order") {
  std::string text;
  for (int i = 0; i < 20; ++i) text += "- k [local z" + std::to_string(i) + "@5]\n";
  Limits limits;
  limits.violations_per_rule = 3;
  const std::vector<Violation> violations = check(notation::history_of(text), limits);
  REQUIRE(violations.size() == 3);
  for (std::size_t i = 0; i < 3; ++i) CHECK(violations[i].operations.front() <= i + 1);
}
