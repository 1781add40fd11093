// What all connections of a load share: what to ask next, whether that may go on, what has been seen of each key,
// and the tally.
//
// All connections together are one client with one memory: a GET carries the highest timestamp that any of them has
// seen of its key when it is sent, and an answer that is older than that is a wrong one.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "client/bench_tally.hpp"
#include "client/call.hpp"
#include "client/options.hpp"
#include "client/workload.hpp"
#include "common/address.hpp"
#include "common/message.hpp"

namespace kv::client {

struct BenchPlan {
  static constexpr std::size_t puts = 0;  // of tally's series
  static constexpr std::size_t gets = 1;
  static constexpr std::size_t gets_again = 2;  // of BenchWork::follow

  struct Step {
    bool is_put = false;
    std::uint64_t key = 0;
  };

  // `call` is woken when the last request of a load that is over has been answered, and when a count is reached.
  BenchPlan(const BenchCommand& command, message::Consistency consistency, std::shared_ptr<Call> call);

  // What is due then; nullopt: nothing more.
  std::optional<Step> next(Clock::time_point due);
  // Nothing new is asked from now on.
  void finish(Clock::time_point now);
  bool is_over() const { return over_; }
  // So many have been asked as were wanted, and there is no time that ends it.
  bool has_asked_all() const { return command.count > 0 && left_ == 0; }

  void sent() { ++under_way_; }
  void done();
  std::uint64_t under_way() const { return under_way_; }

  // The key's newest version that has been seen, which a read must not fall behind.
  std::uint64_t version_of(std::uint64_t key) const;
  void learn(std::uint64_t key, std::uint64_t ts);

  const BenchCommand command;
  const message::Consistency consistency;
  const std::shared_ptr<Call> call;
  std::vector<Address> servers;     // to connect to, in turns
  std::uint64_t session_from = 0;   // for write sessions
  std::uint64_t floor = 0;          // all keys are there from this position on
  std::vector<std::uint64_t> seen;  // by key: the highest timestamp
  Keys keys;
  Values values;
  BenchTally tally;

 private:
  std::mt19937_64 random_;
  std::uint64_t left_;  // to be asked while it is measured
  std::uint64_t under_way_ = 0;
  bool over_ = false;
};

}  // namespace kv::client
