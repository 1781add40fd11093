// What all parts of one run share: time, randomness, the story that is told of it, and what was exercised. A
// run is a function of its seed: nothing else may influence it.
#pragma once

#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <string>

#include "tests/sim/coverage.hpp"
#include "tests/sim/plan.hpp"
#include "tests/sim/random.hpp"
#include "tests/sim/scheduler.hpp"

namespace kv::sim {

// A rule was broken: the run ends here.
class Violation : public std::runtime_error {
 public:
  Violation(Rule rule, const std::string& what) : std::runtime_error(std::string(name_of(rule)) + ": " + what) {}
};

// What happened, as a number: two runs are the same if their hashes are.
class TraceHash {
 public:
  void mix(std::uint64_t value) {
    hash_ = (hash_ ^ value) * 0x9fb21c651e98df25;
    hash_ ^= hash_ >> 29;
  }
  std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0x6b76736d;
};

struct World {
  World(Plan the_plan, std::FILE* story) : plan(std::move(the_plan)), random(plan.seed), story_(story) {}

  Plan plan;
  Random random;
  Scheduler scheduler;
  Coverage coverage;
  TraceHash hash;

  Time now() const { return scheduler.now(); }
  // Whether anyone listens: text is made only then.
  bool tells() const { return story_ != nullptr; }
  void tell(const std::string& who, const std::string& what) const {
    if (!tells()) return;
    std::fprintf(story_, "%4llu.%06llu  %-10s %s\n", static_cast<unsigned long long>(now() / second),
                 static_cast<unsigned long long>(now() % second), who.c_str(), what.c_str());
  }

  // Counts the check, and ends the run if it does not hold. `what` is called only then.
  template <class What>
  void check(Rule rule, bool holds, const What& what) {
    coverage.note(rule);
    if (!holds) throw Violation(rule, what());
  }

 private:
  std::FILE* story_;
};

}  // namespace kv::sim
