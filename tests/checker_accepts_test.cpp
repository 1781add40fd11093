// Tricky histories that a right store can produce, drawn as tests/checkers/notation.hpp has it: no rule may object.
#include <catch2/catch.hpp>

#include "tests/checkers/notation.hpp"

using namespace kv::history;
using notation::history_of;
using notation::rules_of;

namespace {

std::string objections(const std::string& text) {
  std::string out;
  for (const Violation& violation : check(history_of(text))) {
    out += std::string(to_string(violation.rule)) + ": " + violation.message + "\n";
  }
  return out;
}

}  // namespace

TEST_CASE("checkers accept: a read that overlaps a write may see it or not") {
  CHECK(objections("") == "");
  CHECK(objections(R"(
      - k [put a @1]
      - k           [put b @2...........................]
      - k             [lin a@1 at 1]
      - k                            [lin b@2]
      - k              [lin b@2....................]
  )") == "");
  CHECK(objections(R"(
      - k [put a @2....................]
      - k [put b @1....................]       the positions tell which came first
      - k      [lin b@1]
      - k                [lin a@2]
  )") == "");
  CHECK(objections(R"(
      - k [lin none at 0]
      - k [put a @1.......................]
      - k      [del @2 found..............]
      - k           [put b @3.............]
      - k               [lin none at 2]        between two that overlap it
  )") == "");
  CHECK(objections(R"(
      - k [put a @3................................]
      - k     [lin a@3]                        seen before it was acknowledged
      - k              [put b if 3 @4]
      - k                              [lin b@4]
  )") == "");
}

TEST_CASE("checkers accept: operations that touch, and those of no length") {
  CHECK(objections(R"(
      - k [put a @1]
      - k          [put b @2]
      - k                   [lin b@2]
  )") == "");
  // Two at one single time overlap: neither came before the other.
  History instants = history_of(R"(
      - k [lin a@1]
      - k [put a @1]
  )");
  for (Operation& operation : instants) operation.ended = operation.invoked;
  CHECK(rules_of(check(instants)) == "");
}

TEST_CASE("checkers accept: a write of unknown outcome takes effect late, early or never") {
  CHECK(objections(R"(
      - k [put a @1]
      - k           [put b ?]                  given up
      - k                     [lin a@1]
      - k                              [put c @4]
      - k                                        [lin b@6]
  )") == "");
  CHECK(objections(R"(
      - k [put a @1]
      - k           [put b ?>
      - k                     [lin b@2]
      - k                               [put c @3]
  )") == "");
  CHECK(objections(R"(
      - k [put a @1]
      - k           [put b ?>
      - k           [del ?>
      - k           [put c if 1 ?>
      - k                     [lin a@1 at 9]
  )") == "");
  CHECK(objections(R"(
      - k [put a @1]
      - k           [put b if 7 ?]             can't have been applied, so it was not
      - k                         [lin a@1 at 3]
  )") == "");
  CHECK(objections(R"(
      - k [put b ?>                            its value is known from a local read of the past
      - k           [put a @5]
      - k                     [local b@2 at 3]
      - k                                      [lin a@5]
  )") == "");
}

TEST_CASE("checkers accept: a delete of unknown outcome explains an absence") {
  CHECK(objections(R"(
      - k [put a @1]
      - k           [del ?]
      - k                   [lin a@1 at 3]
      - k                                  [lin none at 5]
  )") == "");
  CHECK(objections(R"(
      - k [put a @1]
      - k           [del ?>
      - k           [del ?>
      - k                   [lin none at 2]
      - k                                  [put b @5]
      - k                                            [lin none at 6]
  )") == "");
  CHECK(objections(R"(
      - k [put a @1]
      - k           [del if 4 ?>
      - k           [del ?>
      - k                        [put b if 0 @4]
      - k                                       [lin none at 5]    each delete has its place
  )") == "");
  CHECK(objections(R"(
      - k [put a @1]
      - k           [del ?>
      - k                   [del @4]                               not found: the other one was first
  )") == "");
  CHECK(objections(R"(
      - k [put a @1]
      - k           [put b @3.........................]
      - k           [del ?>
      - k             [lin none at 2]                              at 2, between a and b
      - k                             [lin b@3]
  )") == "");
}

TEST_CASE("checkers accept: a put that nobody read shows in what it made possible") {
  CHECK(objections(R"(
      - k [put a ?>
      - k           [del @3 found]             only a can have been there
  )") == "");
  CHECK(objections(R"(
      - k [put a ?>
      - k           [put b if 9 !3]            a's position, told by a conflict
      - k                          [put c if 9 !3]
      - k                                         [put d if 3 @5]
      - k                                                        [lin d@5]
  )") == "");
  CHECK(objections(R"(
      - k [put a @1]
      - k           [put x ?>
      - k           [put y if 3 ?>             x at 3, y at 5
      - k                         [put b if 9 !3]
      - k                                        [put c if 9 !5]
  )") == "");
  CHECK(objections(R"(
      - k [put x ?>
      - k           [del if 4 ?>               deletes x, if x was at 4
      - k                        [put b if 9 !4]
      - k                                        [lin none at 6]
  )") == "");
  CHECK(objections(R"(
      - k [put a @1]
      - k           [del @2 found]
      - k           [put x ?>
      - k                         [del @5 found]                   x came between the deletes
      - k                                       [lin none at 5]
  )") == "");
}

TEST_CASE("checkers accept: two writes of unknown outcome in the one order that what follows needs") {
  CHECK(objections(R"(
      - k [put a @1]
      - k           [del ?>
      - k           [put x ?>
      - k           [lin none at 2.......]
      - k           [put c if 7 !3.......]
      - k                                 [put b if 3 @9]          the delete, then x
  )") == "");
  CHECK(objections(R"(
      - k [put a @1]
      - k           [del ?>
      - k           [put x ?>
      - k           [lin none at 5.......]
      - k           [put c if 7 !3.......]
      - k                                 [put b if 0 @9]          x, then the delete
  )") == "");
  CHECK(objections(R"(
      - k [put a @1]
      - k           [put x ?>
      - k           [del ?>
      - k           [lin none at 2]
      - k           [put w if 5 @9]                                the delete, then x at 5
      - k                          [lin w@9]
  )") == "");
  CHECK(objections(R"(
      - k [put a @1]
      - k           [put x ?>
      - k           [del if 5 ?>
      - k                       [lin none at 6]                    x at 5, deleted at 6
      - k                                      [put b @7]
  )") == "");
  CHECK(objections(R"(
      - k [put a @1]
      - k           [del ?>
      - k           [del if 1 ?>
      - k                       [put b @4]
      - k                                 [local none at 3]        only the second delete can be of a,
      - k                                 [local none at 6]        and the first is left for b
  )") == "");
}

TEST_CASE("checkers accept: conditions") {
  CHECK(objections(R"(
      - k [put a if 0 @1....]
      - k [put b if 0 !1....]                  one of two wins
      - k                     [put c if 1 @2]
      - k                     [put d if 1 !2]
      - k                                     [del if 2 @3 found]
      - k                                                         [del if 2 !0]
      - k                                                                      [del if 0 @4]
  )") == "");
  CHECK(objections(R"(
      - k [put a @1...................]
      - k [put b if 9 !0]                      refused while it was absent still
      - k                 [put c if 9 !1]
  )") == "");
  CHECK(objections(R"(
      - k [put a !]                            refused, but not for its condition
      - k           [lin none at 4]
  )") == "");
}

TEST_CASE("checkers accept: local reads of any past, session reads of their own") {
  CHECK(objections(R"(
      s1 k [put a @1]
      s1 k           [put b @2]
      s1 k                     [local a@1]
      s1 k                                [local none at 0]        a local read promises nothing
      s1 k                                                  [get from 2 b@2]
  )") == "");
  CHECK(objections(R"(
      s1 k [local from 5 none at 4]                                and is not asked for any position
  )") == "");
  CHECK(objections(R"(
      s1 k [put a @1]
      s2 k           [put b @2]
      s1 k                     [get a@1]                           another's write needs not be seen
      s1 k                               [get b@2]
      s2 j                               [get none at 0]           of another key nothing is known
  )") == "");
  CHECK(objections(R"(
      s1 k [put a @1]
      s2 k           [del @2 found]
      s1 k                         [get from 1 none at 2]          overwritten since
      s1 k                                               [get from 2 none at 7]
      s2 k                                               [put b @9...............]
      s1 k                                                                        [get from 7 none at 8]
  )") == "");
  CHECK(objections(R"(
      s1 k [put a @1................]
      s1 k [put b @2..]
      s1 k             [get b@2]                                   a session's operations may overlap
      s1 k   [get none at 0............]
  )") == "");
  CHECK(objections(R"(
      s1 k [get b@2]
      s2 k  [put b @2]
      s1 k  [get none at 0]                                        began before the other told anything
  )") == "");
}

TEST_CASE("checkers accept: positions that nobody wrote at, and writes of other keys between") {
  CHECK(objections(R"(
      s1 x [put a @10]
      s2 y [put b @7]
      s1 x            [del @23 found]
      s3 x                           [put c ?>
      s3 y                           [lin b@7 at 30]
      s3 x                                          [lin c@29 at 30]
  )") == "");
}
