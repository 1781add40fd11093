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

}  // namespace

Applied Store::apply(std::uint64_t position, const command::Command& command) {
  assert(position > position_);
  position_ = position;
  deletions_.advance(position);
  return std::visit(Overloaded{[&](const command::Members& members) {
                                 members_ = members;
                                 return Applied{MembersNoted{}, {}};
                               },
                               [&](const auto& write) {
                                 return write.session ? once(position, *write.session, write)
                                                      : perform(position, write);
                               }},
                    command);
}

const Item* Store::find(std::string_view key) const {
  return items_.find(key);
}

Applied Store::perform(std::uint64_t position, const command::Put& put_command) {
  if (put_command.if_ts) {
    const std::uint64_t old_ts = ts_of(put_command.key);
    if (*put_command.if_ts != old_ts) return {Conflict{old_ts}, {}};
  }
  return {Written{position}, {put(position, put_command.key, put_command.value)}};
}

Applied Store::perform(std::uint64_t position, const command::Delete& del) {
  const std::uint64_t old_ts = ts_of(del.key);
  if (del.if_ts && *del.if_ts != old_ts) return {Conflict{old_ts}, {}};
  if (old_ts == 0) return {Deleted{position, false}, {}};
  return {Deleted{position, true}, {erase(position, del.key)}};
}

std::uint64_t Store::ts_of(std::string_view key) const {
  const Item* item = items_.find(key);
  return item ? item->ts() : 0;
}

Change Store::put(std::uint64_t position, std::string_view key, std::string_view value) {
  Item::Ref item = Item::make(key, value, position);
  count(*item);
  Item::Ref old = items_.put(item);
  const std::uint64_t old_ts = old ? old->ts() : 0;
  if (!old) deletions_.forget(key);
  retire(std::move(old));
  return {std::move(item), old_ts, position};
}

// The key is there.
Change Store::erase(std::uint64_t position, std::string_view key) {
  deletions_.add(position, key);
  Item::Ref old = items_.remove(key);
  const std::uint64_t old_ts = old->ts();
  retire(old);
  return {std::move(old), old_ts, 0};
}

void Store::count(const Item& item) {
  bytes_ += item.key().size() + item.value().size();
  content_digest_ += item.digest();
}

// Takes an item that has left the map, if one has.
void Store::retire(Item::Ref item) {
  if (!item) return;
  bytes_ -= item->key().size() + item->value().size();
  content_digest_ -= item->digest();
  if (walk_) walk_->keep(std::move(item));
}

Applied Store::once(std::uint64_t position, const command::Session& asked, const auto& command) {
  WriteSession* session = enter(position, asked);
  if (!session || asked.seq <= session->dropped_through) return {SessionExpired{}, {}};
  if (const snapshot::Answer* first = session->find(asked.seq)) return {outcome_of(*first), {}};
  Applied applied = perform(position, command);
  keep_answer(*session, kept_answer(asked.seq, applied.outcome));
  return applied;
}

// However much the answers take, they are bounded: the sessions that are idle for longest go first.
void Store::keep_answer(WriteSession& session, const snapshot::Answer& answer) {
  results_bytes_ -= session.results_bytes;
  session.add(answer);
  results_bytes_ += session.results_bytes;
  while (results_bytes_ > results_kept_bytes && sessions_.size() > 1) forget_the_idlest();
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
      digest.text(answer.results ? *answer.results : std::string_view());
    }
  }
  const Deletions::Range deletions = deletions_.range();
  digest.number(deletions_.floor());
  digest.number(deletions_.size());
  for (std::uint64_t i = deletions.first; i < deletions.last; ++i) {
    digest.number(deletions_.at(i).ts);
    digest.text(deletions_.at(i).key);
  }
  return digest.value();
}

// The session's state, new where it may be; nullptr: it might be one that was forgotten.
WriteSession* Store::enter(std::uint64_t position, const command::Session& asked) {
  auto found = sessions_.find(asked.id);
  if (found == sessions_.end()) {
    if (asked.from < forgotten_through_) return nullptr;
    if (sessions_.size() >= max_sessions_) forget_the_idlest();
    found = sessions_.try_emplace(std::string(asked.id)).first;
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
  results_bytes_ -= session.mapped().results_bytes;
  sessions_by_use_.erase(idlest);
  if (walk_ && walk_->wants(session.key(), session.mapped())) walk_->keep(std::move(session));
}

void Store::begin_walk() {
  assert(!walk_);
  walk_.emplace(position_, totals(), members_ ? command::encode(*members_) : std::string(), forgotten_through_,
                deletions_);
}

bool Store::walk(std::size_t bytes, std::string& records) {
  assert(walk_);
  return walk_->step(items_, sessions_, deletions_, bytes, records);
}

void Store::end_walk() {
  walk_.reset();
  deletions_.release();
}

snapshot::Totals Store::walk_totals() const {
  assert(walk_);
  return walk_->totals();
}

}  // namespace kv
