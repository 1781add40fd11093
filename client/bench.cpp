#include "client/bench.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <exception>
#include <functional>
#include <memory>
#include <utility>
#include <variant>
#include <vector>

#include "client/bench_connection.hpp"
#include "client/bench_follow.hpp"
#include "client/bench_plan.hpp"
#include "client/bench_report.hpp"
#include "client/bulk_writer.hpp"
#include "client/progress.hpp"
#include "common/text.hpp"
#include "common/uring.hpp"

namespace kv::client {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds glance{100};  // between two looks at how far it is
constexpr std::uint64_t files_for_other_things = 32;

Clock::time_point far_away() {
  return Clock::time_point::max();
}

// So many connections may be open at the same time; empty: they may.
std::string too_many_files(std::uint64_t connections) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return {};
  const std::uint64_t wanted = connections + files_for_other_things;
  if (limit.rlim_cur >= wanted) return {};
  limit.rlim_cur = std::min<rlim_t>(limit.rlim_max, wanted);
  if (limit.rlim_cur >= wanted && setrlimit(RLIMIT_NOFILE, &limit) == 0) return {};
  return std::to_string(connections) + " connections take more files than this process may open (" +
         std::to_string(limit.rlim_max) + "): raise that with ulimit -n, or take fewer --connections";
}

class Bench {
 public:
  Bench(Context& context, BenchCommand command, std::shared_ptr<Call> call)
      : context_(context), call_(call), plan_(std::move(command), context.options.consistency, std::move(call)) {}

  // The client must be connected; `hello` is what it was told.
  asio::awaitable<Exit> run(const message::InitOk& hello) {
    plan_.session_from = hello.applied;
    if (const std::string why = find_servers(hello); !why.empty()) co_return complain(why);
    if (needs_keys()) {
      if (const std::optional<Exit> failed = co_await fill(hello.applied)) co_return *failed;
    }
    if (const std::string why = co_await connect(); !why.empty()) co_return complain(why);
    if (command().warm_up.count() == 0) plan_.tally.begin(Clock::now());
    start();
    co_await measure();
    co_await finish();
    co_return report();
  }

 private:
  const BenchCommand& command() const { return plan_.command; }
  bool needs_keys() const {
    return command().fill && (command().work == BenchWork::get || command().work == BenchWork::mixed);
  }

  Exit complain(const std::string& why) {
    context_.printer.error("bench: " + why);
    return call_->interrupted() ? Exit::interrupted : Exit::refused;
  }

  // Which of them to load; empty, or why there is none.
  std::string find_servers(const message::InitOk& hello) {
    for (const message::Member& member : hello.members) {
      const auto parsed = parse_address(member.address);
      const auto* address = std::get_if<Address>(&parsed);
      if (!address) continue;
      const bool leads = member.node == hello.leader;
      if (leads) leader_ = *address;
      if (!leads) followers_.push_back(*address);
      if (command().target == BenchTarget::all || (command().target == BenchTarget::leader) == leads) {
        plan_.servers.push_back(*address);
      }
    }
    const bool follows = command().work == BenchWork::follow;
    if (follows ? leader_ && !followers_.empty() : !plan_.servers.empty()) return {};
    if (!leader_) return "no server leads now: look at kvctl status";
    return "there is no other server than the leader" + std::string(follows ? "" : ": --target all or leader");
  }

  // All keys, each once.
  asio::awaitable<std::optional<Exit>> fill(std::uint64_t began_at) {
    BulkWriter writer(context_.client, call_, began_at);
    Progress progress(context_.printer, "bench: writing the keys");
    std::uint64_t next = 0;
    BulkItem item;
    while (next < command().keys || writer.under_way() > 0) {
      for (; next < command().keys; ++next) {
        plan_.keys.write_name(next, item.key);
        plan_.values.write(next, item.value);
        if (!writer.can_take(item)) break;
        writer.add(item);
      }
      co_await writer.step();
      for (const BulkTrouble& trouble : writer.take_troubles()) {
        context_.printer.failure(name_of_command("bench: put", trouble.item.key), trouble.failure);
        co_return exit_of(trouble.failure);
      }
      if (writer.has_given_up()) {
        co_return complain(call_->interrupted() ? "interrupted"
                                                : "the servers do not take the keys: look at kvctl status");
      }
      progress.items(writer.written());
    }
    plan_.floor = writer.highest_ts();
    co_return std::nullopt;
  }

