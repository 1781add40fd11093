// Runs seeds, several at a time, each in a process of its own: a seed at which the code under test aborts, or
// never ends, is a finding like any other and does not end the others.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>

#include "tests/sim/coverage.hpp"
#include "tests/sim/plan.hpp"

namespace kv::sim {

struct RunOptions {
  std::uint64_t first_seed = 0;
  std::uint64_t runs = 1;
  unsigned jobs = 1;
  unsigned patience_seconds = 120;  // with one seed, of real time
  bool stop_at_first = false;
  std::FILE* story = nullptr;  // where the runs are told; with one job only, or they get mixed up
  PlanOptions plan;
};

// What one seed came to.
struct RunResult {
  std::uint64_t seed = 0;
  std::uint64_t simulated_us = 0;
  std::uint64_t operations = 0;
  std::uint64_t hash = 0;
  bool undecided = false;  // its history was too hard to judge
  Coverage coverage;
  std::string violation;  // empty: none
};

// In this process, to be followed: tells the story to `story`, and writes down to `history` what the clients saw
// (tests/checkers/history_json.hpp); null: not.
RunResult run_seed(std::uint64_t seed, const PlanOptions& options, std::FILE* story, std::FILE* history = nullptr);

// `report` is called for each seed as it ends, in any order.
void run_all(const RunOptions& options, const std::function<void(const RunResult&)>& report);

}  // namespace kv::sim
