// Histories without an order that explains all answers, drawn as tests/checkers/notation.hpp has it. With each
// stand all the rules that it breaks, so that a rule that fires for no reason shows as well.
#include <catch2/catch.hpp>

#include "tests/checkers/notation.hpp"

using namespace kv::history;
using notation::broken_rules;

TEST_CASE("linearizability: a read must not be of the past") {
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [put b @2]
      - k                     [lin a@1 at 2]   b was acknowledged before
  )") == "snapshot, linearizability, lost");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [put b @2]
      - k                     [lin a@1 at 1]   and the server knows that it is behind
  )") == "positions, linearizability, lost");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [lin none at 1]            the put is not seen at all
  )") == "snapshot, linearizability, lost");
}

TEST_CASE("linearizability: reads must not go back, even while a write is going on") {
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [put b @2......................................]
      - k               [lin b@2]
      - k                         [lin a@1 at 2]
  )") == "snapshot, linearizability");
  CHECK(broken_rules(R"(
      - k [put a @1.............................................]
      - k [put b @2.............................................]
      - k      [lin b@2]
      - k               [lin a@1 at 1]       two that overlap are seen in both orders
  )") == "positions, linearizability");
  CHECK(broken_rules(R"(
      - k [put a @3......................................]
      - k    [lin a@3]
      - k             [lin none at 3]
  )") == "snapshot, linearizability");
}

TEST_CASE("linearizability: what was deleted does not come back") {
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [del @2 found]
      - k                         [lin a@1 at 2]
  )") == "snapshot, linearizability, lost");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [del @2 found]
      - k                         [del @3 found]         deleted twice
  )") == "linearizability");
  CHECK(broken_rules(R"(
      - k [del @1 found]                       there was nothing
  )") == "linearizability");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [del @2]                   there was something
  )") == "snapshot, linearizability");
}

TEST_CASE("linearizability: of two writes with one condition one must fail") {
  CHECK(broken_rules(R"(
      - k [put a if 0 @1]
      - k [put b if 0 @2]
  )") == "snapshot, linearizability");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [put b if 1 @2]            a lost update: c was made of a
      - k           [put c if 1 @3]
  )") == "snapshot, linearizability");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [del if 1 @2 found]
      - k           [put b if 1 @3]
  )") == "snapshot, linearizability");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [del if 1 @2 found]
      - k           [del if 1 @3 found]
  )") == "snapshot, linearizability");
}

TEST_CASE("linearizability: a condition held that could not") {
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [put b @2]
      - k                     [put c if 1 @3]
  )") == "snapshot, linearizability");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [put b if 5 @7]            nobody wrote at 5
  )") == "linearizability");
  CHECK(broken_rules(R"(
      - k [del if 4 @6 found]                  there never was anything
  )") == "linearizability");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [del if 0 @2]              deletes only what is absent, and it was there
  )") == "snapshot, linearizability");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [del if 1 @2]              it was there, and was not found
  )") == "snapshot, linearizability");
  CHECK(broken_rules(R"(
      - k [put a @4]
      - k           [put b if 6 @5]            a condition on a later position than its own
      - k           [put c ?>
  )") == "linearizability");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [put b if 1 ?]
      - k                         [put c if 1 @4]
      - k                                        [lin b@3 at 4]
  )") == "snapshot, linearizability, lost");
}

TEST_CASE("linearizability: a conflict tells the key's ts of that time") {
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [put b if 1 !1]            the condition held
  )") == "linearizability");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [put b if 7 !3]            nobody wrote at 3
  )") == "linearizability");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [put b if 7 !0]            it was not absent
  )") == "linearizability");
  CHECK(broken_rules(R"(
      - k [put b if 0 !0]                      it was absent, as asked
  )") == "linearizability");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [put b @2]
      - k                     [put c if 7 !1]  no more
  )") == "linearizability");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [del @2 found]
      - k                         [del if 7 !1]
  )") == "linearizability");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [del @2 found]
      - k                         [del if 7 !2]         an absent key has no ts
  )") == "positions, linearizability");
  CHECK(broken_rules(R"(
      - k [put a if 7 !5]                      not yet
      - k                 [put b @5]
  )") == "positions, linearizability");
}

