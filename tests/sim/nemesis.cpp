#include "tests/sim/nemesis.hpp"

#include <algorithm>

namespace kv::sim {
namespace {

// Those that are not struck at a moment: they are part of the network, the disk or the clients all the time.
constexpr std::array always = {
    Fault::kill_in_recovery,  Fault::message_lost,        Fault::message_twice,      Fault::message_overtaken,
    Fault::message_late,      Fault::torn_write,          Fault::lost_name,          Fault::lost_pages,
    Fault::wipe_given_back,   Fault::write_retried,       Fault::read_of_the_future, Fault::behind_the_log,
    Fault::snapshot_damaged,  Fault::wait_for_newer,      Fault::txn_retried,        Fault::watch_resumed,
    Fault::watch_of_the_past, Fault::watch_of_the_future, Fault::watch_cancelled,    Fault::watch_compacted,
    Fault::watch_overloaded,  Fault::watch_shut_down,     Fault::events_not_taken,
};

}  // namespace

Nemesis::Nemesis(World& world, const Judge& judge, std::vector<std::unique_ptr<Node>>& nodes, Network& network,
                 Clients& clients)
    : world_(world), judge_(judge), nodes_(nodes), network_(network), clients_(clients) {
  for (const Fault fault : world_.plan.faults) {
    if (std::find(always.begin(), always.end(), fault) == always.end()) possible_.push_back(fault);
  }
}

void Nemesis::start() {
  // It has the most to lose, and seldom loses it.
  if (world_.plan.has(Fault::power_loss)) possible_.insert(possible_.end(), 4, Fault::power_loss);
  if (!possible_.empty()) strike_later();
}

void Nemesis::strike_later() {
  world_.scheduler.after(world_.random.skewed(world_.plan.between_faults), [this] {
    if (stopped_) return;
    strike(world_.random.pick(possible_));
    strike_later();
  });
}

void Nemesis::later(Time delay, Task end) {
  world_.scheduler.after(delay, [this, end = std::move(end)]() mutable {
    if (!stopped_) end();
  });
}

Node& Nemesis::any_node() {
  return *world_.random.pick(nodes_);
}

void Nemesis::strike(Fault fault) {
  Node& node = any_node();
  switch (fault) {
    case Fault::kill:
    case Fault::power_loss:
    case Fault::terminate:
    case Fault::pause:
    case Fault::clock_drift:
      return strike_process(fault, node);
    case Fault::slow_disk:
    case Fault::hung_disk:
    case Fault::failed_sync:
    case Fault::failed_write:
    case Fault::full_disk:
    case Fault::bit_flip:
    case Fault::wipe:
      return strike_disk(fault, node);
    case Fault::client_reset:
      return clients_.reset(world_.random.below(clients_.count()));
    default:
      if (nodes_.size() > 1) strike_network(fault, node);
  }
}

// ---- Processes

void Nemesis::restart_later(Node& node) {
  const Time down = world_.random.skewed(200 * ms);
  later(down, [&node] { node.start(); });
}

void Nemesis::strike_process(Fault fault, Node& node) {
  if (!node.is_up() || node.is_paused()) return;
  world_.coverage.note(fault);
  if (fault == Fault::kill || fault == Fault::power_loss) {
    const End how = fault == Fault::kill ? End::reset : End::silence;
    // In the middle of a write there is more to lose.
    const std::uint64_t in_write = fault == Fault::kill ? 50 : 80;
    if (world_.random.percent(in_write)) return node.end_in_write(how, [this, &node] { restart_later(node); });
    fault == Fault::kill ? node.kill() : node.lose_power();
    restart_later(node);
  } else if (fault == Fault::terminate) {
    node.terminate();
    later(world_.random.between(1, 3) * second, [&node] { node.start(); });
  } else if (fault == Fault::pause) {
    world_.tell(node.name(), "is paused");
    node.pause();
    const Time paused = world_.random.skewed(2 * world_.plan.election_timeout());
    later(paused, [&node] { node.resume(); });
  } else {
    const Time quarter = tick_ms * ms / 4;
    const Time tick = quarter * world_.random.between(1, 16);
    world_.tell(node.name(), "its clock ticks every " + std::to_string(tick) + " us");
    node.set_tick(tick);
    later(world_.random.skewed(2 * second), [this, &node] {
      world_.tell(node.name(), "its clock is right again");
      node.set_tick(tick_ms * ms);
    });
  }
}

// ---- Disks

void Nemesis::strike_disk(Fault fault, Node& node) {
  Disk& disk = node.disk();
  switch (fault) {
    case Fault::failed_sync:
      return disk.fail_sync_in(world_.random.between(1, 4));
    case Fault::failed_write:
      return disk.fail_write_in(world_.random.between(1, 4));
    case Fault::bit_flip:
      return flip(node);
    case Fault::wipe:
      return wipe(node);
    default:
      break;
  }
  world_.coverage.note(fault);
  const Time lasts = world_.random.skewed(second);
  if (fault == Fault::full_disk) {
    world_.tell(node.name(), "its disk is full");
    disk.fill(true);
    later(lasts, [this, &node] {
      world_.tell(node.name(), "its disk has room again");
      node.disk().fill(false);
    });
  } else {
    const Time latency = fault == Fault::hung_disk ? 0 : world_.random.between(5, 100) * ms;
    world_.tell(node.name(), fault == Fault::hung_disk ? "its disk hangs" : "its disk is slow");
    node.set_disk(latency);
    later(lasts, [this, &node] {
      world_.tell(node.name(), "its disk is as fast as before");
      node.set_disk(world_.plan.disk);
    });
  }
}

void Nemesis::flip(Node& node) {
  // Who has lost its state needs others that have it: those whose disk was wiped count too.
  const auto without = std::count_if(nodes_.begin(), nodes_.end(), [&](auto& n) {
    return n->index() != node.index() && (n->disk().is_wiped() || n->may_lack_state());
  });
  const bool others_have_it = static_cast<std::size_t>(without) < (nodes_.size() - 1) / 2;
  node.flip_a_bit(others_have_it || nodes_.size() == 1);
  const Time found = world_.random.skewed(100 * ms);
  later(found, [&node] { node.start(); });
  later(found + world_.random.skewed(500 * ms), [&node] {
    node.mend();
    node.start();
  });
}

void Nemesis::wipe(Node& node) {
  const auto wiped = std::count_if(nodes_.begin(), nodes_.end(),
                                   [](auto& n) { return n->disk().is_wiped() || n->may_lack_state(); });
  const bool formed = judge_.is_formed();
  if (formed && (node.disk().is_wiped() || static_cast<std::size_t>(wiped) >= (nodes_.size() - 1) / 2)) return;
  // Before the cluster is formed who has promised nothing can be wiped and comes back as good as before.
  if (!formed && judge_.has_promised(node.name())) return;
  world_.coverage.note(Fault::wipe);
  world_.tell(node.name(), "its disk is wiped");
  node.wipe(formed);
  restart_later(node);
  if (!formed || !world_.plan.has(Fault::wipe_given_back)) return;
  later(world_.random.skewed(second), [this, &node] {
    world_.coverage.note(Fault::wipe_given_back);
    world_.tell(node.name(), "gets its own disk back");
    node.give_back();
    node.start();
  });
}

// ---- The network

void Nemesis::cut_for_a_while(const std::vector<Network::Pair>& pairs) {
  for (const auto& [from, to] : pairs) network_.cut(from, to);
  later(world_.random.skewed(second), [this, pairs] {
    for (const auto& [from, to] : pairs) network_.heal(from, to);
  });
}

std::vector<Network::Pair> Nemesis::around(NodeIndex node, bool in, bool out) const {
  std::vector<Network::Pair> pairs;
  for (NodeIndex other = 0; other < nodes_.size(); ++other) {
    if (other == node) continue;
    if (in) pairs.emplace_back(other, node);
    if (out) pairs.emplace_back(node, other);
  }
  return pairs;
}

std::vector<Network::Pair> Nemesis::draw_partition() {
  std::vector<bool> left;
  for (std::size_t i = 0; i < nodes_.size(); ++i) left.push_back(world_.random.percent(50));
  std::vector<Network::Pair> pairs;
  for (NodeIndex a = 0; a < nodes_.size(); ++a) {
    for (NodeIndex b = 0; b < nodes_.size(); ++b) {
      if (left[a] != left[b]) pairs.emplace_back(a, b);
    }
  }
  return pairs;
}

// Two halves that see each other only by way of one server, which sees all.
std::vector<Network::Pair> Nemesis::draw_bridge() {
  const NodeIndex bridge = world_.random.below(nodes_.size());
  std::vector<Network::Pair> pairs = draw_partition();
  std::erase_if(pairs, [&](const Network::Pair& pair) { return pair.first == bridge || pair.second == bridge; });
  return pairs;
}

void Nemesis::strike_network(Fault fault, Node& node) {
  NodeIndex other = world_.random.below(nodes_.size() - 1);
  if (other >= node.index()) ++other;
  world_.coverage.note(fault);
  switch (fault) {
    case Fault::cut_one_way:
      return cut_for_a_while({{node.index(), other}});
    case Fault::isolate:
      return cut_for_a_while(around(node.index(), true, true));
    case Fault::partition:
      return cut_for_a_while(draw_partition());
    case Fault::bridge:
      return cut_for_a_while(draw_bridge());
    case Fault::link_reset:
      return network_.reset(node.index(), other);
    default:
      return;
  }
}

// ---- Beside a healed majority

void Nemesis::torment(Node& node) {
  // By a clock that goes slow a leader that nobody can reach takes too long to see that: it need not be so quick.
  node.set_tick(tick_ms * ms);
  node.disk().fill(
      false);  // a leader whose disk is full says NO_SPACE and stays: that is an answer, but not PUT_OK
  const std::uint64_t how = world_.random.below(7);
  const auto cut = [&](bool in, bool out) {
    for (const auto& [from, to] : around(node.index(), in, out)) network_.cut(from, to);
  };
  if (how == 0) cut(true, true);
  if (how == 1) cut(true, false);  // deaf: it speaks and hears nothing
  if (how == 2) cut(false, true);  // mute
  if (how == 3) {
    // A leader that has nothing to write does not feel its disk. One that a server cannot reach while the others can
    // may stay the leader, as in any Raft, and that server waits: so it has only the one fault.
    for (const auto& [from, to] : around(node.index(), true, true)) network_.heal(from, to);
    node.set_disk(0);
  }
  if (how == 4) node.stay_dead();
  if (how >= 5) flap(node);
  const std::vector<std::string> names = {"is cut off", "is deaf",        "is mute",       "has a disk that hangs",
                                          "is dead",    "comes and goes", "comes and goes"};
  world_.tell(node.name(), names[how] + " from now on");
}

void Nemesis::flap(Node& node) {
  const std::uint64_t how = world_.random.below(3);
  const bool in = how != 0;
  const bool out = how != 1;
  const auto pairs = around(node.index(), in, out);
  for (const auto& [from, to] : pairs) network_.cut(from, to);
  const Time away = world_.plan.election_timeout() + world_.random.below(world_.plan.election_timeout());
  world_.scheduler.after(away, [this, &node, pairs] {
    if (!tormenting_) return;
    for (const auto& [from, to] : pairs) network_.heal(from, to);
    const Time back = world_.random.below(world_.plan.election_timeout());
    world_.scheduler.after(back, [this, &node] {
      if (tormenting_) flap(node);
    });
  });
}

}  // namespace kv::sim
