#include "server/recovery.hpp"

#include <algorithm>
#include <cerrno>
#include <optional>
#include <stdexcept>
#include <utility>

namespace kv {
namespace {

constexpr std::size_t restored_piece_bytes = 64 << 10;

constexpr const char* remedy =
    "Restore this server's data directory from a backup of it; or, while a majority of the cluster works without "
    "this server, leave it off";

constexpr const char* lost_log_remedy =
    "If a start with --restore was cut off here, start with --restore again. Otherwise restore this server's data "
    "directory from a backup of it; or, while a majority of the cluster works without this server, leave it off";

raft::Payload context_of(const Store& store) {
  return store.members() ? raft::Payload(command::encode(*store.members())) : nullptr;
}

// Throws if there is anything that a restore that was cut off before the log began cannot have left: its snapshot
// is whole, and has no members, which a server's own always have.
void check_holds_no_data(Directory& directory, const SnapshotOptions& options) {
  const std::string refusal = directory.path() + " has data already: a backup is restored into an empty directory";
  if (Wal::exists(directory)) {
    throw std::invalid_argument(refusal + "; if it has been restored there already, start without --restore");
  }
  for (const raft::Position position : list_snapshots(directory)) {
    const auto result = load_snapshot(*directory.open(snapshot_file_name(position)), options.max_sessions);
    const auto* loaded = std::get_if<LoadedSnapshot>(&result);
    if (!loaded || loaded->store->members()) throw std::invalid_argument(refusal);
  }
}

// Puts the log behind the snapshot, or behind what the log has been told of one.
class Fitting {
 public:
  Fitting(Directory& directory, Wal::Recovered& log, ReplicaRestored& out)
      : directory_(directory), log_(log), out_(out) {}

  void fit(std::optional<LoadedSnapshot> snapshot, const std::vector<Snapshots::Damaged>& damaged) {
    const raft::Index before_log = log_.first.previous();
    if (snapshot) {
      out_.store = std::move(snapshot->store);
      out_.stored = snapshot->position;
    }
    if (out_.stored.index < before_log) {
      fit_without_state(damaged);
    } else if (out_.stored.index == before_log || term_at(out_.stored.index) == out_.stored.term) {
      out_.base = out_.stored;
    } else {
      // The log ends before it or has something else there: the process ended before it could say so.
      log_.entries.clear();
      out_.base = out_.stored;
      out_.mark_due = raft::SnapshotMark{out_.base, context_of(*out_.store), true};
      // Nor could it say what the snapshot's term is; in that term it has not voted.
      if (log_.hard_state.term < out_.base.term) log_.hard_state = {out_.base.term, {}};
    }
    drop_entries_before(out_.base.index);
  }

 private:
  // The log goes on behind a snapshot that is not there any more: whoever leads has the state.
  void fit_without_state(const std::vector<Snapshots::Damaged>& damaged) {
    const auto& mark = log_.snapshot;
    const bool reaches = mark && mark->position.index >= log_.first.previous();
    const bool fits = reaches && (mark->position.index == log_.first.previous() ||
                                  term_at(mark->position.index) == mark->position.term);
    if (!fits) refuse(damaged, "");
    const auto command = mark->context ? command::decode(*mark->context) : std::nullopt;
    const auto* members = command ? std::get_if<command::Members>(&*command) : nullptr;
    if (!members || members->members.size() == 1) refuse(damaged, ", and there is no other server to get it from");
    out_.base = mark->position;
    out_.lacks_state = true;
    out_.context = mark->context;
  }

  [[noreturn]] void refuse(const std::vector<Snapshots::Damaged>& damaged, const std::string& why) const {
    std::string what = "the log begins with entry " + std::to_string(log_.first.value) + "; there is no " +
                       (damaged.empty() ? "" : "whole ") + "snapshot with what is before it" + why;
    for (const Snapshots::Damaged& one : damaged) what += "; " + one.text;
    throw WalCorruption(directory_.path(), {{}, 0, what, remedy});
  }

  std::optional<raft::Term> term_at(raft::Index index) const {
    if (index < log_.first || index - log_.first >= log_.entries.size()) return std::nullopt;
    return log_.entries[index - log_.first].term;
  }

