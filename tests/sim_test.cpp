// The simulator's own parts: its randomness, its time, its model of the store, and that a seed is a run.
#include <catch2/catch.hpp>

#include "tests/sim/model.hpp"
#include "tests/sim/random.hpp"
#include "tests/sim/run.hpp"
#include "tests/sim/scheduler.hpp"

using namespace kv;
using namespace kv::sim;

TEST_CASE("sim: the generator gives the numbers that it always gave", "[sim]") {
  // xoshiro256** seeded by splitmix64 from 1; another implementation gives the same.
  Random random(1);
  CHECK(random.next() == 12966619160104079557u);
  CHECK(random.next() == 9600361134598540522u);
  Random bounded(7);
  for (int i = 0; i < 1000; ++i) {
    CHECK(bounded.below(3) < 3);
    const std::uint64_t drawn = bounded.between(5, 7);
    CHECK((drawn >= 5 && drawn <= 7));
    CHECK(bounded.skewed(100) <= 6400);
  }
}

TEST_CASE("sim: events happen by time, and at one time in the order they were planned", "[sim]") {
  Scheduler scheduler;
  std::string order;
  scheduler.at(20, [&] { order += "c"; });
  scheduler.at(10, [&] {
    order += "a";
    scheduler.after(10, [&] { order += "d"; });
    scheduler.at(3, [&] { order += "b"; });  // not in the past
  });
  while (scheduler.step(15)) {
  }
  CHECK(order == "ab");
  CHECK(scheduler.now() == 15);
  while (scheduler.step(100)) {
  }
  CHECK(order == "abcd");
  CHECK(scheduler.now() == 100);
}

TEST_CASE("sim: the model keeps every version, and counts a repeated write once", "[sim]") {
  Model model(2);
  const auto put = [&](std::uint64_t position, std::string_view value, std::optional<command::Session> session,
                       std::optional<std::uint64_t> if_ts = {}) {
    const command::Command command = command::Put{"k", value, if_ts, session};
    model.apply(position, &command);
  };
  const auto at = [&](std::uint64_t position) {
    const Model::Version* version = model.at("k", position);
    return !version ? "never" : version->value.value_or("absent") + "@" + std::to_string(version->position);
  };
  put(1, "a", {});
  put(2, "b", command::Session{"s", 1, 0});
  put(3, "c", {});
  put(4, "b", command::Session{"s", 1, 0});  // again
  put(5, "d", {}, 2);                        // the key's ts is 3
  const command::Command del = command::Delete{"k", {}, {}};
  model.apply(6, &del);
  model.apply(7, &del);
  CHECK(at(0) == "never");
  CHECK(at(1) == "a@1");
  CHECK(at(2) == "b@2");
  CHECK(at(5) == "c@3");
  CHECK(at(7) == "absent@6");
  CHECK_FALSE(model.effect(4));
  CHECK_FALSE(model.effect(5));
  CHECK(model.effect(6)->found);
  CHECK_FALSE(model.effect(7)->found);
}

TEST_CASE("sim: a session beyond those that are kept makes the idlest forgotten", "[sim]") {
  Model model(1);
  const auto put = [&](std::uint64_t position, const std::string& session, std::uint64_t from) {
    const command::Command command = command::Put{"k", "v", {}, command::Session{session, 1, from}};
    model.apply(position, &command);
    return model.effect(position) != nullptr;
  };
  CHECK(put(1, "a", 0));
  CHECK(put(2, "b", 0));        // a is forgotten, which was used last at 1
  CHECK_FALSE(put(3, "a", 0));  // it might be a repetition
  CHECK(put(4, "a", 1));        // it began after what was forgotten
}

TEST_CASE("sim: a seed is a run", "[sim]") {
  PlanOptions options;
  options.seconds = 5;
  const RunResult first = run_seed(4711, options, nullptr);
  const RunResult again = run_seed(4711, options, nullptr);
  const RunResult other = run_seed(4712, options, nullptr);
  CHECK(first.violation.empty());
  CHECK(first.hash == again.hash);
  CHECK(first.simulated_us == again.simulated_us);
  CHECK(first.coverage.checked == again.coverage.checked);
  CHECK(first.coverage.happened == again.coverage.happened);
  CHECK(first.hash != other.hash);
}

TEST_CASE("sim: every seed is reported once, whichever process ran it", "[sim]") {
  RunOptions options;
  options.first_seed = 100;
  options.runs = 6;
  options.jobs = 2;
  options.plan.seconds = 1;
  std::map<std::uint64_t, std::string> violations;
  run_all(options, [&](const RunResult& result) { violations[result.seed] = result.violation; });
  CHECK(violations.size() == 6);
  for (const auto& [seed, violation] : violations) CHECK(violation.empty());
}
