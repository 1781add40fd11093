// One run: a cluster that lives through everything its plan holds, and is then given a majority that works.
//
//   safety      everything fails; whatever is answered must be true
//   liveness    a majority is healed, the rest stays as bad as it was: the cluster must answer again, and its
//               leader must stay
//   quiet       everything is healed: all servers must come to the same state, and every request to its end;
//               then the clients' history is checked
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "tests/sim/clients.hpp"
#include "tests/sim/connections.hpp"
#include "tests/sim/followers.hpp"
#include "tests/sim/judge.hpp"
#include "tests/sim/nemesis.hpp"
#include "tests/sim/network.hpp"
#include "tests/sim/node.hpp"
#include "tests/sim/world.hpp"

namespace kv::sim {

class Cluster final : public NodeOutlet {
 public:
  explicit Cluster(World& world);

  // Throws Violation.
  void run();

  // What the clients saw, and one thing more that is certain when all is over: what became of writes of unknown
  // outcome.
  history::History history() const { return clients_.transcript().history(judge_); }
  // Whether the history was too hard to judge.
  bool is_undecided() const { return undecided_; }
  std::size_t operations() const { return clients_.transcript().size(); }

 private:
  void deliver(NodeIndex from, PeerMessage message) override;
  void deliver(NodeIndex from, ClientAnswer answer) override;
  void node_started(NodeIndex node) override;
  void node_ended(NodeIndex node, End end) override;

  template <class Done>
  bool run_until(Time end, const Done& done);
  void run_for(Time time);
  void be_unsafe();
  void be_live();
  void be_quiet();
  std::vector<NodeIndex> draw_majority();
  void heal(const std::vector<NodeIndex>& members);
  Time catch_up_time(const std::vector<NodeIndex>& members) const;
  std::uint64_t largest_snapshot(const std::vector<NodeIndex>& members) const;
  void expect_answers(const std::vector<NodeIndex>& members);
  void expect_same_leader(const std::vector<NodeIndex>& members);
  bool has_converged() const;
  void check_history();

  World& world_;
  std::vector<std::unique_ptr<Node>> nodes_;
  Judge judge_;
  Network network_;
  Connections connections_;
  Clients clients_;
  Followers followers_;
  Nemesis nemesis_;
  bool undecided_ = false;
};

}  // namespace kv::sim