TEST_CASE("linearizability: a write of unknown outcome that was seen stays") {
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [put b ?]
      - k                    [lin b@2]
      - k                             [lin a@1 at 2]
  )") == "snapshot, linearizability");
  CHECK(broken_rules(R"(
      - k [put b ?>
      - k           [lin b@2]
      - k                     [lin none at 3]
  )") == "snapshot, linearizability");
  CHECK(broken_rules(R"(
      - k [put b ?>
      - k           [lin b@2]
      - k                     [put c @5]
      - k                               [lin b@2 at 6]   and does not come back
  )") == "snapshot, linearizability, lost");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [put b ?>
      - k                     [put c if 9 !3]            b was seen at 3
      - k                                    [lin a@1 at 3]
  )") == "snapshot, linearizability");
}

TEST_CASE("linearizability: a write of unknown outcome explains what it can, once") {
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [del ?>
      - k                   [lin none at 2]
      - k                                  [put b @5]
      - k                                            [lin none at 6]   a second delete
  )") == "snapshot, linearizability");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [put b @2]
      - k                     [del if 1 ?>     its condition can't hold any more
      - k                     [lin none at 4]
  )") == "snapshot, linearizability, lost");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [lin none at 3]
      - k                          [del ?>     too late
  )") == "snapshot, linearizability, lost");
  CHECK(broken_rules(R"(
      - k [del ?>
      - k [put b ?>
      - k           [del @5 found]
      - k                         [del @6 found]         put b was there once at most
  )") == "linearizability");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [put b ?>
      - k           [put c if 9 !3]
      - k                          [put d if 9 !4]       and at one position
  )") == "linearizability");
  CHECK(broken_rules(R"(
      - k [put b ?>
      - k           [put c if 9 !3]
      - k                          [lin b@2 at 3]        at another than the conflict told
  )") == "snapshot, linearizability");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [put b @2....................................]
      - k           [del ?>
      - k             [lin none at 1]                    there is no position between a and b
      - k                            [lin b@2]
  )") == "snapshot, linearizability");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [put x ?>
      - k           [del if 5 ?>
      - k                       [lin none at 5]          x at 5, so the delete is at 6 or above
      - k                                      [put b @6]
  )") == "snapshot, linearizability");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [put b if 0 ?>             without a delete it can't have been applied
      - k                         [del @4]
  )") == "snapshot, linearizability");
}

TEST_CASE("linearizability: what failed, or did not exist, is not there to be read") {
  CHECK(broken_rules(R"(
      - k [put a !]
      - k           [lin a@2]
  )") == "positions, linearizability");
  CHECK(broken_rules(R"(
      - k [put a if 4 !0]
      - k                 [lin a@2]
  )") == "positions, linearizability");
  CHECK(broken_rules(R"(
      - k [lin a@2]
      - k           [put a @2]                 read before it was written
  )") == "positions, linearizability");
  CHECK(broken_rules(R"(
      - k [lin a@2]
      - k           [put a ?]
  )") == "positions, linearizability");
  CHECK(broken_rules(R"(
      - k [put a @1]
      - k           [lin a@2]                  at another position
  )") == "positions, linearizability");
  CHECK(broken_rules(R"(
      - k [lin z@2]                            nobody wrote it
  )") == "positions, linearizability");
}

TEST_CASE("linearizability: positions grow with the order") {
  CHECK(broken_rules(R"(
      - k [put a @5]
      - k           [put b @3]
  )") == "positions, linearizability");
  CHECK(broken_rules(R"(
      - k [put a @5]
      - k           [del @3]
  )") == "positions, linearizability");
  CHECK(broken_rules(R"(
      - k [put a @5]
      - k [put b @5]
  )") == "positions, linearizability");
}

TEST_CASE("linearizability: the operation that does not fit is named, and what it contradicts") {
  const std::vector<Violation> violations = check(notation::history_of(R"(
      s1 k [put a @1]
      s2 k           [put b @2]
      s3 k                     [put c if 7 !1]
  )"));
  REQUIRE(violations.size() == 1);
  CHECK(violations[0].operations == std::vector<std::uint64_t>{2, 1});
  CHECK(violations[0].message ==
        "an answer of the past: the second operation, of a later position, was over when it began: "
        "#2 s3 put \"k\"=\"c\" if_ts 7 [31, 45]: fail, conflict, ts 1; #1 s2 put \"k\"=\"b\" [21, 30]: ok, ts 2");
}

TEST_CASE("linearizability: without a simple reason the longest order found is told") {
  const std::vector<Violation> violations = check(notation::history_of(R"(
      s1 k [put a @1]
      s2 k           [put b if 7 !0]
      s3 k           [put c @2]
  )"));
  REQUIRE(violations.size() == 1);
  CHECK(violations[0].operations == std::vector<std::uint64_t>{1, 2});
  CHECK(
      violations[0].message ==
      "no order of the key's operations explains all answers: in the longest one found #1 can't follow, after the "
      "write #2 and with no other to come: #1 s2 put \"k\"=\"b\" if_ts 7 [21, 35]: fail, conflict, absent; "
      "#2 s3 put \"k\"=\"c\" [21, 30]: ok, ts 2");
}

TEST_CASE("linearizability: what the steps do not suffice for is undecided") {
  std::string text = "- k [put a @1]\n";
  for (int i = 0; i < 30; ++i)
    text += "- k            [put i" + std::to_string(i) + " if " + std::to_string(i) + " ?>\n";
  for (int i = 0; i < 30; ++i) {
    text += "- k             [put c" + std::to_string(i) + " if 99 !" + std::to_string(40 - i) + "]\n";
  }
  Limits limits;
  limits.steps_per_key = 1'000;
  CHECK(notation::rules_of(check(notation::history_of(text), limits)) == "undecided");
}
