// The way of a snapshot's records into a new store. A checksum has vouched for them; still nothing is believed.
#include "server/store.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

#include "common/overloaded.hpp"

namespace kv {
namespace {

using Wrong = std::optional<std::string>;

// What is wrong with a session by itself.
Wrong wrong_in(const snapshot::Session& session) {
  if (session.last_position == 0) return "a session has no position";
  if (session.answers.size() > answers_kept_per_session) return "a session has more answers than are kept";
  std::uint64_t before = session.dropped_through;
  for (const snapshot::Answer& answer : session.answers) {
    if (answer.seq <= before) return "the answers of a session are out of order";
    if (!is_sound(answer)) return "the results of a transaction in a session cannot be read";
    before = answer.seq;
  }
  return std::nullopt;
}

Wrong differs(std::uint64_t found, std::uint64_t expected, const char* what) {
  if (found == expected) return std::nullopt;
  return "there are " + std::to_string(found) + " " + what + " where the end says " + std::to_string(expected);
}

}  // namespace

Wrong Store::restore(std::string_view records) {
  assert(!walk_);
  snapshot::RecordReader reader(records);
  Wrong wrong;
  bool more = true;
  const auto take = Overloaded{[&](snapshot::RecordReader::End&) { more = false; },
                               [&](snapshot::Problem& problem) { wrong = std::move(problem.what); },
                               [&](auto& record) { wrong = restore_record(record); }};
  while (more && !wrong) {
    snapshot::RecordReader::Next record = reader.next();
    std::visit(take, record);
  }
  return wrong;
}

Wrong Store::restore_record(const snapshot::State& state) {
  if (is_restored_) return "the state comes twice";
  is_restored_ = true;
  forgotten_through_ = state.forgotten_through;
  if (state.members.empty()) return std::nullopt;
  std::optional<command::Command> command = command::decode(state.members);
  auto* members = command ? std::get_if<command::Members>(&*command) : nullptr;
  if (!members) return "the cluster's members cannot be read";
  members_ = std::move(*members);
  return std::nullopt;
}

Wrong Store::restore_record(const snapshot::Item& item) {
  if (!is_restored_) return "an item comes before the state";
  if (!sessions_.empty() || has_deletions_) return "an item comes behind a session or a deletion";
  if (item.ts == 0) return "an item has no position";
  if (item.key.size() > Item::max_key_bytes) return "an item's key is longer than one can be";
  if (const Item* last = items_.last(); last && item.key <= last->key()) return "the items are out of order";
  Item::Ref restored = Item::make(item.key, item.value, item.ts);
  count(*restored);
  items_.append(std::move(restored));
  position_ = std::max(position_, item.ts);
  return std::nullopt;
}

Wrong Store::restore_record(snapshot::Session& session) {
  if (!is_restored_) return "a session comes before the state";
  if (has_deletions_) return "a session comes behind the deletions";
  if (!sessions_.empty() && session.id <= sessions_.rbegin()->first) return "the sessions are out of order";
  if (sessions_.size() >= max_sessions_) return "there are more sessions than are kept";
  if (Wrong wrong = wrong_in(session)) return wrong;
  const auto place = sessions_.try_emplace(sessions_.end(), std::string(session.id));
  if (!sessions_by_use_.emplace(session.last_position, &place->first).second) {
    return "two sessions have the same position";
  }
  WriteSession& kept = place->second;
  kept.last_position = session.last_position;
  kept.dropped_through = session.dropped_through;
  kept.answers.assign(session.answers.begin(), session.answers.end());
  for (const snapshot::Answer& answer : kept.answers) kept.results_bytes += answer.results.size();
  results_bytes_ += kept.results_bytes;
  position_ = std::max(position_, session.last_position);
  return std::nullopt;
}

Wrong Store::restore_record(const snapshot::DeletionsFloor& floor) {
  if (!is_restored_ || has_deletions_) return "the beginning of the deletions is where none can be";
  has_deletions_ = true;
  items_.index_appended();  // the last one has come
  deletions_.set_floor(floor.position);
  return std::nullopt;
}

Wrong Store::restore_record(const snapshot::Deletion& deletion) {
  if (!has_deletions_) return "a deletion comes before the beginning of the deletions";
  const Deletions::Range before = deletions_.range();
  const std::uint64_t least = deletions_.size() == 0 ? deletions_.floor() + 1 : deletions_.at(before.last - 1).ts;
  if (deletion.ts < least) return "the deletions are out of order";
  deletions_.add(deletion.ts, deletion.key);
  if (items_.find(deletion.key)) deletions_.forget(deletion.key);
  position_ = std::max(position_, deletion.ts);
  return std::nullopt;
}

Wrong Store::check_totals(const snapshot::Totals& totals) const {
  if (!is_restored_) return "there are no records";
  if (!has_deletions_) return "the records of deletions are missing";
  if (Wrong wrong = differs(keys(), totals.keys, "keys")) return wrong;
  if (Wrong wrong = differs(bytes_, totals.bytes, "bytes of keys and values")) return wrong;
  if (content_digest_ != totals.digest) return "the keys and values are others than the end says";
  return std::nullopt;
}

}  // namespace kv
