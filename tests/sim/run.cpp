#include "tests/sim/run.hpp"

#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "tests/checkers/history_json.hpp"
#include "tests/sim/cluster.hpp"

namespace kv::sim {
namespace {

using Clock = std::chrono::steady_clock;

// What a worker tells, followed by the violation's text.
struct Report {
  std::uint64_t seed;
  std::uint64_t simulated_us;
  std::uint64_t operations;
  std::uint64_t hash;
  std::uint64_t undecided;
  std::uint64_t text_bytes;
  Coverage coverage;
};

// Takes every `jobs`-th seed, one after the other.
struct Worker {
  pid_t process = 0;
  int pipe = -1;
  std::uint64_t next = 0;  // the run it is at
  Clock::time_point since;
};

bool write_all(int pipe, const void* bytes, std::size_t size) {
  const char* at = static_cast<const char*>(bytes);
  while (size > 0) {
    const ssize_t written = ::write(pipe, at, size);
    if (written <= 0) return false;
    at += written;
    size -= static_cast<std::size_t>(written);
  }
  return true;
}

bool read_all(int pipe, void* bytes, std::size_t size) {
  char* at = static_cast<char*>(bytes);
  while (size > 0) {
    const ssize_t got = ::read(pipe, at, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

[[noreturn]] void work(const RunOptions& options, std::uint64_t first, int pipe) {
  for (std::uint64_t run = first; run < options.runs; run += options.jobs) {
    const RunResult result = run_seed(options.first_seed + run, options.plan, options.story);
    Report report{result.seed,      result.simulated_us,     result.operations, result.hash,
                  result.undecided, result.violation.size(), result.coverage};
    if (!write_all(pipe, &report, sizeof report)) break;
    if (!write_all(pipe, result.violation.data(), result.violation.size())) break;
  }
  std::_Exit(0);
}

void start(Worker& worker, const RunOptions& options) {
  int ends[2];
  if (::pipe(ends) != 0) throw std::runtime_error(std::string("cannot make a pipe: ") + std::strerror(errno));
  std::fflush(nullptr);
  worker.since = Clock::now();
  worker.process = ::fork();
  if (worker.process < 0) throw std::runtime_error(std::string("cannot fork: ") + std::strerror(errno));
  if (worker.process == 0) {
    ::close(ends[0]);
    work(options, worker.next, ends[1]);
  }
  ::close(ends[1]);
  worker.pipe = ends[0];
}

void stop(Worker& worker) {
  if (worker.pipe >= 0) ::close(worker.pipe);
  worker.pipe = -1;
  ::kill(worker.process, SIGKILL);
  ::waitpid(worker.process, nullptr, 0);
}

// The seed at which the worker's process died; goes on with the one after it.
RunResult bury(Worker& worker, const RunOptions& options, const std::string& how) {
  stop(worker);
  RunResult result;
  result.seed = options.first_seed + worker.next;
  result.violation = how;
  worker.next += options.jobs;
  if (worker.next < options.runs) start(worker, options);
  return result;
}

std::string cause_of_death(Worker& worker) {
  int status = 0;
  ::waitpid(worker.process, &status, 0);
  if (!WIFSIGNALED(status)) return "the process ended with status " + std::to_string(WEXITSTATUS(status));
  if (WTERMSIG(status) == SIGABRT)
    return "the code under test has aborted: a broken invariant or assertion, see above";
  return std::string("the process died: ") + ::strsignal(WTERMSIG(status));
}

// Reads what a worker has to say; false: it has said all.
bool listen(Worker& worker, const RunOptions& options, const std::function<void(const RunResult&)>& report) {
  Report head;
  if (!read_all(worker.pipe, &head, sizeof head)) {
    if (worker.next >= options.runs) {
      stop(worker);
      return false;
    }
    report(bury(worker, options, cause_of_death(worker)));
    return worker.pipe >= 0;
  }
  RunResult result;
  result.seed = head.seed;
  result.simulated_us = head.simulated_us;
  result.operations = head.operations;
  result.hash = head.hash;
  result.undecided = head.undecided != 0;
  result.coverage = head.coverage;
  result.violation.resize(head.text_bytes);
  read_all(worker.pipe, result.violation.data(), result.violation.size());
  worker.next += options.jobs;
  worker.since = Clock::now();
  report(result);
  return true;
}

}  // namespace

RunResult run_seed(std::uint64_t seed, const PlanOptions& options, std::FILE* story, std::FILE* history) {
  World world(draw_plan(seed, options), story);
  RunResult result;
  result.seed = seed;
  Cluster cluster(world);
  try {
    cluster.run();
  } catch (const Violation& violation) {
    result.violation = violation.what();
    world.tell("VIOLATION", violation.what());
  } catch (const std::exception& error) {
    result.violation = std::string("an exception nobody expects: ") + error.what();
    world.tell("VIOLATION", result.violation);
  }
  result.simulated_us = world.now();
  result.operations = cluster.operations();
  if (history) {
    const std::string lines = history::write(cluster.history());
    std::fwrite(lines.data(), 1, lines.size(), history);
  }
  result.hash = world.hash.value();
  result.undecided = cluster.is_undecided();
  result.coverage = world.coverage;
  return result;
}

void run_all(const RunOptions& options, const std::function<void(const RunResult&)>& report) {
  std::vector<Worker> workers(options.jobs);
  std::size_t busy = 0;
  bool stopped = false;
  for (std::size_t i = 0; i < workers.size(); ++i) {
    workers[i].next = i;
    if (i >= options.runs) continue;
    start(workers[i], options);
    ++busy;
  }
  const auto noted = [&](const RunResult& result) {
    report(result);
    if (options.stop_at_first && !result.violation.empty()) stopped = true;
  };
  while (busy > 0 && !stopped) {
    std::vector<pollfd> polled;
    for (const Worker& worker : workers) polled.push_back({worker.pipe, POLLIN, 0});
    ::poll(polled.data(), polled.size(), 1000);
    for (std::size_t i = 0; i < workers.size() && !stopped; ++i) {
      Worker& worker = workers[i];
      if (worker.pipe < 0) continue;
      const bool endless = Clock::now() - worker.since > std::chrono::seconds(options.patience_seconds);
      if (polled[i].revents != 0) {
        if (!listen(worker, options, noted)) --busy;
      } else if (endless) {
        noted(bury(worker, options, "the run does not end"));
        if (worker.pipe < 0) --busy;
      }
    }
  }
  for (Worker& worker : workers) {
    if (worker.pipe >= 0) stop(worker);
  }
}

}  // namespace kv::sim
