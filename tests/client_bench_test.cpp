// kvctl bench: the histogram, what is asked, what counts, and how it is told. Real servers:
// tests/e2e/test_bench.py.
#include <algorithm>
#include <asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <chrono>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "client/bench_plan.hpp"
#include "client/bench_report.hpp"
#include "client/histogram.hpp"
#include "client/workload.hpp"

using namespace kv;
using namespace kv::client;
using namespace std::chrono_literals;

TEST_CASE("bench: a histogram's percentiles are within a hundredth of the real ones") {
  std::mt19937_64 random(7);
  Histogram histogram;
  std::vector<std::int64_t> samples;
  for (int i = 0; i < 20'000; ++i) {
    const auto sample = static_cast<std::int64_t>(random() >> (random() % 40 + 24));  // of very different sizes
    samples.push_back(sample);
    histogram.record(std::chrono::nanoseconds(sample));
  }
  std::sort(samples.begin(), samples.end());
  CHECK(histogram.count() == samples.size());
  CHECK(histogram.max().count() == samples.back());
  for (const double part : {0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const auto rank = static_cast<std::size_t>(part * static_cast<double>(samples.size()) + 0.5) - 1;
    const auto real = static_cast<double>(samples[rank]);
    const auto told = static_cast<double>(histogram.percentile(part).count());
    INFO(part << " is " << real << ", told " << told);
    CHECK(told >= real);
    CHECK(told <= real * 1.01 + 1);
  }
}

TEST_CASE("bench: a histogram of nothing, of one and of what is out of range") {
  Histogram histogram;
  CHECK(histogram.percentile(0.5) == 0ns);
  CHECK(histogram.mean() == 0ns);
  histogram.record(-5ns);
  CHECK(histogram.percentile(1) == 0ns);
  histogram.record(1000h);
  CHECK(histogram.max() == 1h);
  CHECK(histogram.percentile(1) == 1h);
  CHECK(histogram.mean() == 30min);
}

TEST_CASE("bench: keys are all there are, with names of one length") {
  Keys keys("bench/", 100, Distribution::uniform, 1);
  std::set<std::uint64_t> seen;
  for (int i = 0; i < 2000; ++i) seen.insert(keys.next());
  CHECK(seen.size() == 100);
  CHECK(*seen.rbegin() == 99);
  std::string name;
  keys.write_name(42, name);
  CHECK(name == "bench/0000000042");
  Keys same("bench/", 100, Distribution::uniform, 1);
  Keys other("bench/", 100, Distribution::uniform, 1);
  for (int i = 0; i < 50; ++i) CHECK(same.next() == other.next());
}

TEST_CASE("bench: zipf favours a few keys, which lie anywhere among them") {
  Keys keys("", 10'000, Distribution::zipf, 1);
  std::map<std::uint64_t, int> counts;
  for (int i = 0; i < 100'000; ++i) ++counts[keys.next()];
  CHECK(counts.rbegin()->first < 10'000);
  std::vector<std::pair<int, std::uint64_t>> ranking;
  for (const auto& [key, count] : counts) ranking.emplace_back(count, key);
  std::sort(ranking.rbegin(), ranking.rend());
  CHECK(ranking[0].first > 14'000);
  CHECK(ranking[0].first < 16'500);
  CHECK(ranking[1].first < ranking[0].first / 2 + 500);
  const auto [low, high] = std::minmax({ranking[1].second, ranking[2].second, ranking[3].second});
  CHECK(high - low > 100);
  CHECK(Keys("", 1, Distribution::zipf, 1).next() == 0);
}

TEST_CASE("bench: a value tells its key, and differs from write to write") {
  for (const std::size_t size : {0, 1, 3, 5, 6, 100, 5000}) {
    Values values(size);
    std::string first, second;
    values.write(12345, first);
    values.write(12345, second);
    CHECK(first.size() == size);
    CHECK(values.belongs_to(12345, first));
    CHECK_FALSE(values.belongs_to(12345, first + "x"));
    if (size > 5) CHECK_FALSE(values.belongs_to(1234, first));
    if (size > 6) CHECK(first != second);
    if (size > 0) CHECK_FALSE(values.belongs_to(54321, first));
  }
}

TEST_CASE("bench: only what falls into the measured time counts") {
  BenchTally tally({"put", "get"});
  const Clock::time_point start = Clock::now();
  tally.right(0, start, start + 1ms);
  tally.other("TIMEOUT", start);
  tally.begin(start + 1s);
  tally.right(0, start + 999ms, start + 1001ms);  // came within it
  tally.right(1, start + 1500ms, start + 1501ms);
  tally.other("TIMEOUT", start + 1500ms, 3);
  tally.end(start + 2s);
  tally.right(1, start + 1999ms, start + 3s);  // was due within it
  tally.other("TIMEOUT", start + 2s);
  CHECK(tally.series()[0].right == 1);
  CHECK(tally.series()[1].right == 1);
  CHECK(tally.series()[0].latency.count() == 1);
  CHECK(tally.series()[1].latency.count() == 2);
  CHECK(tally.series()[1].latency.max() == 1001ms);
  CHECK(tally.total_right() == 2);
  CHECK(tally.others().at("TIMEOUT") == 3);
  CHECK(tally.seconds(start + 1h) == Approx(1.0));
}

namespace {

struct Planned {
  asio::io_context io;
  BenchPlan plan;
  explicit Planned(const BenchCommand& command)
      : plan(command, message::Consistency::session,
             std::make_shared<Call>(io.get_executor(), Clock::time_point::max())) {}
};

}  // namespace

TEST_CASE("bench: so many are asked as were wanted, and warming up is not counted") {
  BenchCommand command;
  command.count = 5;
  Planned planned(command);
  BenchPlan& plan = planned.plan;
  for (int i = 0; i < 10; ++i) CHECK(plan.next(Clock::now()));
  plan.tally.begin(Clock::now());
  for (int i = 0; i < 5; ++i) CHECK(plan.next(Clock::now()));
  CHECK(plan.has_asked_all());
  CHECK_FALSE(plan.next(Clock::now()));
}

TEST_CASE("bench: of a mixture so many are reads as were wanted") {
  BenchCommand command;
  command.work = BenchWork::mixed;
  command.reads = 75;
  Planned planned(command);
  int reads = 0;
  for (int i = 0; i < 10'000; ++i) reads += planned.plan.next(Clock::now())->is_put ? 0 : 1;
  CHECK(reads > 7300);
  CHECK(reads < 7700);
  planned.plan.finish(Clock::now());
  CHECK_FALSE(planned.plan.next(Clock::now()));
}

TEST_CASE("bench: what has been seen of a key does not go back") {
  Planned planned(BenchCommand{});
  planned.plan.learn(7, 20);
  planned.plan.learn(7, 10);
  CHECK(planned.plan.version_of(7) == 20);
  CHECK(planned.plan.version_of(8) == 0);
}

TEST_CASE("bench: the report has rates, percentiles and what was not right") {
  BenchCommand command;
  command.work = BenchWork::get;
  Planned planned(command);
  BenchTally& tally = planned.plan.tally;
  const Clock::time_point start = Clock::now();
  tally.begin(start);
  for (int i = 0; i < 90; ++i) tally.right(BenchPlan::gets, start, start + 50us);
  for (int i = 0; i < 10; ++i) tally.right(BenchPlan::gets, start, start + 20ms);
  tally.other("OVERLOADED", start, 3);
  tally.end(start + 2s);
  const std::string text = bench_report(planned.plan, Format::simple, true);
  CHECK_THAT(text, Catch::Contains("values of 100 bytes, session reads; 2.0 s\n"));
  CHECK_THAT(text, Catch::Contains("get        100          50  50.2us  50.2us  20.00ms"));
  CHECK_THAT(text, Catch::Contains("not right: OVERLOADED 3\n"));
  const std::string json = bench_report(planned.plan, Format::json, true);
  CHECK_THAT(json, Catch::Contains("\"per_second\":50.0") && Catch::Contains("\"others\":{\"OVERLOADED\":3}") &&
                       Catch::Contains("\"request\":\"get\",\"right\":100,\"per_second\":50.0,\"p50\":50.2"));
  CHECK(json.find('\n') == json.size() - 1);
}
