#include "tests/sim/followers.hpp"

#include <algorithm>
#include <utility>

#include "tests/sim/describe.hpp"

namespace kv::sim {
namespace {

constexpr Time reconnect_pause = 100 * ms;
constexpr Time patience = 500 * ms;     // between two looks at whether the other side is still there
constexpr std::uint64_t list_ms = 500;  // then it is asked for elsewhere
constexpr std::uint64_t far = 20;       // positions

}  // namespace

Followers::Followers(World& world, const Judge& judge, std::vector<std::unique_ptr<Node>>& nodes,
                     Connections& connections)
    : world_(world), judge_(judge), nodes_(nodes), connections_(connections) {}

void Followers::start() {
  for (std::size_t i = 0; i < world_.plan.followers; ++i) {
    Follower& follower = followers_.emplace_back();
    follower.name = "w" + std::to_string(i + 1);
    for (NodeIndex node = 0; node < nodes_.size(); ++node) follower.servers.push_back(node);
    for (std::uint64_t left = world_.random.between(1, 3); left > 0; --left) {
      follower.watches.push_back(draw_watch());
    }
    connect(i);
    look_after(i);
    act(i);
  }
}

Followers::Watch Followers::draw_watch() {
  static const std::vector<std::string> prefixes = {"", "k", "kk", "none"};
  Watch watch;
  if (world_.random.one_in(2)) {
    watch.what.key = world_.plan.key(world_.random.below(world_.plan.keys));
  } else {
    watch.what.prefix = world_.random.pick(prefixes);
  }
  return watch;
}

void Followers::calm(const std::vector<NodeIndex>& nodes) {
  calm_ = true;
  for (Follower& follower : followers_) {
    follower.servers = nodes;
    const bool stays = follower.connection && std::find(nodes.begin(), nodes.end(),
                                                        connections_.node(*follower.connection)) != nodes.end();
    if (!stays) {
      go_elsewhere(follower);
    } else if (std::exchange(follower.takes_nothing, false)) {
      connections_.take_events(*follower.connection, true);
    }
  }
}

bool Followers::has_all(Watch& watch) {
  if (watch.given_up) return true;
  return watch.state == State::live && !watch.feed->missing(judge_.model(), judge_.committed());
}

bool Followers::have_all() {
  return std::all_of(followers_.begin(), followers_.end(), [this](Follower& follower) {
    return std::all_of(follower.watches.begin(), follower.watches.end(),
                       [this](Watch& watch) { return has_all(watch); });
  });
}

std::string Followers::who_waits() {
  for (Follower& follower : followers_) {
    for (Watch& watch : follower.watches) {
      if (has_all(watch)) continue;
      return follower.name + " has " + (watch.feed ? std::to_string(watch.feed->complete()) : "nothing") + " of " +
             std::to_string(judge_.committed()) + " positions of " +
             describe(message::Request{0, {}, {}, watch.what});
    }
  }
  return "nobody";
}

// ---- Connections

void Followers::connect(std::size_t index) {
  Follower& follower = followers_[index];
  if (follower.connection || std::exchange(follower.connecting, true)) return;
  world_.scheduler.after(world_.random.skewed(reconnect_pause), [this, index] {
    Follower& connecting = followers_[index];
    connecting.connecting = false;
    const NodeIndex to = world_.random.pick(connecting.servers);
    if (!nodes_[to]->is_up()) return connect(index);
    Connections::Ends ends{[this, index](const message::Answer& answer) { arrive(index, answer); },
                           [this, index] { lose(index); }};
    connecting.connection = connections_.open(connecting.name, to, std::move(ends));
    for (Watch& watch : connecting.watches) {
      if (!watch.given_up) ask(connecting, watch);
    }
  });
}

// Whatever it had asked there is asked again at the next server.
void Followers::lose(std::size_t index) {
  go_elsewhere(followers_[index]);
}

void Followers::go_elsewhere(Follower& follower) {
  if (follower.connection) connections_.close(*std::exchange(follower.connection, std::nullopt));
  follower.takes_nothing = false;
  for (Watch& watch : follower.watches) {
    watch.state = State::idle;
    if (watch.feed) watch.feed->resume();
  }
  connect(static_cast<std::size_t>(
      std::find_if(followers_.begin(), followers_.end(), [&](const Follower& f) { return &f == &follower; }) -
      followers_.begin()));
}

// A connection to a machine that is silent is given up after a while.
void Followers::look_after(std::size_t index) {
  world_.scheduler.after(patience, [this, index] {
    Follower& follower = followers_[index];
    if (follower.connection && !connections_.leads_somewhere(*follower.connection)) go_elsewhere(follower);
    for (Watch& watch : follower.watches) {
      if (follower.connection && watch.state == State::idle && !watch.given_up) ask(follower, watch);
    }
    look_after(index);
  });
}

// ---- What they do

void Followers::act(std::size_t index) {
  world_.scheduler.after(world_.random.skewed(8 * world_.plan.think), [this, index] {
    if (calm_) return;
    if (followers_[index].connection) disturb(followers_[index]);
    act(index);
  });
}

void Followers::disturb(Follower& follower) {
  const std::uint64_t what = world_.random.below(10);
  Watch& watch = follower.watches[world_.random.below(follower.watches.size())];
  if (what < 3) {
    if (watch.state == State::live) cancel(follower, watch);
  } else if (what < 6) {
    if (world_.plan.has(Fault::events_not_taken)) take_nothing(follower);
  } else if (what == 6) {
    world_.tell(follower.name, "goes to another server");
    go_elsewhere(follower);
  }
}

void Followers::take_nothing(Follower& follower) {
  if (std::exchange(follower.takes_nothing, true)) return;
  world_.coverage.note(Fault::events_not_taken);
  connections_.take_events(*follower.connection, false);
  world_.scheduler.after(world_.random.skewed(4 * world_.plan.think), [this, &follower, id = *follower.connection] {
    if (follower.connection != id || !std::exchange(follower.takes_nothing, false)) return;
    connections_.take_events(id, true);
  });
}

void Followers::send(Follower& follower, std::uint64_t id, decltype(message::Request::body) body) {
  message::Request request;
  request.id = id;
  request.timeout_ms = list_ms;
  request.body = std::move(body);
  connections_.send(*follower.connection, std::move(request));
}

// The first time from anywhere; then from where it was complete.
void Followers::ask(Follower& follower, Watch& watch) {
  if (watch.feed) {
    world_.coverage.note(Fault::watch_resumed);
    watch.what.from_ts = watch.feed->complete();
  } else {
    const std::uint64_t drawn = world_.random.below(4);
    watch.what.from_ts.reset();
    if (drawn == 0) watch.what.from_ts = judge_.committed() + world_.random.below(far);
    if (drawn == 1) watch.what.from_ts = world_.random.below(judge_.committed() + 1);
    if (drawn < 2) world_.coverage.note(drawn == 0 ? Fault::watch_of_the_future : Fault::watch_of_the_past);
  }
  watch.id = connections_.next_request();
  watch.state = State::asked;
  send(follower, watch.id, watch.what);
}

void Followers::cancel(Follower& follower, Watch& watch) {
  world_.coverage.note(Fault::watch_cancelled);
  watch.state = State::cancelling;
  watch.request = connections_.next_request();
  send(follower, watch.request, message::Cancel{watch.id});
}

void Followers::list(Follower& follower, Watch& watch) {
  message::List list;
  list.prefix = watch.what.prefix ? *watch.what.prefix : *watch.what.key;
  list.ts = watch.feed ? watch.feed->complete() : 0;
  watch.state = State::listing;
  watch.request = connections_.next_request();
  send(follower, watch.request, std::move(list));
}

// ---- What they are told

void Followers::arrive(std::size_t index, const message::Answer& answer) {
  Follower& follower = followers_[index];
  for (Watch& watch : follower.watches) {
    const bool watches =
        watch.state == State::asked || watch.state == State::live || watch.state == State::cancelling;
    const bool asks = watch.state == State::cancelling || watch.state == State::listing;
    if (!(watches && answer.id == watch.id) && !(asks && answer.id == watch.request)) continue;
    std::visit([&](const auto& body) { on(follower, watch, body); }, answer.body);
    return;
  }
  world_.check(Rule::nothing_behind_the_end, !std::holds_alternative<message::SharedEvent>(answer.body), [&] {
    return follower.name + " gets an event of a watch that it does not have: " + describe(answer);
  });
}

void Followers::on(Follower&, Watch& watch, const message::WatchOk& ok) {
  watch.state = State::live;
  if (!watch.feed) watch.feed = Feed(watch.what, watch.what.from_ts.value_or(ok.applied));
}

void Followers::on(Follower& follower, Watch& watch, const message::SharedEvent& event) {
  const std::optional<std::string> wrong = watch.feed->take(judge_.model(), event.once->event, event.more);
  world_.check(Rule::watch_in_order, !wrong, [&] { return follower.name + ": " + *wrong; });
}

// It begins again a little later.
void Followers::on(Follower&, Watch& watch, const message::CancelOk&) {
  watch.state = State::idle;
  watch.feed->resume();
}

void Followers::on(Follower& follower, Watch& watch, const message::ListOk& ok) {
  if (!watch.feed) watch.feed = Feed(watch.what, ok.applied);
  watch.feed->skip_to(ok.applied);
  ask(follower, watch);
}

void Followers::on(Follower& follower, Watch& watch, const message::Error& error) {
  const bool is_list = watch.state == State::listing;
  if (watch.state == State::cancelling) return;  // CANCEL_OK comes behind it
  watch.state = State::idle;
  if (watch.feed) watch.feed->resume();
  if (is_list || error.code == message::Code::shutting_down) {
    if (!is_list) world_.coverage.note(Fault::watch_shut_down);
    return go_elsewhere(follower);
  }
  const bool compacted = error.code == message::Code::compacted;
  world_.coverage.note(compacted ? Fault::watch_compacted : Fault::watch_overloaded);
  if (error.oldest) return lost_history(follower, watch);
  watch.given_up = calm_;  // there are too many watches
  if (!calm_ && world_.random.one_in(2)) go_elsewhere(follower);
}

void Followers::lost_history(Follower& follower, Watch& watch) {
  if (!calm_ && world_.random.one_in(2)) return go_elsewhere(follower);
  list(follower, watch);
}

}  // namespace kv::sim
