#include "tests/sim/watch_judge.hpp"

#include <algorithm>

namespace kv::sim {
namespace {

// What a server counts for a change beside its key and value (server/watches.cpp).
constexpr std::size_t change_overhead_bytes = 96;

std::size_t bytes_of(const Model::Change& change) {
  return change_overhead_bytes + change.key.size() + (change.value ? change.value->size() : 0);
}

std::string spell(std::pair<ClientId, std::uint64_t> id) {
  return "watch " + std::to_string(id.second) + " of client " + std::to_string(id.first);
}

}  // namespace

// ---- Servers

void WatchJudge::started(const std::string& name, std::uint64_t stored, std::uint64_t applied) {
  Node& node = nodes_[name] = Node{};
  node.floor = stored;
  node.ring_begin = node.ring_end = model_.first_change_after(stored);
  extend(node, applied);
}

void WatchJudge::installed(const std::string& name, std::uint64_t position) {
  Node& node = nodes_.at(name);
  node.applied = position;
  node.floor = std::max(node.floor, position);
  node.installed = node.floor;
  node.ring_begin = node.ring_end = model_.first_change_after(position);
  node.ring_bytes = 0;
}

void WatchJudge::applied(const std::string& name, std::uint64_t position) {
  Node& node = nodes_.at(name);
  if (position > node.applied) extend(node, position);
}

// The ring keeps the newest changes, those of one position together, as many as its limits allow.
void WatchJudge::extend(Node& node, std::uint64_t applied) {
  const auto& changes = model_.changes();
  node.applied = applied;
  for (; node.ring_end < changes.size() && changes[node.ring_end].ts <= applied; ++node.ring_end) {
    node.ring_bytes += bytes_of(changes[node.ring_end]);
  }
  const WatchLimits& limits = world_.plan.watch_limits;
  while (node.ring_end - node.ring_begin > limits.changes || node.ring_bytes > limits.change_bytes) {
    const std::uint64_t oldest = changes[node.ring_begin].ts;
    if (oldest == changes[node.ring_end - 1].ts) return;
    node.floor = oldest;
    for (; changes[node.ring_begin].ts == oldest; ++node.ring_begin) {
      node.ring_bytes -= bytes_of(changes[node.ring_begin]);
    }
  }
}

// Whoever takes what it is told knows all that its server knows.
void WatchJudge::flushed(const std::string& name, bool has_more) {
  Node& node = nodes_.at(name);
  node.installed.reset();
  if (has_more) return;
  for (const Id& id : node.live) {
    if (take_nothing_.contains(id.first)) continue;
    Live& watch = live_.at(id);
    const Model::Change* missing = watch.feed.missing(model_, node.applied);
    world_.check(Rule::watch_complete, !missing, [&] {
      return name + " has applied " + std::to_string(node.applied) + " and has not told " + spell(id) +
             " of the change of '" + missing->key + "' at " + std::to_string(missing->ts);
    });
    watch.looked_through = std::max(watch.looked_through, node.applied);
  }
}

void WatchJudge::stopped(const std::string& name) {
  const Node& node = nodes_.at(name);
  world_.check(Rule::watch_ends_for_cause, node.live.empty(),
               [&] { return name + " has stopped in order and has not told " + spell(*node.live.begin()); });
}

void WatchJudge::ended(const std::string& name) {
  nodes_.erase(name);
  std::erase_if(live_, [&](const auto& item) { return item.second.node == name; });
  std::erase_if(asked_, [&](const auto& item) { return item.second.node == name; });
}

// ---- Clients

void WatchJudge::asked(const std::string& name, ClientId client, std::uint64_t id, const message::Watch& watch) {
  const Node& node = nodes_.at(name);
  const auto asked =
      std::count_if(asked_.begin(), asked_.end(), [&](const auto& item) { return item.second.node == name; });
  const std::size_t watches = node.live.size() + static_cast<std::size_t>(asked);
  asked_[{client, id}] = {name, watch, node.applied, node.floor, watches};
}

void WatchJudge::takes_events(ClientId client, bool takes) {
  if (takes) {
    take_nothing_.erase(client);
  } else {
    take_nothing_.insert(client);
  }
}

void WatchJudge::gone(ClientId client) {
  for (auto item = live_.lower_bound({client, 0}); item != live_.end() && item->first.first == client;) {
    remove(item++);
  }
  asked_.erase(asked_.lower_bound({client, 0}), asked_.lower_bound({client + 1, 0}));
}

void WatchJudge::remove(std::map<Id, Live>::iterator watch) {
  nodes_.at(watch->second.node).live.erase(watch->first);
  live_.erase(watch);
}

// ---- Answers

void WatchJudge::answers(ClientId client, std::uint64_t id, const message::WatchOk& ok) {
  const Id key{client, id};
  const Asked asked = std::move(asked_.extract(key).mapped());
  world_.check(Rule::watch_complete, ok.applied == asked.applied && asked.from() >= asked.floor, [&] {
    return asked.node + " takes " + spell(key) + " from " + std::to_string(asked.from()) + ", applied " +
           std::to_string(ok.applied) + "; it had applied " + std::to_string(asked.applied) +
           " and knew the changes after " + std::to_string(asked.floor);
  });
  live_[key] = {asked.node, asked.from(), asked.from(), Feed(asked.watch, asked.from())};
  nodes_.at(asked.node).live.insert(key);
}

// The WATCH is refused.
void WatchJudge::answers(ClientId client, std::uint64_t id, const message::Error& error) {
  const Id key{client, id};
  const Asked asked = std::move(asked_.extract(key).mapped());
  bool right = false;
  if (error.code == message::Code::compacted) {
    right = asked.from() < asked.floor && error.oldest == asked.floor + 1;
  } else if (error.code == message::Code::overloaded) {
    right = asked.watches >= world_.plan.watch_limits.watches;
  } else {
    right = error.code == message::Code::shutting_down;
  }
  world_.check(Rule::watch_ends_for_cause, right, [&] {
    return asked.node + " refuses " + spell(key) + " from " + std::to_string(asked.from()) + " with " +
           std::string(message::name_of(error.code)) + ", oldest " + std::to_string(error.oldest.value_or(0)) +
           ", and knows the changes after " + std::to_string(asked.floor);
  });
}

void WatchJudge::answers(ClientId client, const message::CancelOk& ok) {
  const Id key{client, ok.watch};
  const auto found = live_.find(key);
  const bool lives = found != live_.end();
  // A snapshot that was just taken over may have ended it, which is not told any more.
  const bool may_have_ended = lives && nodes_.at(found->second.node).installed;
  world_.check(Rule::nothing_behind_the_end, ok.found == lives || may_have_ended,
               [&] { return spell(key) + (lives ? " goes on" : " has ended") + " and CANCEL_OK says otherwise"; });
  if (lives) remove(found);
}

void WatchJudge::tells(const ClientAnswer& said) {
  const Id key{said.client, said.answer.id.value_or(0)};
  const auto found = live_.find(key);
  world_.check(Rule::nothing_behind_the_end, found != live_.end(),
               [&] { return spell(key) + " is told something, though it has ended or never begun"; });
  Live& watch = found->second;
  if (const auto* error = std::get_if<message::Error>(&said.answer.body)) {
    check_end(key, watch, *error);
    return remove(found);
  }
  const auto* event = std::get_if<message::SharedEvent>(&said.answer.body);
  world_.check(Rule::one_final_answer, event != nullptr,
               [&] { return spell(key) + " is told what is neither an event nor its end"; });
  world_.check(Rule::events_only_when_taken, !take_nothing_.contains(said.client),
               [&] { return spell(key) + " gets an event, though its client takes none"; });
  const std::optional<std::string> wrong = watch.feed.take(model_, event->once->event, event->more);
  world_.check(Rule::watch_in_order, !wrong && event->once->event.ts <= nodes_.at(watch.node).applied, [&] {
    return watch.node + ", " + spell(key) + ": " + wrong.value_or("an event of what is not applied");
  });
}

void WatchJudge::check_end(const Id& id, const Live& watch, const message::Error& error) {
  const Node& node = nodes_.at(watch.node);
  bool right = false;
  if (error.code == message::Code::compacted) {
    right = node.installed && watch.from < *node.installed && error.oldest == *node.installed + 1;
  } else if (error.code == message::Code::overloaded) {
    right = watch.looked_through < node.floor && error.oldest == node.floor + 1;
  } else {
    right = error.code == message::Code::shutting_down;
  }
  world_.check(Rule::watch_ends_for_cause, right, [&] {
    return watch.node + " ends " + spell(id) + ", which has all up to " + std::to_string(watch.looked_through) +
           ", with " + std::string(message::name_of(error.code)) + ", oldest " +
           std::to_string(error.oldest.value_or(0)) + "; it knows the changes after " + std::to_string(node.floor);
  });
}

}  // namespace kv::sim
