// bench and its many settings.
#include <algorithm>
#include <iterator>

#include "client/grammar.hpp"
#include "common/text.hpp"

namespace kv::client {
namespace {

template <class Value>
struct Named {
  const char* name;
  Value value;
};

constexpr Named<BenchWork> works[] = {
    {"put", BenchWork::put}, {"get", BenchWork::get}, {"mixed", BenchWork::mixed}, {"follow", BenchWork::follow}};
constexpr Named<Distribution> distributions[] = {{"uniform", Distribution::uniform}, {"zipf", Distribution::zipf}};
constexpr Named<BenchTarget> targets[] = {
    {"all", BenchTarget::all}, {"leader", BenchTarget::leader}, {"followers", BenchTarget::followers}};

template <class Value, std::size_t Count>
std::vector<std::string> names_of(const Named<Value> (&choices)[Count]) {
  std::vector<std::string> names;
  for (const Named<Value>& choice : choices) names.emplace_back(choice.name);
  return names;
}

template <class Value, std::size_t Count>
Value choose(const std::string& what, const std::string& word, const Named<Value> (&choices)[Count]) {
  std::string names;
  for (const Named<Value>& choice : choices) {
    if (word == choice.name) return choice.value;
    names += (names.empty() ? "" : ", ") + std::string(choice.name);
  }
  bad_usage(what + ": " + in_quotes(word) + " is none of " + names);
}

std::uint64_t number_in(const CLI::Option* option, std::uint64_t from, std::uint64_t to, std::uint64_t otherwise) {
  if (!is_set(option)) return otherwise;
  const std::optional<std::uint64_t> number = parse_number(last_of(option));
  if (number && *number >= from && *number <= to) return *number;
  bad_usage("bench: " + option->get_name() + ": " + in_quotes(last_of(option)) + " is no whole number from " +
            std::to_string(from) + " to " + std::to_string(to));
}

std::chrono::milliseconds duration_in(const CLI::Option* option, std::chrono::milliseconds least,
                                      std::chrono::milliseconds otherwise) {
  if (!is_set(option)) return otherwise;
  const auto duration = parse_duration(last_of(option));
  if (duration && *duration >= least && *duration <= std::chrono::hours(24)) return *duration;
  bad_usage("bench: " + option->get_name() + ": " + in_quotes(last_of(option)) + " is no duration from " +
                std::to_string(least.count()) + "ms to 24h",
            "Write 100ms, 5s or 2m");
}

std::uint64_t value_size(const CLI::Option* option, std::uint64_t otherwise) {
  if (!is_set(option)) return otherwise;
  const std::optional<std::uint64_t> size = parse_size(last_of(option));
  if (size && *size <= max_value_bytes) return *size;
  bad_usage("bench: --value-size: " + in_quotes(last_of(option)) + " is no size up to 1MiB",
            "Write 100, 4KiB or 1MiB");
}

constexpr std::uint64_t most_connections = 100'000;
constexpr std::uint64_t most_pipelined = 1000;  // what a server takes from a connection before it answers
constexpr std::uint64_t most_exactly_once = 256;
constexpr std::uint64_t most_keys = 1'000'000'000;
constexpr std::uint64_t most_requests = 1'000'000'000'000;

}  // namespace

void Grammar::add_bench() {
  CLI::App* bench = add_command("bench", "Measure how many requests a second are answered, and how soon", {});
  CLI::Option* work =
      add_value(*bench, "WORK", "put, get, mixed, or follow: reads elsewhere of what was just put", "");
  CLI::Option* connections = add_value(*bench, "-c,--connections", "Each to the next server in turn [64]", "N");
  CLI::Option* pipeline = add_value(*bench, "-p,--pipeline", "Requests under way on each connection [1]", "N");
  CLI::Option* duration = add_value(*bench, "-d,--duration", "How long to measure [10s]", "DURATION");
  CLI::Option* count = add_value(*bench, "-n,--count", "So many requests instead of a duration", "N");
  CLI::Option* warm_up = add_value(*bench, "--warm-up", "What is asked in it does not count [1s]", "DURATION");
  CLI::Option* rate =
      add_value(*bench, "--rate", "Requests due a second, late ones too; else as many as possible", "N");
  CLI::Option* target = add_value(*bench, "--target", "Servers to ask: all, leader or followers [all]", "NAME");
  CLI::Option* keys = add_value(*bench, "-k,--keys", "How many different ones [10000]", "N");
  CLI::Option* distribution = add_value(*bench, "--distribution", "Of keys: uniform or zipf [uniform]", "NAME");
  CLI::Option* prefix = add_value(*bench, "--prefix", "Of the keys [bench/]", "TEXT");
  CLI::Option* size = add_value(*bench, "--value-size", "Of each value [100B]", "SIZE");
  CLI::Option* reads = add_value(*bench, "--reads", "mixed: so many of a hundred are reads [90]", "N");
  CLI::Option* once =
      add_switch(*bench, "--exactly-once", "Writes in sessions, as kvctl's other commands send them");
  CLI::Option* no_fill = add_switch(*bench, "--no-fill", "Do not write all keys before reading them");
  bench->footer(
      "For example: bench put, bench get -c 64 -p 16 --consistency linearizable, bench mixed --rate 5000 -d 1m\n"
      "It writes the keys bench/0000000000 and so on, and leaves them there. Times are from when a request was due "
      "to "
      "its answer.");
  offer(work, names_of(works));
  offer(target, names_of(targets));
  offer(distribution, names_of(distributions));
  makers_[bench] = [=, this] {
    BenchCommand command;
    command.work = choose("bench", positional(*bench, work, "WORK (put, get, mixed or follow)"), works);
    command.connections = number_in(connections, 1, most_connections, command.connections);
    command.pipeline = number_in(pipeline, 1, most_pipelined, command.pipeline);
    command.duration = duration_in(duration, std::chrono::milliseconds(1), command.duration);
    command.count = number_in(count, 1, most_requests, command.count);
    command.warm_up = duration_in(warm_up, std::chrono::milliseconds(0), command.warm_up);
    command.rate = number_in(rate, 1, most_requests, command.rate);
    if (is_set(target)) command.target = choose("bench: --target", last_of(target), targets);
    command.keys = number_in(keys, 1, most_keys, command.keys);
    if (is_set(distribution)) {
      command.distribution = choose("bench: --distribution", last_of(distribution), distributions);
    }
    if (is_set(prefix)) command.prefix = text_of("bench: --prefix", prefix);
    command.value_bytes = value_size(size, command.value_bytes);
    command.reads = number_in(reads, 0, 100, command.reads);
    command.exactly_once = switch_value(once, false);
    command.fill = !switch_value(no_fill, false);
    refuse_contradictions(command, is_set(duration), is_set(reads));
    return command;
  };
}

void Grammar::refuse_contradictions(const BenchCommand& command, bool has_duration, bool has_reads) const {
  if (command.count > 0 && has_duration) bad_usage("bench: --count and --duration contradict each other");
  if (has_reads && command.work != BenchWork::mixed) bad_usage("bench: --reads is for mixed");
  if (command.work == BenchWork::follow && (command.rate > 0 || command.pipeline > 1 || command.exactly_once)) {
    bad_usage("bench: follow is one request after the other: without --rate, --pipeline and --exactly-once");
  }
  if (command.exactly_once && command.pipeline > most_exactly_once) {
    bad_usage("bench: --exactly-once: a session has at most 256 writes under way: --pipeline 256 or less");
  }
  if (command.rate > 0 && command.rate < command.connections) {
    bad_usage("bench: --rate " + std::to_string(command.rate) + " is less than one request a second on each of " +
                  std::to_string(command.connections) + " connections",
              "Take fewer --connections");
  }
}

}  // namespace kv::client
