#include "client/bench_report.hpp"

#include <cstdio>
#include <vector>

#include "common/table.hpp"
#include "common/text.hpp"

namespace kv::client {
namespace {

struct Percentile {
  const char* heading;  // of a table
  const char* name;     // in JSON
  double part;
};
constexpr Percentile percentiles[] = {
    {"P50", "p50", 0.5}, {"P90", "p90", 0.9}, {"P99", "p99", 0.99}, {"P99.9", "p999", 0.999}};

const char* name_of(BenchWork work) {
  switch (work) {
    case BenchWork::put:
      return "put";
    case BenchWork::get:
      return "get";
    case BenchWork::mixed:
      return "mixed";
    case BenchWork::follow:
      return "follow";
  }
  return "";
}

const char* name_of(BenchTarget target) {
  switch (target) {
    case BenchTarget::all:
      return "all";
    case BenchTarget::leader:
      return "leader";
    case BenchTarget::followers:
      return "followers";
  }
  return "";
}

std::string fixed(double number, int digits) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", digits, number);
  return text;
}

// Three digits that count: "87us", "1.62ms", "2.1s".
std::string shown(Histogram::Duration duration) {
  const auto us = static_cast<double>(duration.count()) / 1e3;
  if (us < 100) return fixed(us, 1) + "us";
  if (us < 1000) return fixed(us, 0) + "us";
  if (us < 100'000) return fixed(us / 1e3, 2) + "ms";
  if (us < 1e6) return fixed(us / 1e3, 0) + "ms";
  return fixed(us / 1e6, 2) + "s";
}

std::string rate_of(std::uint64_t count, double seconds, int digits) {
  return fixed(seconds > 0 ? static_cast<double>(count) / seconds : 0, digits);
}

std::string counted(std::uint64_t number, const char* one, const char* many) {
  return std::to_string(number) + " " + (number == 1 ? one : many);
}

// What is done, in words.
std::string summary(const BenchPlan& plan, double seconds) {
  const BenchCommand& command = plan.command;
  std::string text = name_of(command.work);
  text += ": " + counted(command.connections, "connection", "connections");
  if (command.work == BenchWork::follow) {
    text += " to the leader and one each to another server";
  } else {
    text += " to " + counted(plan.servers.size(), "server", "servers");
    if (command.target != BenchTarget::all) text += " (" + std::string(name_of(command.target)) + ")";
    text += ", " + counted(command.pipeline, "request", "requests") + " at a time on each";
  }
  if (command.rate > 0) text += ", " + std::to_string(command.rate) + " due a second";
  text += "; " + counted(command.keys, "key", "keys");
  text += command.distribution == Distribution::uniform ? " (uniform)" : " (zipf)";
  text += ", values of " + std::to_string(command.value_bytes) + " bytes";
  if (command.work != BenchWork::put) text += ", " + std::string(message::name_of(plan.consistency)) + " reads";
  return text + "; " + fixed(seconds, 1) + " s\n";
}

std::string others_line(const BenchTally& tally) {
  std::string text;
  for (const auto& [what, count] : tally.others()) {
    text += (text.empty() ? "not right: " : ", ") + what + " " + std::to_string(count);
  }
  if (text.empty()) text = "all answers were right";
  if (tally.total_waited() > 0)
    text += "; before " + std::to_string(tally.total_waited()) + " came WAIT_FOR_RESPONSE";
  return text + "\n";
}

std::string table_of(const BenchTally& tally, double seconds, bool frame) {
  std::vector<std::string> headings{"REQUEST", "RIGHT", "PER SECOND"};
  for (const Percentile& percentile : percentiles) headings.emplace_back(percentile.heading);
  headings.emplace_back("MAX");
  Table table(headings);
  for (std::size_t column = 1; column < headings.size(); ++column) table.align_right(column);
  for (const BenchSeries& series : tally.series()) {
    if (series.latency.count() == 0 && series.right == 0) continue;
    std::vector<std::string> row{series.name, std::to_string(series.right), rate_of(series.right, seconds, 0)};
    for (const Percentile& percentile : percentiles)
      row.push_back(shown(series.latency.percentile(percentile.part)));
    row.push_back(shown(series.latency.max()));
    table.add(std::move(row));
  }
  return table.text(frame);
}

// Times in microseconds.
std::string json_of(const BenchSeries& series, double seconds) {
  const auto us = [](Histogram::Duration duration) {
    return fixed(static_cast<double>(duration.count()) / 1e3, 1);
  };
  JsonLine line;
  line.add("request", series.name).add("right", series.right);
  line.add_json("per_second", rate_of(series.right, seconds, 1));
  for (const Percentile& percentile : percentiles) {
    line.add_json(percentile.name, us(series.latency.percentile(percentile.part)));
  }
  line.add_json("max", us(series.latency.max())).add_json("mean", us(series.latency.mean()));
  return line.text();
}

std::string json_report(const BenchPlan& plan, double seconds) {
  const BenchCommand& command = plan.command;
  JsonLine line;
  line.add("work", name_of(command.work)).add("consistency", message::name_of(plan.consistency));
  line.add("connections", command.connections).add("pipeline", command.pipeline);
  line.add("target", name_of(command.target)).add("servers", std::uint64_t{plan.servers.size()});
  line.add("keys", command.keys);
  line.add("distribution", command.distribution == Distribution::uniform ? "uniform" : "zipf");
  line.add("value_bytes", command.value_bytes).add("reads", command.reads).add("rate", command.rate);
  line.add("exactly_once", command.exactly_once);
  line.add_json("seconds", fixed(seconds, 3));
  line.add("right", plan.tally.total_right());
  line.add_json("per_second", rate_of(plan.tally.total_right(), seconds, 1));
  JsonLine others;
  for (const auto& [what, count] : plan.tally.others()) others.add(what, count);
  line.add_json("others", others.text()).add("waited", plan.tally.total_waited());
  std::string series;
  for (const BenchSeries& one : plan.tally.series()) {
    if (one.latency.count() > 0) series += (series.empty() ? "" : ",") + json_of(one, seconds);
  }
  return line.add_json("series", "[" + series + "]").text() + "\n";
}

}  // namespace

std::string bench_progress(const BenchPlan& plan, Clock::time_point now) {
  const double seconds = plan.tally.seconds(now);
  std::string text = std::string(name_of(plan.command.work)) + ": " + fixed(seconds, 1) + " s";
  if (plan.command.count == 0) text += " of " + format_duration(plan.command.duration);
  text += "  " + rate_of(plan.tally.total_right(), seconds, 0) + "/s";
  for (const BenchSeries& series : plan.tally.series()) {
    if (series.right > 0) text += "  " + series.name + " p99 " + shown(series.latency.percentile(0.99));
  }
  return text;
}

std::string bench_report(const BenchPlan& plan, Format format, bool is_terminal) {
  const double seconds = plan.tally.seconds(plan.tally.ended());
  if (format == Format::json) return json_report(plan, seconds);
  const bool frame = format == Format::table && is_terminal;
  return summary(plan, seconds) + table_of(plan.tally, seconds, frame) + others_line(plan.tally);
}

}  // namespace kv::client
