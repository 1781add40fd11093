#include "tests/sim/network.hpp"

#include <algorithm>

#include "server/translate.hpp"
#include "tests/sim/describe.hpp"

namespace kv::sim {
namespace {

// As it goes over a real link.
raft::Message over_the_wire(const raft::Message& message) {
  std::string frame;
  std::visit([&frame](const auto& wire) { message::encode(wire, frame); }, to_wire(message));
  const std::size_t size = frame.size();
  frame.append(4, '\0');  // as FrameReader does
  return *from_wire(std::get<message::Peer>(message::decode_peer(std::string_view(frame).substr(0, size))));
}

constexpr Time dial_pause = 20 * ms;          // server/peers.cpp: 20 to 500 ms
constexpr Time handshake_time = second;       // likewise, though shorter
constexpr Time silence_noticed = 5 * second;  // a peer whose machine is gone: Connection::watch_liveness

}  // namespace

Network::Network(World& world, Judge& judge, std::vector<std::unique_ptr<Node>>& nodes)
    : world_(world), judge_(judge), nodes_(nodes) {}

Time Network::delay() {
  return world_.random.skewed(world_.plan.delay);
}

// Between two servers that see each other well nothing takes many times as long as usual.
Time Network::delay(NodeIndex from, NodeIndex to) {
  if (!reliable_.contains({from, to})) return delay();
  return world_.random.between(world_.plan.delay / 2, world_.plan.delay);
}

// ---- Links

void Network::node_started(NodeIndex index) {
  for (NodeIndex other = 0; other < nodes_.size(); ++other) {
    if (other == index) continue;
    start_dialling(index, other);
    if (!node(other).is_up()) continue;
    // A connection to the process before this one is reset as soon as anything is sent on it.
    const Time notice = world_.random.below(second / 2);
    if (links_.contains({other, index})) {
      break_link(other, index, notice);
    } else {
      start_dialling(other, index);
    }
  }
}

void Network::node_ended(NodeIndex index, End end) {
  for (NodeIndex other = 0; other < nodes_.size(); ++other) {
    if (other == index) continue;
    links_.erase({index, other});
    inbound_.erase({index, other});
    const bool tells = end == End::reset && !is_cut(index, other);
    const Time told = delay();
    const Time notice = tells ? told : silence_noticed;
    break_link(other, index, notice);
    forget_inbound(other, index, notice);
  }
}

// As server/peers.cpp: one attempt after the other, each with its time.
void Network::start_dialling(NodeIndex from, NodeIndex to) {
  const Attempt attempt{from, to, next_link_++, node(from).process(), 0};
  dialling_[{from, to}] = attempt.number;
  const Time pause = world_.random.between(dial_pause, 10 * dial_pause);
  world_.scheduler.after(pause, [this, attempt] {
    if (is_current(attempt)) node(attempt.from).hand([this, attempt] { dial(attempt); });
  });
  world_.scheduler.after(pause + handshake_time, [this, attempt] { dial_again(attempt); });
}

bool Network::is_current(const Attempt& attempt) {
  const auto found = dialling_.find({attempt.from, attempt.to});
  return found != dialling_.end() && found->second == attempt.number &&
         node(attempt.from).process() == attempt.dialler && node(attempt.from).is_up();
}

void Network::dial_again(const Attempt& attempt) {
  if (is_current(attempt)) start_dialling(attempt.from, attempt.to);
}

void Network::dial(Attempt attempt) {
  const auto [from, to] = Pair{attempt.from, attempt.to};
  if (is_cut(from, to) || is_cut(to, from) || !node(to).is_up()) return dial_again(attempt);
  attempt.listener = node(to).process();
  const message::PeerInit introduction = node(from).replica().roster().introduction(node(to).name());
  world_.scheduler.after(delay(), [this, attempt, introduction] {
    if (is_cut(attempt.from, attempt.to) || node(attempt.to).process() != attempt.listener) return;
    node(attempt.to).hand([this, attempt, introduction] { greet(attempt, introduction); });
  });
}

// As server/peers.cpp: before the cluster is formed the roster knows no identities, and two under one name
// would each get our vote.
bool Network::is_taken(NodeIndex at, NodeIndex from, const message::PeerInit& init) {
  if (node(at).replica().roster().bound()) return false;
  const auto identity = inbound_identity_.find({at, from});
  if (identity == inbound_identity_.end() || identity->second == init.identity) return false;
  return inbound_.contains({at, from});
}

void Network::greet(Attempt attempt, const message::PeerInit& introduction) {
  if (!is_current(attempt)) return;  // the dialler has closed it
  const auto [from, to] = Pair{attempt.from, attempt.to};
  const Roster& roster = node(to).replica().roster();
  if (roster.check(introduction) || is_taken(to, from, introduction)) return dial_again(attempt);
  inbound_[{to, from}] = attempt.number;
  inbound_identity_[{to, from}] = introduction.identity;
  world_.scheduler.after(delay(), [this, attempt, ok = roster.welcome()] {
    if (is_cut(attempt.to, attempt.from) || !is_current(attempt)) return;
    node(attempt.from).hand([this, attempt, ok] { welcome(attempt, ok); });
  });
}

void Network::welcome(const Attempt& attempt, const message::PeerInitOk& ok) {
  const auto [from, to] = Pair{attempt.from, attempt.to};
  if (!is_current(attempt)) return;
  if (node(from).replica().roster().check(node(to).name(), ok)) return dial_again(attempt);
  dialling_.erase({from, to});
  Link link;
  link.number = attempt.number;
  link.listener = attempt.listener;
  links_.insert_or_assign(Pair{from, to}, std::move(link));
  world_.tell(node(from).name(), "is linked to " + node(to).name());
  node(from).replica().link_up(ok);
  node(from).poke();
  // The other end may be gone already.
  if (node(to).process() != attempt.listener) break_link(from, to, delay());
}

// The listener notices that the dialler of the connection is gone.
void Network::forget_inbound(NodeIndex at, NodeIndex from, Time notice) {
  const auto found = inbound_.find({at, from});
  if (found == inbound_.end()) return;
  world_.scheduler.after(notice, [this, at, from, number = found->second] {
    const auto still = inbound_.find({at, from});
    if (still != inbound_.end() && still->second == number) inbound_.erase(still);
  });
}

void Network::break_link(NodeIndex from, NodeIndex to, Time notice) {
  const auto found = links_.find({from, to});
  if (found == links_.end()) return;
  world_.scheduler.after(notice, [this, from, to, number = found->second.number] {
    const auto link = links_.find({from, to});
    if (link == links_.end() || link->second.number != number) return;
    node(from).hand([this, from, to, number] {
      const auto still = links_.find({from, to});
      if (still == links_.end() || still->second.number != number) return;
      links_.erase(still);
      const auto inbound = inbound_.find({to, from});
      if (inbound != inbound_.end() && inbound->second == number) inbound_.erase(inbound);
      world_.tell(node(from).name(), "loses its link to " + node(to).name());
      node(from).replica().link_down(node(to).name());
      node(from).poke();
      start_dialling(from, to);
    });
  });
}

void Network::reset(NodeIndex a, NodeIndex b) {
  break_link(a, b, delay());
  break_link(b, a, delay());
}

void Network::cut(NodeIndex from, NodeIndex to) {
  if (is_cut(from, to)) return;
  const std::uint64_t this_cut = next_cut_++;
  cut_[{from, to}] = this_cut;
  world_.tell("network", node(from).name() + " -> " + node(to).name() + " is cut");
  for (const auto& [dialler, listener] : {Pair{from, to}, Pair{to, from}}) {
    const auto link = links_.find({dialler, listener});
    if (link == links_.end()) continue;
    const Time patience = world_.random.between(silence_noticed / 5, silence_noticed);
    world_.scheduler.after(patience, [this, from, to, this_cut, dialler, listener, number = link->second.number] {
      const auto still = links_.find({dialler, listener});
      const auto cut = cut_.find({from, to});
      if (cut != cut_.end() && cut->second == this_cut && still != links_.end() && still->second.number == number) {
        break_link(dialler, listener, 0);
      }
    });
  }
}

void Network::heal(NodeIndex from, NodeIndex to) {
  if (cut_.erase({from, to}) == 0) return;
  world_.tell("network", node(from).name() + " -> " + node(to).name() + " is healed");
  // What TCP has kept is sent again.
  for (const bool answer : {false, true}) {
    const auto found = links_.find(answer ? Pair{to, from} : Pair{from, to});
    if (found == links_.end()) continue;
    const Stream& stream = answer ? found->second.answered : found->second.asked;
    const Time when = delay();
    for (std::size_t i = 0; i < stream.on_its_way.size(); ++i) {
      world_.scheduler.after(when, [this, from, to, answer, number = found->second.number] {
        arrive_in_order(from, to, answer, number);
      });
    }
  }
}

void Network::make_reliable(NodeIndex a, NodeIndex b) {
  for (const Pair& pair : {Pair{a, b}, Pair{b, a}}) {
    reliable_.insert(pair);
    last_arrival_.erase(pair);  // what is late still stays so, and holds up nothing
  }
}

// ---- Messages

// As server/peers.cpp: requests leave on the link that this server has dialled, answers on the one by which the
// other has; where there is none the message is lost.
Network::Link* Network::link_for(NodeIndex from, NodeIndex to, bool answer) {
  const auto found = links_.find(answer ? Pair{to, from} : Pair{from, to});
  if (found == links_.end()) return nullptr;
  if (!answer) return &found->second;
  const auto inbound = inbound_.find({from, to});
  return inbound != inbound_.end() && inbound->second == found->second.number ? &found->second : nullptr;
}

void Network::send(NodeIndex from, PeerMessage message) {
  NodeIndex to = 0;
  while (node(to).name() != message.peer.name) ++to;
  const bool answer = is_answer(message);
  if (!link_for(from, to, answer)) return;
  mix_into(world_.hash, message);
  const bool in_order = std::holds_alternative<message::Forward>(message.body) ||
                        std::holds_alternative<message::ForwardOk>(message.body);
  if (!in_order) {
    if (auto* body = std::get_if<raft::Message>(&message.body)) *body = over_the_wire(*body);
    send_raft(from, to, std::move(message));
  } else {
    tell_sent(from, message, "");
    send_in_order(from, to, answer, std::move(message));
  }
}

void Network::tell_sent(NodeIndex from, const PeerMessage& message, const char* fate) const {
  if (!world_.tells()) return;
  world_.tell(nodes_[from]->name(), "-> " + message.peer.name + "  " + describe(message) + fate);
}

void Network::send_in_order(NodeIndex from, NodeIndex to, bool answer, PeerMessage message) {
  Link& link = *link_for(from, to, answer);
  Stream& stream = answer ? link.answered : link.asked;
  stream.on_its_way.push_back(std::move(message));
  stream.last_arrival = std::max(stream.last_arrival, world_.now() + delay(from, to));
  world_.scheduler.at(stream.last_arrival, [this, from, to, answer, number = link.number] {
    arrive_in_order(from, to, answer, number);
  });
}

void Network::arrive_in_order(NodeIndex from, NodeIndex to, bool answer, std::uint64_t number) {
  const auto found = links_.find(answer ? Pair{to, from} : Pair{from, to});
  if (found == links_.end() || found->second.number != number || is_cut(from, to)) return;
  if (!answer && found->second.listener != node(to).process()) return;
  Stream& stream = answer ? found->second.answered : found->second.asked;
  if (stream.on_its_way.empty()) return;
  PeerMessage message = std::move(stream.on_its_way.front());
  stream.on_its_way.pop_front();
  arrive(from, to, node(from).identity(), node(to).identity(), message);
}

void Network::send_raft(NodeIndex from, NodeIndex to, PeerMessage message) {
  const Plan& plan = world_.plan;
  const bool reliable = reliable_.contains({from, to});
  int copies = 1;
  Time when = world_.now() + delay(from, to);
  if (!reliable && world_.random.percent(plan.lost_percent)) {
    world_.coverage.note(Fault::message_lost);
    copies = 0;
  } else if (!reliable && world_.random.percent(plan.twice_percent)) {
    world_.coverage.note(Fault::message_twice);
    copies = 2;
  }
  if (!reliable && world_.random.percent(plan.late_percent)) {
    world_.coverage.note(Fault::message_late);
    const Time late = world_.random.one_in(2) ? 100 * ms : 2 * plan.election_timeout();
    when += world_.random.skewed(late);
  }
  if (reliable || !plan.has(Fault::message_overtaken)) {
    when = std::max(when, last_arrival_[{from, to}]);
    last_arrival_[{from, to}] = when;
  } else {
    Time& latest = latest_[{from, to}];
    if (copies > 0 && when < latest) world_.coverage.note(Fault::message_overtaken);
    latest = std::max(latest, when);
  }
  tell_sent(from, message, copies == 0 ? "  (lost)" : copies == 2 ? "  (twice)" : "");
  for (; copies > 0; --copies) {
    world_.scheduler.at(
        when, [this, from, to, message, from_identity = node(from).identity(), to_identity = node(to).identity()] {
          arrive(from, to, from_identity, to_identity, message);
        });
    when += delay();
  }
}

void Network::arrive(NodeIndex from, NodeIndex to, const std::string& from_identity, const std::string& to_identity,
                     const PeerMessage& message) {
  if (!node(to).is_up() || node(to).identity() != to_identity) return;
  if (is_cut(from, to)) {
    // TCP keeps it and sends it again, as long as there is the connection.
    if (!link_for(from, to, is_answer(message))) return;
    const Time again = world_.random.between(1, 100) * ms;
    world_.scheduler.after(again, [this, from, to, from_identity, to_identity, message] {
      arrive(from, to, from_identity, to_identity, message);
    });
    return;
  }
  PeerMessage received{raft::NodeId(node(from).name()), message.body};
  node(to).hand([this, from, to, from_identity, received = std::move(received)] {
    Node& here = node(to);
    if (!here.replica().receive(received, from_identity)) {
      // As server/peers.cpp: the connection is closed.
      return break_link(is_answer(received) ? to : from, is_answer(received) ? from : to, 0);
    }
    judge_.received(here.name(), here.replica(), node(from).name(), from_identity);
    here.poke();
  });
}

}  // namespace kv::sim
