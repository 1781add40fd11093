// How a load is told: while it goes on, and what came of it.
#pragma once

#include <string>

#include "client/bench_plan.hpp"
#include "client/options.hpp"

namespace kv::client {

// "put: 3.2 s of 10 s, 38211/s, p99 4.1ms"
std::string bench_progress(const BenchPlan& plan, Clock::time_point now);
// For Format::json one object on one line; else a line of what was done, a table
// and what there was besides right answers.
std::string bench_report(const BenchPlan& plan, Format format, bool is_terminal);

}  // namespace kv::client
