#include "server/store.hpp"

#include <xxhash.h>

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <utility>

#include "common/overloaded.hpp"

namespace kv {
namespace {

// Each string is preceded by its length, so that no two contents run together to the same bytes.
class Digest {
 public:
  void number(std::uint64_t value) { hash_ = XXH3_64bits_withSeed(&value, sizeof value, hash_); }
  void text(std::string_view text) {
    number(text.size());
    hash_ = XXH3_64bits_withSeed(text.data(), text.size(), hash_);
  }
  std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0;
};

// An outcome as a session keeps it.
snapshot::Answer answer_of(std::uint64_t seq, const Outcome& outcome) {
  using snapshot::Answer;
  using snapshot::Kind;
  return std::visit(
      Overloaded{[&](const Written& written) {
                   return Answer{seq, Kind::written, written.ts};
                 },
                 [&](const Deleted& deleted) {
                   return Answer{seq, deleted.found ? Kind::deleted : Kind::deleted_absent, deleted.ts};
                 },
                 [&](const Conflict& conflict) {
                   return Answer{seq, Kind::conflict, conflict.current_ts};
                 },
                 [&](const SessionExpired&) {
                   return Answer{seq, Kind::session_expired, 0};
                 },
                 [](const MembersNoted&) -> Answer { std::abort(); }},  // names no session
      outcome);
}

Outcome outcome_of(const snapshot::Answer& answer) {
  switch (answer.kind) {
    case snapshot::Kind::written:
      return Written{answer.number};
    case snapshot::Kind::deleted:
      return Deleted{answer.number, true};
    case snapshot::Kind::deleted_absent:
      return Deleted{answer.number, false};
    case snapshot::Kind::conflict:
      return Conflict{answer.number};
    case snapshot::Kind::session_expired:
      break;
  }
  return SessionExpired{};
}

}  // namespace

Applied Store::apply(std::uint64_t position, const command::Command& command) {
  assert(position > position_);
  position_ = position;
  if (const auto* members = std::get_if<command::Members>(&command)) {
    members_ = *members;
    return {MembersNoted{}, {}};
  }
  if (const auto* put = std::get_if<command::Put>(&command)) {
    return put->session ? once(position, *put->session, *put) : perform(position, *put);
  }
  const auto& del = std::get<command::Delete>(command);
  return del.session ? once(position, *del.session, del) : perform(position, del);
}

const Item* Store::find(std::string_view key) const {
  return items_.find(key);
}

Applied Store::perform(std::uint64_t position, const command::Put& put) {
  const Item* old = items_.find(put.key);
  const std::uint64_t old_ts = old ? old->ts() : 0;
  if (put.if_ts && *put.if_ts != old_ts) return {Conflict{old_ts}, {}};
  Item::Owner item = Item::make(put.key, put.value, position);
  count(*item);
  retire(items_.put(std::move(item)));
  return {Written{position}, {Change{put.key, old_ts, position}}};
}

Applied Store::perform(std::uint64_t position, const command::Delete& del) {
  const Item* old = items_.find(del.key);
  const std::uint64_t old_ts = old ? old->ts() : 0;
  if (del.if_ts && *del.if_ts != old_ts) return {Conflict{old_ts}, {}};
  if (!old) return {Deleted{position, false}, {}};
  retire(items_.remove(del.key));
  return {Deleted{position, true}, {Change{del.key, old_ts, 0}}};
}

void Store::count(const Item& item) {
  bytes_ += item.key().size() + item.value().size();
  content_digest_ += snapshot::item_digest(item.key(), item.value(), item.ts());
}

// Takes an item that has left the map, if one has.
void Store::retire(Item::Owner item) {
  if (!item) return;
  bytes_ -= item->key().size() + item->value().size();
  content_digest_ -= snapshot::item_digest(item->key(), item->value(), item->ts());
  if (walk_) walk_->keep(std::move(item));
}

Applied Store::once(std::uint64_t position, const command::Session& asked, const auto& command) {
  WriteSession* session = enter(position, asked);
  if (!session || asked.seq <= session->dropped_through) return {SessionExpired{}, {}};
  if (const snapshot::Answer* first = session->find(asked.seq)) return {outcome_of(*first), {}};
  Applied applied = perform(position, command);
  session->add(answer_of(asked.seq, applied.outcome));
  return applied;
}

std::uint64_t Store::digest() const {
  Digest digest;
  digest.number(items_.size());
  for (const Item& item : items_) {
    digest.text(item.key());
    digest.text(item.value());
    digest.number(item.ts());
  }
  digest.text(members_ ? command::encode(*members_) : std::string());
  digest.number(forgotten_through_);
  digest.number(sessions_.size());
  for (const auto& [id, session] : sessions_) {
    digest.text(id);
    digest.number(session.last_position);
    digest.number(session.dropped_through);
    digest.number(session.answers.size());
    for (const snapshot::Answer& answer : session.answers) {
      digest.number(answer.seq);
      digest.number(static_cast<std::uint64_t>(answer.kind));
      digest.number(answer.number);
    }
  }
  return digest.value();
}

// The session's state, new where it may be; nullptr: it might be one that was forgotten.
WriteSession* Store::enter(std::uint64_t position, const command::Session& asked) {
  auto found = sessions_.find(asked.id);
  if (found == sessions_.end()) {
    if (asked.from < forgotten_through_) return nullptr;
    if (sessions_.size() >= max_sessions_) forget_the_idlest();
    found = sessions_.emplace(asked.id, WriteSession{}).first;
  } else {
    if (walk_ && walk_->wants(found->first, found->second)) walk_->keep(found->first, found->second);
    sessions_by_use_.erase(found->second.last_position);
  }
  found->second.last_position = position;
  sessions_by_use_.emplace(position, &found->first);
  return &found->second;
}

void Store::forget_the_idlest() {
  const auto idlest = sessions_by_use_.begin();
  forgotten_through_ = std::max(forgotten_through_, idlest->first);
  WriteSessions::node_type session = sessions_.extract(*idlest->second);
  sessions_by_use_.erase(idlest);
  if (walk_ && walk_->wants(session.key(), session.mapped())) walk_->keep(std::move(session));
}

void Store::begin_walk() {
  assert(!walk_);
  walk_.emplace(position_, totals(), members_ ? command::encode(*members_) : std::string(), forgotten_through_);
}

bool Store::walk(std::size_t bytes, std::string& records) {
  assert(walk_);
  return walk_->step(items_, sessions_, bytes, records);
}

snapshot::Totals Store::walk_totals() const {
  assert(walk_);
  return walk_->totals();
}

}  // namespace kv
