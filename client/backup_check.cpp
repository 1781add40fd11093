#include "client/backup_check.hpp"

#include <array>
#include <cstdio>
#include <utility>
#include <variant>

#include "common/message.hpp"
#include "common/overloaded.hpp"
#include "common/text.hpp"

namespace kv::client {
namespace {

std::optional<std::string> differs(std::uint64_t found, std::uint64_t expected, const char* what) {
  if (found == expected) return std::nullopt;
  return "there are " + std::to_string(found) + " " + what + " where the end says " + std::to_string(expected);
}

}  // namespace

std::optional<BackupCheck::Problem> BackupCheck::take(std::string_view bytes) {
  summary_.size += bytes.size();
  reader_.feed(bytes);
  for (;;) {
    const std::uint64_t offset = reader_.offset();
    const snapshot::Reader::Next next = reader_.next();
    if (std::holds_alternative<snapshot::Reader::NeedMore>(next)) return std::nullopt;
    if (const auto* problem = std::get_if<snapshot::Problem>(&next)) return Problem{offset, problem->what};
    const Wrong wrong = std::visit(Overloaded{[](const snapshot::Reader::NeedMore&) { return Wrong(); },
                                              [](const snapshot::Problem&) { return Wrong(); },
                                              [this](const auto& part) { return take_part(part); }},
                                   next);
    if (wrong) return Problem{offset, *wrong};
  }
}

std::optional<BackupCheck::Problem> BackupCheck::finish() const {
  if (const auto problem = reader_.finish()) return Problem{reader_.offset(), problem->what};
  return std::nullopt;
}

BackupCheck::Wrong BackupCheck::take_part(const snapshot::Header& header) {
  summary_.header = header;
  if (header.index == 0) return "it is of the position 0, at which there is nothing";
  return std::nullopt;
}

BackupCheck::Wrong BackupCheck::take_part(const snapshot::Reader::Block& block) {
  snapshot::RecordReader records(block.records);
  Wrong wrong;
  bool more = true;
  const auto take = Overloaded{[&](const snapshot::RecordReader::End&) { more = false; },
                               [&](const snapshot::Problem& problem) { wrong = problem.what; },
                               [&](const auto& record) { wrong = take_record(record); }};
  while (more && !wrong) {
    const snapshot::RecordReader::Next record = records.next();
    std::visit(take, record);
  }
  return wrong;
}

BackupCheck::Wrong BackupCheck::take_part(const snapshot::Reader::End& end) const {
  if (!has_state_) return "there are no records";
  if (!has_deletions_) return "the records of deletions are missing";
  if (Wrong wrong = differs(summary_.totals.keys, end.totals.keys, "keys")) return wrong;
  if (Wrong wrong = differs(summary_.totals.bytes, end.totals.bytes, "bytes of keys and values")) return wrong;
  if (summary_.totals.digest != end.totals.digest) return "the keys and values are others than the end says";
  return std::nullopt;
}

BackupCheck::Wrong BackupCheck::take_record(const snapshot::State& state) {
  if (has_state_) return "the state comes twice";
  has_state_ = true;
  if (state.members.empty()) return std::nullopt;  // restored, and the cluster has not begun yet
  std::optional<snapshot::Members> members = snapshot::decode_members(state.members);
  if (!members) return "the cluster's members cannot be read";
  summary_.members = *std::move(members);
  return std::nullopt;
}

BackupCheck::Wrong BackupCheck::take_record(const snapshot::Item& item) {
  if (!has_state_) return "an item comes before the state";
  if (summary_.sessions > 0 || has_deletions_) return "an item comes behind a session or a deletion";
  if (item.ts == 0 || item.ts > summary_.header.index) return "an item's position is not one of this backup";
  const bool is_key = !item.key.empty() && item.key.size() <= max_key_bytes && is_valid_utf8(item.key);
  if (!is_key || item.value.size() > max_value_bytes) return "an item is beyond the limits of keys and values";
  if (item.key <= last_key_) return "the items are out of order";
  last_key_ = item.key;
  ++summary_.totals.keys;
  summary_.totals.bytes += item.key.size() + item.value.size();
  summary_.totals.digest += snapshot::item_digest(item.key, item.value, item.ts);
  if (take_item_) take_item_(item);
  return std::nullopt;
}

BackupCheck::Wrong BackupCheck::take_record(const snapshot::DeletionsFloor& floor) {
  if (!has_state_ || has_deletions_) return "the beginning of the deletions is where none can be";
  has_deletions_ = true;
  last_deletion_ = floor.position;
  return std::nullopt;
}

BackupCheck::Wrong BackupCheck::take_record(const snapshot::Deletion& deletion) {
  if (!has_deletions_) return "a deletion comes before the beginning of the deletions";
  if (deletion.ts < last_deletion_ || deletion.ts == 0) return "the deletions are out of order";
  if (deletion.ts > summary_.header.index) return "a deletion's position is not one of this backup";
  last_deletion_ = deletion.ts;
  return std::nullopt;
}

BackupCheck::Wrong BackupCheck::take_record(const snapshot::Session& session) {
  if (!has_state_) return "a session comes before the state";
  if (has_deletions_) return "a session comes behind the deletions";
  if (summary_.sessions > 0 && session.id <= last_session_) return "the sessions are out of order";
  last_session_ = session.id;
  ++summary_.sessions;
  if (session.last_position == 0 || session.last_position > summary_.header.index) {
    return "a session's position is not one of this backup";
  }
  std::uint64_t before = session.dropped_through;
  for (const snapshot::Answer& answer : session.answers) {
    if (answer.seq <= before) return "the answers of a session are out of order";
    before = answer.seq;
  }
  return std::nullopt;
}

}  // namespace kv::client
