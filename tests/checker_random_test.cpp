// The checkers on random histories: those of a right store are accepted, and the fast search for an order agrees
// with the one that tries everything.
#include <catch2/catch.hpp>
#include <set>

#include "tests/checkers/check.hpp"
#include "tests/checkers/generate.hpp"
#include "tests/checkers/key_search.hpp"
#include "tests/checkers/naive.hpp"

using namespace kv::history;

namespace {

std::string spelled(const History& history) {
  std::string out;
  for (const Operation& operation : history) out += spell(operation) + "\n";
  return out;
}

std::string spelled(const std::vector<Violation>& violations) {
  std::string out;
  for (const Violation& violation : violations) {
    out += std::string(to_string(violation.rule)) + ": " + violation.message + "\n";
  }
  return out;
}

// All operations are of one key.
KeySearch::Result search(const History& history) {
  const Facts facts(history);
  return KeySearch(facts, facts.keys().front()).run(100'000);
}

Shape tiny(Random& random) {
  Shape shape;
  shape.operations = 2 + random.below(6);
  shape.overlap = 1 + random.below(4);
  shape.info_percent = random.below(60);
  shape.delete_percent = random.below(50);
  shape.condition_percent = random.below(80);
  shape.gap_percent = random.below(60);
  shape.linearizable_only = true;
  return shape;
}

// What no store could do, more often than not: operations with positions from a small set.
Operation any_operation(Random& random, std::size_t i, std::uint64_t info_percent) {
  Operation operation;
  operation.number = i;
  operation.key = "k";
  operation.consistency = Consistency::linearizable;
  operation.invoked = random.below(12);
  operation.ended = operation.invoked + random.below(8);
  operation.outcome = random.percent(info_percent) ? Outcome::info : Outcome::ok;
  operation.function = static_cast<Function>(random.below(3));
  if (operation.function == Function::put) operation.value = "v" + std::to_string(i);
  if (operation.function != Function::get && random.percent(40)) operation.if_ts = random.below(5);
  if (operation.if_ts && random.percent(30)) {
    operation.outcome = Outcome::fail;
    operation.conflict = random.below(5);
  }
  if (operation.outcome == Outcome::ok) operation.ts = 1 + random.below(5);
  if (operation.outcome == Outcome::ok && operation.function == Function::del) operation.found = random.percent(50);
  return operation;
}

History any_history(Random& random) {
  History history;
  const std::size_t size = 2 + random.below(6);
  const std::uint64_t info_percent = random.below(80);
  for (std::size_t i = 0; i < size; ++i) history.push_back(any_operation(random, i, info_percent));
  for (Operation& operation : history) {
    if (operation.function != Function::get || operation.outcome != Outcome::ok) continue;
    const Operation& other = history[random.below(size)];
    if (other.function == Function::put) {
      operation.read = other.value;
      if (other.ts != 0 && random.percent(80)) operation.ts = other.ts;
    } else {
      operation.ts = 0;
    }
  }
  return history;
}

struct Verdicts {
  std::size_t good = 0, bad = 0;

  void compare(const History& history) {
    const bool right = NaiveSearch(history).linearizable();
    ++(right ? good : bad);
    const KeySearch::Result expected =
        right ? KeySearch::Result::linearizable : KeySearch::Result::not_linearizable;
    if (search(history) != expected) FAIL(spelled(history) << "is " << (right ? "" : "not ") << "linearizable");
  }
};

}  // namespace

TEST_CASE("checkers: the search agrees with trying everything, on histories with a mistake or none") {
  Random random(1);
  Verdicts verdicts;
  for (int i = 0; i < 30'000; ++i) {
    History history = generate(random, tiny(random));
    for (std::uint64_t changes = random.below(9); changes > 0; --changes) spoil(history, random);
    verdicts.compare(history);
  }
  CHECK(verdicts.good > 10'000);
  CHECK(verdicts.bad > 4'000);
}

TEST_CASE("checkers: the search agrees with trying everything, on histories of nothing that makes sense") {
  Random random(2);
  Verdicts verdicts;
  for (int i = 0; i < 30'000; ++i) verdicts.compare(any_history(random));
  CHECK(verdicts.good > 1'000);
  CHECK(verdicts.bad > 8'000);
}

TEST_CASE("checkers: what a right store could have done is accepted") {
  Random random(3);
  for (int i = 0; i < 3'000; ++i) {
    Shape shape;
    shape.operations = 1 + random.below(150);
    shape.keys = 1 + random.below(4);
    shape.sessions = 1 + random.below(5);
    shape.overlap = 1 + random.below(12);
    shape.info_percent = random.below(40);
    shape.delete_percent = random.below(60);
    shape.condition_percent = random.below(90);
    shape.gap_percent = random.below(50);
    const History history = generate(random, shape);
    const std::vector<Violation> violations = check(history);
    if (!violations.empty()) FAIL(spelled(violations) << "in\n" << spelled(history));
  }
}

TEST_CASE("checkers: a normal history takes about a step of the search an operation") {
  Random random(4);
  Shape shape;
  shape.operations = 3'000;
  shape.keys = 8;
  shape.sessions = 10;
  shape.overlap = 10;
  const History history = generate(random, shape);
  const Facts facts(history);
  std::uint64_t steps = 0;
  for (const KeyFacts& key : facts.keys()) {
    KeySearch key_search(facts, key);
    CHECK(key_search.run(10'000) == KeySearch::Result::linearizable);
    steps += key_search.steps();
  }
  CHECK(steps < history.size());
}

TEST_CASE("checkers: equal histories give equal answers, in the same order") {
  Random random(6);
  std::size_t bad = 0;
  for (int i = 0; i < 200; ++i) {
    Shape shape;
    shape.keys = 3;
    History history = generate(random, shape);
    for (int k = 0; k < 10; ++k) spoil(history, random);
    const std::vector<Violation> violations = check(history);
    CHECK(spelled(violations) == spelled(check(history)));
    const auto by_rule = [](const Violation& a, const Violation& b) { return a.rule < b.rule; };
    CHECK(std::is_sorted(violations.begin(), violations.end(), by_rule));
    bad += !violations.empty();
  }
  CHECK(bad > 150);
}
