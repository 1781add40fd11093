#include "client/bench_follow.hpp"

#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace kv::client {
namespace {

class Follower {
 public:
  Follower(BenchPlan& plan, std::shared_ptr<Connection> leader, std::shared_ptr<Connection> other)
      : plan_(plan), leader_(std::move(leader)), other_(std::move(other)) {}

  asio::awaitable<void> run() {
    while (const std::optional<BenchPlan::Step> step = plan_.next(Clock::now())) {
      plan_.sent();
      const bool goes_on = co_await write_and_read(step->key);
      plan_.done();
      if (!goes_on) break;
    }
    leader_->close();
    other_->close();
  }

 private:
  asio::awaitable<bool> write_and_read(std::uint64_t key) {
    message::Put put;
    plan_.keys.write_name(key, put.key);
    plan_.values.write(key, put.value);
    message::Get get;
    get.key = put.key;
    get.consistency = plan_.consistency;
    Clock::time_point due = Clock::now();
    const auto written = co_await ask<message::PutOk>(*leader_, std::move(put), due);
    if (!written) co_return leader_->is_open();
    plan_.tally.right(BenchPlan::puts, due, Clock::now());
    get.ts = written->ts;
    for (const std::size_t series : {BenchPlan::gets, BenchPlan::gets_again}) {
      due = Clock::now();
      const auto read = co_await ask<message::GetOk>(*other_, get, due);
      if (!read) co_return other_->is_open();
      if (!read->value || !plan_.values.belongs_to(key, *read->value)) {
        plan_.tally.other("wrong value", due);
      } else if (read->ts < written->ts) {
        plan_.tally.other("older than seen", due);
      } else {
        plan_.tally.right(series, due, Clock::now());
      }
    }
    co_return true;
  }

  // nullopt: there was none, which has been counted.
  template <class Expected, class Body>
  asio::awaitable<std::optional<Expected>> ask(Connection& connection, Body body, Clock::time_point due) {
    message::Request request;
    request.id = ++last_id_;
    request.body = std::move(body);
    connection.send(request);
    connection.flush();
    for (;;) {
      std::string_view frame;
      if (connection.frames().next(frame) != FrameReader::Result::frame) {
        if (!co_await connection.read()) continue;
        plan_.tally.other("connection lost", due);
        connection.close();
        co_return std::nullopt;
      }
      auto decoded = message::decode_answer(frame);
      auto* answer = std::get_if<message::Answer>(&decoded);
      if (answer && std::holds_alternative<message::WaitForResponse>(answer->body)) {
        plan_.tally.waited(Clock::now());
        continue;
      }
      if (answer && std::holds_alternative<Expected>(answer->body))
        co_return std::get<Expected>(std::move(answer->body));
      const auto* error = answer ? std::get_if<message::Error>(&answer->body) : nullptr;
      plan_.tally.other(error ? message::name_of(error->code) : "wrong answer", due);
      co_return std::nullopt;
    }
  }

  BenchPlan& plan_;
  std::shared_ptr<Connection> leader_;
  std::shared_ptr<Connection> other_;
  std::uint64_t last_id_ = 0;
};

}  // namespace

asio::awaitable<void> follow(BenchPlan& plan, std::shared_ptr<Connection> leader,
                             std::shared_ptr<Connection> other) {
  Follower follower(plan, std::move(leader), std::move(other));
  co_await follower.run();
}

}  // namespace kv::client
