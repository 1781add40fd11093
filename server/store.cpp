#include "server/store.hpp"

#include <xxhash.h>

#include <algorithm>
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
  void outcome(const Outcome& outcome) {
    number(outcome.index());
    std::visit(Overloaded{[&](const Written& written) { number(written.ts); },
                          [&](const Deleted& deleted) {
                            number(deleted.ts);
                            number(deleted.found ? 1 : 0);
                          },
                          [&](const Conflict& conflict) { number(conflict.current_ts); },
                          [](const SessionExpired&) {}, [](const MembersNoted&) {}},
               outcome);
  }
  std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0;
};

}  // namespace

Applied Store::apply(std::uint64_t position, const command::Command& command) {
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

const Store::Item* Store::find(std::string_view key) const {
  const auto found = items_.find(key);
  return found == items_.end() ? nullptr : &found->second;
}

Applied Store::perform(std::uint64_t position, const command::Put& put) {
  const auto found = items_.find(put.key);
  const std::uint64_t old_ts = found == items_.end() ? 0 : found->second.ts;
  if (put.if_ts && *put.if_ts != old_ts) return {Conflict{old_ts}, {}};
  if (found == items_.end()) {
    items_.emplace(put.key, Item{put.value, position});
    bytes_ += put.key.size() + put.value.size();
  } else {
    bytes_ += put.value.size();
    bytes_ -= found->second.value.size();
    found->second = Item{put.value, position};
  }
  return {Written{position}, {Change{put.key, old_ts, position}}};
}

Applied Store::perform(std::uint64_t position, const command::Delete& del) {
  const auto found = items_.find(del.key);
  const std::uint64_t old_ts = found == items_.end() ? 0 : found->second.ts;
  if (del.if_ts && *del.if_ts != old_ts) return {Conflict{old_ts}, {}};
  if (found == items_.end()) return {Deleted{position, false}, {}};
  bytes_ -= found->first.size() + found->second.value.size();
  items_.erase(found);
  return {Deleted{position, true}, {Change{del.key, old_ts, 0}}};
}

Applied Store::once(std::uint64_t position, const command::Session& asked, const auto& command) {
  Session* session = enter(position, asked);
  if (!session || asked.seq <= session->dropped_through) return {SessionExpired{}, {}};
  if (const auto first = session->answers.find(asked.seq); first != session->answers.end()) {
    return {first->second, {}};
  }
  Applied applied = perform(position, command);
  session->answers.emplace(asked.seq, applied.outcome);
  if (session->answers.size() > answers_kept_per_session) {
    session->dropped_through = session->answers.begin()->first;
    session->answers.erase(session->answers.begin());
  }
  return applied;
}

std::uint64_t Store::digest() const {
  Digest digest;
  digest.number(items_.size());
  for (const auto& [key, item] : items_) {
    digest.text(key);
    digest.text(item.value);
    digest.number(item.ts);
  }
  digest.text(members_ ? command::encode(*members_) : std::string());
  digest.number(forgotten_through_);
  digest.number(sessions_.size());
  for (const auto& [id, session] : sessions_) {
    digest.text(id);
    digest.number(session.last_position);
    digest.number(session.dropped_through);
    digest.number(session.answers.size());
    for (const auto& [seq, outcome] : session.answers) {
      digest.number(seq);
      digest.outcome(outcome);
    }
  }
  return digest.value();
}

// The session's state, new where it may be; nullptr: it might be one that was forgotten.
Store::Session* Store::enter(std::uint64_t position, const command::Session& asked) {
  auto found = sessions_.find(asked.id);
  if (found == sessions_.end()) {
    if (asked.from < forgotten_through_) return nullptr;
    if (sessions_.size() >= max_sessions_) forget_the_idlest();
    found = sessions_.emplace(asked.id, Session{}).first;
  } else {
    sessions_by_use_.erase(found->second.last_position);
  }
  found->second.last_position = position;
  sessions_by_use_.emplace(position, asked.id);
  return &found->second;
}

void Store::forget_the_idlest() {
  const auto idlest = sessions_by_use_.begin();
  forgotten_through_ = std::max(forgotten_through_, idlest->first);
  sessions_.erase(idlest->second);
  sessions_by_use_.erase(idlest);
}

}  // namespace kv
