#include "server/inspect.hpp"

#include <algorithm>
#include <utility>

#include "server/dry_directory.hpp"
#include "server/inspect_log.hpp"
#include "server/recovery.hpp"
#include "server/snapshots.hpp"
#include "server/wal_names.hpp"

namespace kv::inspect {
namespace {

constexpr int most_looks = 5;  // while a server is writing
constexpr std::size_t walk_bytes = 1 << 20;

std::vector<Key> keys_of(Store& store) {
  std::vector<Key> keys;
  std::string records;
  store.begin_walk();
  for (bool more = true; more;) {
    records.clear();
    more = store.walk(walk_bytes, records);
    snapshot::RecordReader reader(records);
    for (auto next = reader.next(); !std::holds_alternative<snapshot::RecordReader::End>(next);
         next = reader.next()) {
      if (const auto* item = std::get_if<snapshot::Item>(&next)) {
        keys.push_back({std::string(item->key), item->ts, item->value.size()});
      }
    }
  }
  store.end_walk();
  return keys;
}

// One look at everything.
class Look {
 public:
  Look(Directory& directory, const Options& options) : directory_(directory), options_(options) {}

  Findings run() {
    out_.path = directory_.path();
    read_log();
    read_snapshots();
    ask_recovery();
    judge_snapshots();
    judge_whole();
    return std::move(out_);
  }

 private:
  void read_log() {
    std::vector<std::string> segments;
    std::vector<std::string> snapshots;
    for (const raft::Position position : list_snapshots(directory_))
      snapshots.push_back(snapshot_file_name(position));
    for (std::string& name : directory_.list()) {
      if (wal::is_segment_name(name)) {
        segments.push_back(std::move(name));
      } else if (std::find(snapshots.begin(), snapshots.end(), name) == snapshots.end()) {
        note_leftover(std::move(name));
      }
    }
    LogReader reader(directory_, options_, out_);
    reader.run(segments);
    log_begins_ = reader.first();
  }

  void note_leftover(std::string name) {
    Leftover leftover{std::move(name), 0, "no file of kvd's"};
    const auto ends = [&leftover](const char* ending) { return leftover.name.ends_with(ending); };
    const std::string unfinished =
        options_.is_in_use ? " that is being made" : " that was not finished: the next start removes it";
    if (wal::is_unfinished_name(leftover.name)) leftover.what = "a segment" + unfinished;
    if (ends(".snap.tmp")) leftover.what = "a snapshot" + unfinished;
    if (ends(".snap.damaged")) leftover.what = "a damaged snapshot that a start has set aside: no server reads it";
    try {
      leftover.bytes = directory_.open(leftover.name)->size();
    } catch (const FileError& error) {
      leftover.what += std::string(" (") + error.what() + ")";
    }
    out_.leftovers.push_back(std::move(leftover));
  }

  void read_snapshots() {
    for (const raft::Position position : list_snapshots(directory_)) {
      Snapshot& found = out_.snapshots.emplace_back();
      found.name = snapshot_file_name(position);
      found.position = position;
      try {
        read_snapshot(found);
      } catch (const FileError& error) {
        found.damage = error.what();
      }
    }
  }

  void read_snapshot(Snapshot& found) {
    const std::unique_ptr<File> file = directory_.open(found.name);
    found.bytes = file->size();
    auto result = load_snapshot(*file, SnapshotOptions{}.max_sessions);
    if (auto* problem = std::get_if<SnapshotProblem>(&result)) {
      found.damage = std::move(problem->what);
      found.damage_offset = problem->offset;
      return;
    }
    auto& loaded = std::get<LoadedSnapshot>(result);
    if (loaded.position != found.position) {
      found.damage = "this is the snapshot of another position under this name";
      return;
    }
    found.keys = loaded.store->keys();
    found.data_bytes = loaded.store->bytes();
    found.sessions = loaded.store->sessions();
    found.digest = loaded.store->content_digest();
    if (newest_whole_) return;
    newest_whole_ = found.position;
    if (!out_.members) out_.members = loaded.store->members();
    if (options_.keys) out_.keys = keys_of(*loaded.store);
  }

