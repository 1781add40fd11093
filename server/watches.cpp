#include "server/watches.hpp"

#include <algorithm>
#include <utility>

namespace kv {
namespace {

// Of an event beside its key and value.
constexpr std::size_t event_overhead_bytes = 96;

std::size_t bytes_of(const WatchedChange& change) {
  return event_overhead_bytes + change.item->key().size() + (change.deleted ? 0 : change.item->value().size());
}

message::Event event_of(std::uint64_t ts, const WatchedChange& change) {
  if (change.deleted) return {message::Operation::erase, std::string(change.item->key()), std::nullopt, ts, false};
  return {message::Operation::put, std::string(change.item->key()), std::string(change.item->value()), ts, false};
}

}  // namespace

// ---- Changes

void Watches::record(std::uint64_t ts, WatchedChanges changes, std::vector<ClientAnswer>& out) {
  for (WatchedChange& change : changes) {
    bytes_ += bytes_of(change);
    ring_.push_back({ts, std::move(change), nullptr});
    if (!watches_.empty()) tell(end_of_ring() - 1, out);
  }
  trim();
}

// The newest command's changes stay, however many they are.
void Watches::trim() {
  while (ring_.size() > limits_.changes || bytes_ > limits_.change_bytes) {
    const std::uint64_t oldest = ring_.front().ts;
    if (oldest == ring_.back().ts) return;
    floor_ = oldest;
    for (; ring_.front().ts == oldest; ++first_) {
      bytes_ -= bytes_of(ring_.front().changed);
      ring_.pop_front();
    }
  }
}

// Those that have seen all before it.
void Watches::tell(std::uint64_t number, std::vector<ClientAnswer>& out) {
  const std::string_view key = at(number).key();
  if (const auto found = by_key_.find(key); found != by_key_.end()) tell_all(found->second, number, out);
  for (const auto& [length, count] : prefix_lengths_) {
    if (length > key.size()) break;
    const auto found = by_prefix_.find(key.substr(0, length));
    if (found != by_prefix_.end()) tell_all(found->second, number, out);
  }
}

void Watches::tell_all(const std::vector<Watch*>& watches, std::uint64_t number, std::vector<ClientAnswer>& out) {
  for (Watch* watch : watches) {
    if (watch->reads || at(number).ts <= watch->from) continue;
    if (!give(*watch, at(number), out)) read_from(*watch, number);
  }
}

// False: its client cannot take it now.
bool Watches::give(Watch& watch, const Change& change, std::vector<ClientAnswer>& out) {
  // The change before was of the same command, and now it is known not to have been the last.
  if (watch.last_ts == change.ts && watch.last_at < out.size()) {
    ClientAnswer& last = out[watch.last_at];
    if (last.client == watch.id.first && last.answer.id == watch.id.second) {
      auto* event = std::get_if<message::SharedEvent>(&last.answer.body);
      if (event && event->once->event.ts == change.ts) event->more = true;
    }
  }
  if (!has_room(clients_[watch.id.first], bytes_of(change.changed))) return false;
  if (!change.event) {
    change.event = std::make_shared<message::SharedEvent::Once>();
    change.event->event = event_of(change.ts, change.changed);
  }
  watch.last_ts = change.ts;
  watch.last_at = out.size();
  out.push_back({watch.id.first, {watch.id.second, message::SharedEvent{change.event, false}}, true});
  return true;
}

bool Watches::has_room(Client& client, std::size_t bytes) {
  if (client.turn != turn_) {
    client.turn = turn_;
    client.bytes = 0;
  }
  if (!client.has_room || client.bytes >= limits_.client_bytes_a_turn || bytes_this_turn_ >= limits_.bytes_a_turn) {
    return false;
  }
  client.bytes += bytes;
  bytes_this_turn_ += bytes;
  return true;
}

void Watches::read_from(Watch& watch, std::uint64_t number) {
  watch.reads = true;
  watch.next = number;
  Client& client = clients_[watch.id.first];
  if (client.has_room) {
    reading_.insert(watch.id);
  } else {
    client.waiting.push_back(watch.id);
  }
}

void Watches::turn(std::vector<ClientAnswer>& out) {
  ++turn_;
  bytes_this_turn_ = 0;
  std::size_t looked_at = 0;
  for (std::size_t left = reading_.size(); left > 0 && !reading_.empty(); --left) {
    if (bytes_this_turn_ >= limits_.bytes_a_turn || looked_at >= limits_.looked_at_a_turn) return;
    auto next = reading_.upper_bound(last_read_);
    if (next == reading_.end()) next = reading_.begin();
    last_read_ = *next;
    Watch& watch = watches_.at(*next);
    const std::uint64_t before = watch.next;
    if (read_on(watch, out)) looked_at += watch.next - before;
  }
}

// False: the watch has ended.
bool Watches::read_on(Watch& watch, std::vector<ClientAnswer>& out) {
  Client& client = clients_[watch.id.first];
  if (!client.has_room) {
    reading_.erase(watch.id);
    client.waiting.push_back(watch.id);
    return true;
  }
  if (watch.next < first_) {
    message::Error error =
        message::make_error(message::Code::overloaded,
                            "this watch has been read too slowly: changes that it has not seen are no longer known "
                            "here; list what there is, and watch from there");
    error.oldest = floor_ + 1;
    refuse(watch.id, std::move(error), true, out);
    end(watch);
    return false;
  }
  const std::uint64_t most = watch.next + limits_.looked_at_a_turn;
  for (; watch.next < end_of_ring(); ++watch.next) {
    const Change& change = at(watch.next);
    // Not in the middle of what one command did: its last event must not look like one that another follows, or the
    // other way round.
    if (watch.next >= most && at(watch.next - 1).ts != change.ts) return true;
    if (change.ts <= watch.from || !watch.matches(change.key())) continue;
    if (!give(watch, change, out)) return true;
  }
  watch.reads = false;
  reading_.erase(watch.id);
  return true;
}

void Watches::reset(std::uint64_t position, std::vector<ClientAnswer>& out) {
  first_ = end_of_ring();
  ring_.clear();
  bytes_ = 0;
  floor_ = std::max(floor_, position);
  for (auto item = watches_.begin(); item != watches_.end();) {
    Watch& watch = (item++)->second;
    if (watch.from >= floor_) continue;
    refuse(watch.id, compacted(), true, out);
    end(watch);
  }
}

message::Error Watches::compacted() const {
  message::Error error = message::make_error(
      message::Code::compacted, node_ + " knows the changes from " + std::to_string(floor_ + 1) +
                                    " on, and no older ones: list what there is, and watch from there");
  error.oldest = floor_ + 1;
  return error;
}

// ---- Clients

void Watches::refuse(Id id, message::Error error, bool unasked, std::vector<ClientAnswer>& out) {
  out.push_back({id.first, {id.second, std::move(error)}, unasked});
}

void Watches::watch(ClientId client, std::uint64_t id, const message::Watch& asked, std::uint64_t applied,
                    std::vector<ClientAnswer>& out) {
  const Id key{client, id};
  if (watches_.contains(key)) {
    refuse(key, message::make_error(message::Code::bad_request, "this connection has a watch with this id already"),
           false, out);
    return;
  }
  if (watches_.size() >= limits_.watches) {
    refuse(key, message::make_error(message::Code::overloaded, node_ + " has too many watches: try another server"),
           false, out);
    return;
  }
  const std::uint64_t from = asked.from_ts.value_or(applied);
  if (from < floor_) {
    refuse(key, compacted(), false, out);
    return;
  }
  out.push_back({client, {id, message::WatchOk{applied, node_}}});

  Watch& watch = watches_[key];
  watch.id = key;
  watch.is_prefix = asked.prefix.has_value();
  watch.what = asked.prefix ? *asked.prefix : asked.key.value_or("");
  watch.from = from;
  clients_[client].watches.insert(id);
  std::vector<Watch*>& alike = (watch.is_prefix ? by_prefix_ : by_key_)[watch.what];
  if (watch.is_prefix && alike.empty()) ++prefix_lengths_[watch.what.size()];
  alike.push_back(&watch);
  const auto first = std::upper_bound(ring_.begin(), ring_.end(), from,
                                      [](std::uint64_t ts, const Change& change) { return ts < change.ts; });
  if (first != ring_.end()) read_from(watch, first_ + static_cast<std::uint64_t>(first - ring_.begin()));
}

bool Watches::cancel(ClientId client, std::uint64_t id) {
  const auto found = watches_.find({client, id});
  if (found == watches_.end()) return false;
  end(found->second);
  return true;
}

// Also of one that has no watch now: the next one it asks for must wait too.
void Watches::client_has_room(ClientId id, bool has_room) {
  if (!has_room) {
    clients_[id].has_room = false;
    return;
  }
  const auto found = clients_.find(id);
  if (found == clients_.end()) return;
  found->second.has_room = true;
  for (const Id& watch : std::exchange(found->second.waiting, {})) reading_.insert(watch);
  forget_idle(found);
}

void Watches::client_gone(ClientId id) {
  const auto found = clients_.find(id);
  if (found == clients_.end()) return;
  for (const std::uint64_t watch : std::set(found->second.watches)) cancel(id, watch);
  clients_.erase(id);
}

// Nothing is known of it that is not so of any.
void Watches::forget_idle(Clients::iterator client) {
  if (client->second.watches.empty() && client->second.has_room) clients_.erase(client);
}

void Watches::stop(std::vector<ClientAnswer>& out) {
  while (!watches_.empty()) {
    Watch& watch = watches_.begin()->second;
    refuse(watch.id,
           message::make_error(message::Code::shutting_down, node_ + " is stopping: watch on at another server"),
           true, out);
    end(watch);
  }
}

void Watches::end(Watch& watch) {
  const Id id = watch.id;
  unindex(watch);
  reading_.erase(id);
  const auto client = clients_.find(id.first);
  std::erase(client->second.waiting, id);
  client->second.watches.erase(id.second);
  forget_idle(client);
  watches_.erase(id);
}

void Watches::unindex(const Watch& watch) {
  Index& index = watch.is_prefix ? by_prefix_ : by_key_;
  const auto alike = index.find(watch.what);
  std::erase(alike->second, &watch);
  if (!alike->second.empty()) return;
  index.erase(alike);
  if (!watch.is_prefix) return;
  const auto length = prefix_lengths_.find(watch.what.size());
  if (--length->second == 0) prefix_lengths_.erase(length);
}

}  // namespace kv
