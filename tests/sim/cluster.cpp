#include "tests/sim/cluster.hpp"

#include <algorithm>

#include "tests/checkers/check.hpp"

namespace kv::sim {
namespace {

// Beside election timeouts: links that are dialled again, processes that start, requests that are asked again.
constexpr Time other_time = 4 * second;

std::vector<std::string> names(std::size_t nodes) {
  std::vector<std::string> names;
  for (std::size_t i = 1; i <= nodes; ++i) names.push_back("n" + std::to_string(i));
  return names;
}

}  // namespace

Cluster::Cluster(World& world)
    : world_(world),
      judge_(world),
      network_(world, judge_, nodes_),
      connections_(world, judge_, nodes_),
      clients_(world, judge_, nodes_, connections_),
      followers_(world, judge_, nodes_, connections_),
      nemesis_(world, judge_, nodes_, network_, clients_) {
  for (NodeIndex i = 0; i < world.plan.nodes; ++i) {
    nodes_.push_back(std::make_unique<Node>(world, judge_, *this, i, names(world.plan.nodes)));
  }
}

void Cluster::deliver(NodeIndex from, PeerMessage message) {
  network_.send(from, std::move(message));
}

void Cluster::deliver(NodeIndex, ClientAnswer answer) {
  connections_.answer(std::move(answer));
}

void Cluster::node_started(NodeIndex node) {
  network_.node_started(node);
}

void Cluster::node_ended(NodeIndex node, End end) {
  network_.node_ended(node, end);
  connections_.node_ended(node, end);
}

template <class Done>
bool Cluster::run_until(Time end, const Done& done) {
  while (!done()) {
    if (!world_.scheduler.step(end)) return false;
    world_.hash.mix(world_.now());
  }
  return true;
}

void Cluster::run_for(Time time) {
  run_until(world_.now() + time, [] { return false; });
}

void Cluster::run() {
  world_.tell("plan", describe(world_.plan));
  be_unsafe();
  be_live();
  be_quiet();
  check_history();
}

void Cluster::be_unsafe() {
  const bool slowly = world_.random.one_in(3);
  for (auto& node : nodes_) {
    const Time when = slowly ? world_.random.below(3 * second) : world_.random.skewed(100 * ms);
    world_.scheduler.after(when, [&node] { node->start(); });
  }
  clients_.start();
  followers_.start();
  nemesis_.start();
  if (world_.plan.heal_when_formed) {
    run_until(world_.plan.safety, [this] { return judge_.is_formed(); });
    run_for(world_.random.below(8 * world_.plan.round()));
  } else {
    run_for(world_.plan.safety);
  }
  nemesis_.stop();
}

// ---- Liveness

std::vector<NodeIndex> Cluster::draw_majority() {
  std::vector<NodeIndex> members;
  // A first start needs everybody.
  if (!judge_.is_formed()) {
    for (auto& node : nodes_) members.push_back(node->index());
    return members;
  }
  for (auto& node : nodes_) {
    if (!node->disk().is_wiped() && !node->may_lack_state()) members.push_back(node->index());
  }
  // Often without the leader, which may be in a bad state and not know it.
  const bool spare_leader = world_.random.percent(50);
  while (members.size() > nodes_.size() / 2 + 1) {
    auto leader = std::find_if(members.begin(), members.end(), [this](NodeIndex i) {
      return nodes_[i]->is_up() && nodes_[i]->replica().raft().leads();
    });
    const auto any = members.begin() + static_cast<std::ptrdiff_t>(world_.random.below(members.size()));
    members.erase(!spare_leader && leader != members.end() ? leader : any);
  }
  return members;
}

void Cluster::heal(const std::vector<NodeIndex>& members) {
  for (const NodeIndex a : members) {
    for (const NodeIndex b : members) {
      network_.heal(a, b);
      network_.make_reliable(a, b);
    }
    nodes_[a]->calm();
  }
}

void Cluster::be_live() {
  const std::vector<NodeIndex> members = draw_majority();
  if (world_.tells()) {
    std::string text;
    for (const NodeIndex i : members) text += " " + nodes_[i]->name();
    world_.tell("plan", "healed from now on:" + text);
  }
  heal(members);
  world_.plan.think *= 4;  // nor is it asked for more than the slowest settings can do
  for (auto& node : nodes_) {
    if (std::find(members.begin(), members.end(), node->index()) == members.end()) nemesis_.torment(*node);
  }
  expect_answers(members);
  expect_same_leader(members);
}

// Who is far behind gets an entry a message where messages are that small, or a snapshot in pieces that are, and
// hears what was asked of it last.
Time Cluster::catch_up_time(const std::vector<NodeIndex>& members) const {
  std::uint64_t least = judge_.committed();
  std::uint64_t most = judge_.committed();
  for (const NodeIndex i : members) {
    if (!nodes_[i]->is_up()) {
      least = 0;
      continue;
    }
    const raft::Log& log = nodes_[i]->replica().raft().log();
    least = std::min(least, judge_.agreed(log));
    most = std::max(most, log.last_index().value);
  }
  const std::uint64_t pieces = least < most ? largest_snapshot(members) / world_.plan.snapshot_piece_bytes : 0;
  return 2 * (most - least + pieces) * world_.plan.round();
}

// In bytes, of those that one of them may send to another.
std::uint64_t Cluster::largest_snapshot(const std::vector<NodeIndex>& members) const {
  std::uint64_t largest = 0;
  for (const NodeIndex i : members) {
    Disk& disk = nodes_[i]->disk();
    for (const raft::Position position : list_snapshots(disk))
      largest = std::max<std::uint64_t>(largest, disk.pages(snapshot_file_name(position)).size());
  }
  return largest;
}

void Cluster::expect_answers(const std::vector<NodeIndex>& members) {
  std::size_t answered = 0;
  for (const NodeIndex node : members) clients_.put_until_done(node, [&answered] { ++answered; });
  // Before the first start a name may be taken by a connection that is dead, until that is noticed.
  const Time links = judge_.is_formed() ? other_time / 2 : 2 * other_time;
  const Time longest = 5 * world_.plan.election_timeout() + links + catch_up_time(members);
  const bool in_time = run_until(world_.now() + longest, [&] { return answered == members.size(); });
  world_.check(Rule::answers_again, in_time, [&] {
    return "only " + std::to_string(answered) + " of " + std::to_string(members.size()) +
           " servers of a healed majority have answered a PUT within " + std::to_string(longest / ms) + " ms";
  });
}

// Those who come and go must not unseat a leader that a majority follows, time and again. Once each they may: one
// that brings a higher term from before, and may then be elected itself and go away.
void Cluster::expect_same_leader(const std::vector<NodeIndex>& members) {
  run_for(2 * world_.plan.election_timeout());
  // Without writes everybody's log is good enough for a vote.
  if (world_.random.percent(50)) world_.plan.think *= 100;
  const std::size_t before = judge_.leaders();
  run_for(20 * world_.plan.election_timeout());
  const std::size_t leaders = judge_.leaders() - before;
  const std::size_t allowed = 2 + 2 * (nodes_.size() - members.size());
  if (world_.plan.preferred_leader) return;  // leadership is handed over, too
  world_.check(Rule::leader_stays, leaders <= allowed, [&] {
    return std::to_string(leaders) + " leaders within twenty election timeouts, while a majority was healthy";
  });
}

// ---- Quiet

bool Cluster::has_converged() const {
  std::optional<std::uint64_t> applied;
  for (const auto& node : nodes_) {
    if (node->disk().is_wiped()) continue;
    if (!node->is_up()) return false;
    const std::uint64_t here = node->replica().applied();
    if (here < judge_.committed() || applied.value_or(here) != here) return false;
    applied = here;
  }
  return true;
}

void Cluster::be_quiet() {
  world_.tell("plan", "all is healed from now on");
  nemesis_.stop_tormenting();
  clients_.stop();
  std::vector<NodeIndex> all;
  std::vector<NodeIndex> members;
  for (auto& node : nodes_) {
    all.push_back(node->index());
    if (!node->disk().is_wiped()) members.push_back(node->index());
  }
  heal(all);
  followers_.calm(members);
  run_until(world_.now() + 10 * second, [this] { return clients_.is_idle(); });
  clients_.read_all(members);
  const Time longest = 5 * world_.plan.election_timeout() + 2 * other_time + catch_up_time(members);
  const auto expect_convergence = [&] {
    const bool converged =
        run_until(world_.now() + longest, [this] { return clients_.is_idle() && has_converged(); });
    world_.check(Rule::converges, converged,
                 [&] { return "not all healed servers have come to the same position, or clients still wait"; });
  };
  expect_convergence();
  const bool followed = run_until(world_.now() + longest, [this] { return followers_.have_all(); });
  world_.check(Rule::followers_have_all, followed, [&] { return "in the end " + followers_.who_waits(); });
  // A server that was asked to stop before all was healed may have done so only since then, and started again.
  expect_convergence();
  std::optional<std::uint64_t> digest;
  for (const NodeIndex i : members) {
    const std::uint64_t here = nodes_[i]->replica().store().digest();
    world_.check(Rule::equal_digests, digest.value_or(here) == here,
                 [&] { return nodes_[i]->name() + " holds another state than the others in the end"; });
    digest = here;
    world_.hash.mix(here);
  }
  run_for(4 * second);  // longer than any request may take
  judge_.all_answered();
}

void Cluster::check_history() {
  std::vector<history::Violation> violations = history::check(history());
  // Deletes of unknown outcome are still left, and too many of them are more than the search can go through.
  undecided_ = std::erase_if(violations, [](const history::Violation& violation) {
                 return violation.rule == history::Rule::undecided;
               }) > 0;
  world_.check(Rule::history_holds, violations.empty(), [&] {
    const history::Violation& first = violations.front();
    return std::string(to_string(first.rule)) + ": " + first.message;
  });
}

}  // namespace kv::sim