  void ask_recovery() {
    DryDirectory dry(directory_);
    try {
      const Recovered recovered =
          recover(dry, WalOptions{}, SnapshotOptions{}, std::string(wal::identity_bytes, '0'));
      const ReplicaRestored& replica = recovered.replica;
      out_.identity = recovered.identity;
      out_.hard_state = replica.hard_state;
      out_.members = members_of(replica);
      Start& start = out_.start.emplace();
      start.snapshot = replica.stored;
      start.lacks_state = replica.lacks_state;
      start.commit = std::max(replica.commit, replica.base.index);
      if (replica.entries.empty()) return;
      start.first = replica.entries.front().index;
      start.last = replica.entries.back().index;
    } catch (const WalCorruption& corruption) {
      refused_ = corruption.damage();
    } catch (const FileError& error) {
      refused_ = Problem{{}, 0, error.what(), "Make it readable for this user, and look again"};
    }
  }

  void judge_snapshots() {
    for (const Snapshot& snapshot : out_.snapshots) {
      if (!snapshot.damage) continue;
      out_.problems.push_back({snapshot.name, snapshot.damage_offset, *snapshot.damage, remedy_for(snapshot)});
    }
  }

  // A start looks for the newest that is whole, and sets aside what it finds damaged before that.
  std::string remedy_for(const Snapshot& snapshot) const {
    if (refused_ && refused_->what == *snapshot.damage) return refused_->remedy;
    if (!out_.start) return "Begin with what else is wrong: no server starts here before that is mended";
    std::string remedy = "A start sets it aside as " + snapshot.name + ".damaged, and ";
    if (newest_whole_ && *newest_whole_ > snapshot.position) {
      remedy = "Nothing has to be done: a newer one is whole";
    } else if (out_.start->lacks_state) {
      remedy += "asks the leader for the state";
    } else if (newest_whole_) {
      remedy += "begins with an older one and the log: nothing is lost";
    } else {
      remedy += "has all in the log: nothing is lost";
    }
    return remedy + ". Find out how the disk came to lose it";
  }

  void judge_whole() {
    if (out_.start && out_.start->lacks_state && out_.problems.empty()) {
      out_.problems.push_back({{},
                               0,
                               "no snapshot is here that holds what is before the log",
                               "A start asks the leader for the state. Find out who has removed the snapshot, or "
                               "how the disk lost it"});
    }
    if (!refused_) return;
    const auto is_known = [this](const Problem& problem) {
      return problem.what == refused_->what ||
             (!problem.file.empty() && problem.file == refused_->file && problem.offset == refused_->offset);
    };
    // What stands in the log's way hides from recovery what is behind it.
    const raft::Index reached = newest_whole_ ? newest_whole_->index : raft::Index{};
    const bool is_of_log = !refused_->file.empty();
    if (std::none_of(out_.problems.begin(), out_.problems.end(), is_known)) out_.problems.push_back(*refused_);
    if (is_of_log && log_begins_ && *log_begins_ > reached.next()) {
      out_.problems.push_back({{},
                               0,
                               "the log begins with entry " + std::to_string(log_begins_->value) +
                                   ", and no snapshot is whole that holds what is before it",
                               damaged_log_remedy});
    }
  }

  Directory& directory_;
  const Options& options_;
  Findings out_;
  std::optional<raft::Position> newest_whole_;
  std::optional<raft::Index> log_begins_;
  std::optional<Problem> refused_;  // recovery, because of this
};

}  // namespace

bool is_data_directory(Directory& directory) {
  return Wal::exists(directory) || !list_snapshots(directory).empty();
}

// Files that are read one after the other while they are written need not fit together. What is damaged is so at
// the second look too.
Findings look_at(Directory& directory, const Options& options) {
  Findings findings = Look(directory, options).run();
  for (int looks = 1; options.is_in_use && !findings.problems.empty() && looks < most_looks; ++looks) {
    Findings again = Look(directory, options).run();
    const bool is_same = again.problems == findings.problems;
    findings = std::move(again);
    if (is_same) break;
  }
  if (options.is_in_use && !findings.problems.empty()) {
    findings.notes.push_back(
        "a server is writing here, and what it has not finished may look damaged: stop it and "
        "look again to be sure");
  }
  return findings;
}

}  // namespace kv::inspect
