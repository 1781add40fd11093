// kvsim: clusters in one thread on a simulated network, disk and clock (docs/testing.md, The simulator).
#include <CLI/CLI.hpp>
#include <cerrno>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <cstring>
#include <random>
#include <thread>

#include "tests/sim/run.hpp"

namespace kv::sim {
namespace {

struct Options {
  RunOptions run;
  bool hash = false;
  bool coverage = false;
  std::string history;
  std::string program = "kvsim";
  std::uint64_t nodes = 0;
  std::uint64_t seconds = 0;
};

std::string replay(const Options& options, std::uint64_t seed) {
  std::string command = options.program + " --runs 1 --seed " + std::to_string(seed);
  if (options.run.plan.nodes) command += " --nodes " + std::to_string(*options.run.plan.nodes);
  if (options.run.plan.seconds) command += " --seconds " + std::to_string(*options.run.plan.seconds);
  return command + " --trace";
}

void print_count(std::uint64_t count, std::string_view name) {
  std::printf("  %12" PRIu64 "  %s%s\n", count, std::string(name).c_str(), count == 0 ? "  NEVER" : "");
}

void print_coverage(const Coverage& coverage) {
  std::printf("checked:\n");
  for (std::size_t i = 0; i < rules; ++i) print_count(coverage.checked[i], name_of(static_cast<Rule>(i)));
  std::printf("happened:\n");
  for (std::size_t i = 0; i < faults; ++i) print_count(coverage.happened[i], name_of(static_cast<Fault>(i)));
}

struct Totals {
  std::uint64_t runs = 0;
  std::uint64_t simulated_us = 0;
  std::uint64_t operations = 0;
  std::uint64_t violations = 0;
  std::uint64_t hash = 0;
  std::uint64_t undecided = 0;
  Coverage coverage;

  void add(const RunResult& result) {
    ++runs;
    simulated_us += result.simulated_us;
    operations += result.operations;
    undecided += result.undecided ? 1 : 0;
    violations += result.violation.empty() ? 0 : 1;
    hash ^= result.hash * (2 * result.seed + 1);  // whatever the order in which they end
    coverage.add(result.coverage);
  }
};

int run(const Options& options) {
  Totals totals;
  const auto begin = std::chrono::steady_clock::now();
  const auto report = [&](const RunResult& result) {
    totals.add(result);
    if (result.violation.empty()) return;
    std::printf("VIOLATION with seed %" PRIu64 " after %.6f s: %s\n  replay: %s\n", result.seed,
                static_cast<double>(result.simulated_us) / second, result.violation.c_str(),
                replay(options, result.seed).c_str());
    std::fflush(stdout);
  };
  if (!options.history.empty()) {
    std::FILE* history = std::fopen(options.history.c_str(), "w");
    if (!history) {
      std::fprintf(stderr, "kvsim: cannot write %s: %s\n", options.history.c_str(), std::strerror(errno));
      return 2;
    }
    report(run_seed(options.run.first_seed, options.run.plan, options.run.story, history));
    std::fclose(history);
  } else {
    run_all(options.run, report);
  }
  const double real = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  const double simulated = static_cast<double>(totals.simulated_us) / second;
  if (options.coverage) print_coverage(totals.coverage);
  if (options.hash) std::printf("hash %016" PRIx64 "\n", totals.hash);
  if (totals.undecided > 0) std::printf("histories that were too hard to judge: %" PRIu64 "\n", totals.undecided);
  std::printf("seeds from %" PRIu64 ", %.1f real seconds, %.0f simulated seconds per real second\n",
              options.run.first_seed, real, simulated / real);
  std::printf("runs %" PRIu64 ", simulated seconds %.0f, operations %" PRIu64 ", faults %" PRIu64
              ", violations %" PRIu64 "\n",
              totals.runs, simulated, totals.operations, totals.coverage.all_faults(), totals.violations);
  return totals.violations == 0 ? 0 : 1;
}

std::uint64_t fresh_seed() {
  std::random_device random;
  // Short enough to be typed.
  return std::uint64_t{random()} % 1'000'000'000 * 1000;
}

}  // namespace
}  // namespace kv::sim

int main(int argc, char** argv) {
  using namespace kv::sim;
  Options options;
  bool trace = false;
  options.program = argv[0];
  options.run.jobs = std::max(1u, std::thread::hardware_concurrency());
  options.run.first_seed = fresh_seed();
  CLI::App app{"Simulates whole clusters: real servers, simulated network, disks and clocks; one run per seed."};
  app.option_defaults()->always_capture_default(false);
  app.add_option("--runs", options.run.runs, "how many seeds, one after the other")
      ->check(CLI::Range(1, 1'000'000'000));
  app.add_option("--seed", options.run.first_seed, "the first; without it a fresh one, which is printed");
  auto* nodes = app.add_option("--nodes", options.nodes, "servers in each cluster; without it 1, 3 or 5")
                    ->check(CLI::IsMember({1, 3, 5, 7}));
  auto* seconds = app.add_option("--seconds", options.seconds, "how long everything fails; without it 10 to 50")
                      ->check(CLI::Range(0, 100'000));
  app.add_option("--jobs", options.run.jobs, "processes; without it one per core")->check(CLI::Range(1, 256));
  app.add_flag("--hash", options.hash, "print a number that is the same when everything happened the same");
  app.add_flag("--trace", trace, "tell the story of each run: who sent what to whom, what was durable");
  app.add_option(
      "--history", options.history,
      "of one run: write what the clients saw to this file, for kvcheck (one run, whatever --runs says)");
  app.add_flag("--coverage", options.coverage, "how often each rule was checked and each fault happened");
  app.add_flag("--stop-at-first", options.run.stop_at_first, "end with the first violation");
  CLI11_PARSE(app, argc, argv);
  if (*nodes) options.run.plan.nodes = options.nodes;
  if (*seconds) options.run.plan.seconds = options.seconds;
  if (trace) {
    std::setvbuf(stdout, nullptr, _IOLBF, 0);  // an abort must not swallow the end of the story
    options.run.story = stdout;
    options.run.jobs = 1;
  }
  return run(options);
}