  void drop_entries_before(raft::Index base) {
    auto& entries = log_.entries;
    const auto keep = std::find_if(entries.begin(), entries.end(), [&](const auto& e) { return e.index > base; });
    entries.erase(entries.begin(), keep);
  }

  Directory& directory_;
  Wal::Recovered& log_;
  ReplicaRestored& out_;
};

}  // namespace

void restore_backup(Directory& directory, File& backup, const std::string& backup_name, SnapshotOptions options) {
  check_holds_no_data(directory, options);
  auto result = load_snapshot(backup, options.max_sessions);
  if (const auto* problem = std::get_if<SnapshotProblem>(&result)) {
    throw std::runtime_error(backup_name + " at offset " + std::to_string(problem->offset) + ": " + problem->what +
                             ". The backup is damaged, or is none: use another one");
  }
  auto& loaded = std::get<LoadedSnapshot>(result);
  loaded.store->forget_members();
  for (const raft::Position position : list_snapshots(directory)) directory.remove(snapshot_file_name(position));
  Snapshots snapshots(directory, options);
  loaded.store->begin_walk();
  for (bool first = true, more = true; more; first = false) {
    snapshot_task::Save part{loaded.position, first, 0, {}, {}};
    more = loaded.store->walk(restored_piece_bytes, part.records);
    if (!more) part.totals = loaded.store->walk_totals();
    const auto saved = snapshots.perform(std::move(part));
    if (!saved || !std::holds_alternative<snapshot_result::Saved>(*saved)) {
      throw FileError("restore the backup into", directory.path(), ENOSPC);
    }
  }
}

std::optional<command::Members> members_of(const ReplicaRestored& restored) {
  std::optional<command::Members> members = restored.store->members();
  if (restored.context) {
    const auto command = command::decode(*restored.context);
    if (const auto* found = command ? std::get_if<command::Members>(&*command) : nullptr) members = *found;
  }
  for (const raft::Entry& entry : restored.entries) {
    if (!entry.command || (members && entry.index > restored.commit)) continue;
    const auto command = command::decode(*entry.command);
    if (const auto* found = command ? std::get_if<command::Members>(&*command) : nullptr) members = *found;
  }
  return members;
}

Recovered recover(Directory& directory, const WalOptions& log_options, const SnapshotOptions& snapshot_options,
                  const std::string& new_identity, bool is_restored) {
  Recovered recovered;
  Wal::Recovered& log = recovered.log;
  const bool has_snapshots = !list_snapshots(directory).empty();
  if (has_snapshots && !is_restored && !Wal::exists(directory)) {
    throw WalCorruption(directory.path(),
                        {{}, 0, "there are snapshots, but no log: its files (*.wal) are missing", lost_log_remedy});
  }
  recovered.wal = std::make_unique<Wal>(directory, log_options, new_identity, log);
  recovered.snapshots = std::make_unique<Snapshots>(directory, snapshot_options);
  recovered.identity = log.identity;
  recovered.fresh = log.fresh;

  std::vector<Snapshots::Damaged> damaged;
  std::optional<LoadedSnapshot> snapshot = recovered.snapshots->load_newest(damaged);
  if (snapshot) recovered.snapshot_bytes = snapshot->bytes;
  recovered.replica.store = std::make_unique<Store>(snapshot_options.max_sessions);
  Fitting(directory, log, recovered.replica).fit(std::move(snapshot), damaged);
  // Only now that there is something to begin with in their place.
  for (const Snapshots::Damaged& one : damaged) {
    recovered.snapshots->set_aside(one.name);
    recovered.warnings.push_back(one.text + ". This snapshot is damaged and was set aside as " + one.name +
                                 ".damaged; " +
                                 (recovered.replica.lacks_state ? "the state is asked for from the leader"
                                                                : "an older one and the log take its place"));
  }
  recovered.replica.hard_state = log.hard_state;
  recovered.replica.commit = log.commit;
  recovered.replica.entries = std::move(log.entries);
  return recovered;
}

}  // namespace kv
