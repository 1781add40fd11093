// What goes wrong: faults at random moments, of those that the plan has switched on, each with its end.
//
// What destroys data stays within a minority of the servers: beyond that nothing is promised but to refuse.
#pragma once

#include <memory>
#include <vector>

#include "tests/sim/clients.hpp"
#include "tests/sim/judge.hpp"
#include "tests/sim/network.hpp"
#include "tests/sim/node.hpp"
#include "tests/sim/world.hpp"

namespace kv::sim {

class Nemesis {
 public:
  Nemesis(World& world, const Judge& judge, std::vector<std::unique_ptr<Node>>& nodes, Network& network,
          Clients& clients);

  void start();
  // No new faults, and the ends of those that are under way do not come: whoever stops it heals.
  void stop() { stopped_ = true; }

  // A server outside of the healed majority: it is in one of many bad states, or comes and goes.
  void torment(Node& node);
  void stop_tormenting() { tormenting_ = false; }

 private:
  void strike_later();
  void strike(Fault fault);
  void later(Time delay, Task end);
  Node& any_node();
  void restart_later(Node& node);
  void strike_process(Fault fault, Node& node);
  void strike_disk(Fault fault, Node& node);
  void strike_network(Fault fault, Node& node);
  void cut_for_a_while(const std::vector<Network::Pair>& pairs);
  std::vector<Network::Pair> draw_partition();
  std::vector<Network::Pair> draw_bridge();
  std::vector<Network::Pair> around(NodeIndex node, bool in, bool out) const;
  void flip(Node& node);
  void wipe(Node& node);
  void flap(Node& node);

  World& world_;
  const Judge& judge_;
  std::vector<std::unique_ptr<Node>>& nodes_;
  Network& network_;
  Clients& clients_;
  std::vector<Fault> possible_;
  bool stopped_ = false;
  bool tormenting_ = true;
};

}  // namespace kv::sim