  // Empty: all are there.
  asio::awaitable<std::string> connect() {
    open_uring(context_.io);  // what is refused does without
    const bool in_pairs = command().work == BenchWork::follow;
    if (const std::string why = too_many_files(command().connections * (in_pairs ? 2 : 1)); !why.empty())
      co_return why;
    for (std::uint64_t number = 0; number < command().connections; ++number) {
      std::string why;
      if (in_pairs) {
        why = co_await open_pair(number);
      } else {
        why = co_await open(number);
      }
      if (!why.empty()) {
        co_return "connection " + std::to_string(number + 1) + " of " + std::to_string(command().connections) +
            ": " + why;
      }
      if (call_->interrupted()) co_return "interrupted";
    }
    co_return std::string();
  }

  asio::awaitable<std::string> open(std::uint64_t number) {
    const Address& server = plan_.servers[number % plan_.servers.size()];
    BenchSocket socket = co_await open_socket(server, Clock::now() + context_.options.timeout);
    if (!socket.connection) co_return socket.why;
    const auto connection = std::make_shared<BenchConnection>(context_.io.get_executor(), plan_, number);
    connection->take(std::move(socket.connection));
    works_.push_back([connection] { return connection->run(); });
    closers_.push_back([connection] { connection->close(); });
    co_return std::string();
  }

  asio::awaitable<std::string> open_pair(std::uint64_t number) {
    const Clock::time_point deadline = Clock::now() + context_.options.timeout;
    BenchSocket leader = co_await open_socket(*leader_, deadline);
    if (!leader.connection) co_return leader.why;
    BenchSocket other = co_await open_socket(followers_[number % followers_.size()], deadline);
    if (!other.connection) co_return other.why;
    works_.push_back([this, leader, other] { return follow(plan_, leader.connection, other.connection); });
    closers_.push_back([leader, other] {
      leader.connection->close();
      other.connection->close();
    });
    co_return std::string();
  }

  void start() {
    for (const auto& work : works_) {
      ++running_;
      asio::co_spawn(context_.io, work(), [this](std::exception_ptr) {
        if (--running_ == 0) call_->wake();
      });
    }
  }

  // Ends with the time, with the last answer of a count, or with Ctrl-C.
  asio::awaitable<void> measure() {
    if (command().warm_up.count() > 0) {
      co_await watch_until(Clock::now() + command().warm_up, "warming up");
      if (call_->interrupted()) co_return;
      plan_.tally.begin(Clock::now());
    }
    const Clock::time_point end = command().count > 0 ? far_away() : Clock::now() + command().duration;
    co_await watch_until(end, "");
  }

  asio::awaitable<void> watch_until(Clock::time_point until, const std::string& what) {
    Clock::time_point now;
    while ((now = Clock::now()) < until && !call_->interrupted()) {
      if (plan_.has_asked_all() && plan_.under_way() == 0) break;
      context_.printer.progress(what.empty() ? bench_progress(plan_, now) : "bench: " + what);
      co_await call_->wait(std::min(until, now + glance));
    }
  }

  // What is under way may come to its end, but not for longer than a request may take.
  asio::awaitable<void> finish() {
    plan_.finish(Clock::now());
    const Clock::time_point deadline = Clock::now() + context_.options.timeout;
    while (plan_.under_way() > 0 && Clock::now() < deadline && !call_->interrupted())
      co_await call_->wait(deadline);
    for (const auto& close : closers_) close();
    while (running_ > 0) co_await call_->wait(far_away());
    context_.printer.progress("");
  }

  Exit report() {
    const bool nothing = plan_.tally.began() == far_away();
    if (!nothing) {
      context_.printer.text(bench_report(plan_, context_.options.format, context_.printer.out_is_terminal()));
    }
    if (call_->interrupted())
      return complain(nothing ? "interrupted" : "interrupted: that is what there was until then");
    return plan_.tally.others().empty() && plan_.tally.total_right() > 0 ? Exit::done : Exit::refused;
  }

  Context& context_;
  std::shared_ptr<Call> call_;
  BenchPlan plan_;
  std::optional<Address> leader_;
  std::vector<Address> followers_;
  std::vector<std::function<asio::awaitable<void>()>> works_;  // one for each connection, or pair of them
  std::vector<std::function<void()>> closers_;
  std::size_t running_ = 0;  // of works_
};

}  // namespace

asio::awaitable<Exit> bench(Context& context, BenchCommand command) {
  const std::shared_ptr<Call> call = context.client.new_call(context.options.timeout);
  const Outcome connected = co_await context.client.connect(call);
  if (const auto* failure = std::get_if<Failure>(&connected)) co_return fail(context, "bench", *failure);
  const message::InitOk hello = std::get<message::InitOk>(std::get<Reply>(connected).body);
  call->set_deadline(far_away());
  Bench work(context, std::move(command), call);
  co_return co_await work.run(hello);
}

}  // namespace kv::client
