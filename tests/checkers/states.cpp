// Rules `snapshot` and `lost`: what was read is the key's state at the position of the read.
//
// Each answer that tells of a state is a claim: a value with position `ts` was there up to position `applied`, or
// the key was absent at `applied`; a write at position t tells of the state at t - 1. Against the known changes
// that is decided by looking; but an absent key whose last known change is a put needs a delete of unknown
// outcome, and one such delete explains the absences between two puts, not those after another put as well.
#include <algorithm>
#include <map>
#include <optional>

#include "tests/checkers/facts.hpp"

namespace kv::history {
namespace {

// The key was absent at position `at`, though its last known change, a put at `put`, was there up to `through`.
struct Absence {
  std::uint64_t put = 0;
  std::uint64_t through = 0;
  std::uint64_t at = 0;
  Index by = none;
};

struct State {
  std::uint64_t at = 0;
  std::optional<std::uint64_t> ts;  // nullopt: absent
};

// The state that the answer tells; nullopt: it tells of none.
std::optional<State> told_state(const Operation& operation) {
  if (operation.outcome != Outcome::ok) return std::nullopt;
  if (operation.function == Function::get) {
    if (operation.read && (operation.ts == 0 || operation.ts > operation.applied)) return std::nullopt;
    return State{operation.applied, operation.read ? std::optional(operation.ts) : std::nullopt};
  }
  if (operation.ts == 0) return std::nullopt;
  const bool absent =
      operation.if_ts == std::uint64_t{0} || (operation.function == Function::del && !operation.found);
  if (absent) return State{operation.ts - 1, std::nullopt};
  if (operation.if_ts && *operation.if_ts < operation.ts) return State{operation.ts - 1, operation.if_ts};
  return std::nullopt;
}

bool has_free_position(const Facts& facts, std::uint64_t above, std::uint64_t up_to) {
  if (above >= up_to) return false;
  const auto& taken = facts.taken_positions();
  const auto from = std::upper_bound(taken.begin(), taken.end(), above);
  const auto to = std::upper_bound(taken.begin(), taken.end(), up_to);
  return static_cast<std::uint64_t>(to - from) < up_to - above;
}

// The deletes and puts of the key that may have been applied unseen.
struct Unknown {
  std::vector<Index> deletes;
  bool puts = false;
};

Unknown unknown_writes(const Facts& facts, const KeyFacts& key) {
  Unknown unknown;
  for (const Index index : key.operations) {
    const Operation& operation = facts[index];
    if (!is_write(operation) || operation.outcome != Outcome::info || facts.position_of(index) != 0) continue;
    if (operation.function == Function::put) {
      unknown.puts = true;
    } else {
      unknown.deletes.push_back(index);
    }
  }
  return unknown;
}

bool explains(const Facts& facts, const Unknown& unknown, Index del, const Absence& absence) {
  const std::optional<std::uint64_t> if_ts = facts[del].if_ts;
  const bool of_an_unseen_put = unknown.puts && if_ts > absence.put && if_ts < absence.at;
  if (if_ts && if_ts != absence.put && !of_an_unseen_put) return false;
  return has_free_position(facts, std::max(absence.through, facts.known_before(del)), absence.at);
}

// Gives each absence a delete of its own, as far as there are any: a matching, found by augmenting paths.
class Matching {
 public:
  Matching(const Facts& facts, const Unknown& unknown, const std::vector<Absence>& absences)
      : facts_(facts), unknown_(unknown), absences_(absences), taken_by_(unknown.deletes.size()) {}

  bool match(std::size_t absence) {
    tried_.assign(unknown_.deletes.size(), false);
    return augment(absence);
  }

 private:
  bool augment(std::size_t absence) {
    for (std::size_t i = 0; i < unknown_.deletes.size(); ++i) {
      if (tried_[i] || !explains(facts_, unknown_, unknown_.deletes[i], absences_[absence])) continue;
      tried_[i] = true;
      if (taken_by_[i] && !augment(*taken_by_[i])) continue;
      taken_by_[i] = absence;
      return true;
    }
    return false;
  }

  const Facts& facts_;
  const Unknown& unknown_;
  const std::vector<Absence>& absences_;
  std::vector<std::optional<std::size_t>> taken_by_;
  std::vector<bool> tried_;
};

class Snapshots {
 public:
  Snapshots(const Facts& facts, const KeyFacts& key, Report& report) : facts_(facts), key_(key), report_(report) {}

  void check() {
    for (const Index index : key_.operations) {
      if (const auto state = told_state(facts_[index]); state && state->ts)
        check_value(index, *state->ts, state->at);
    }
    for (const Index index : key_.operations) {
      if (const auto state = told_state(facts_[index]); state && !state->ts) check_absence(index, state->at);
    }
    explain_absences();
  }

 private:
  struct Presence {
    std::uint64_t through = 0;
    Index by = none;
  };

  void check_value(Index index, std::uint64_t ts, std::uint64_t at) {
    Presence& presence = presences_[ts];
    if (presence.by == none || at > presence.through) presence = {at, index};
    const Change* last = key_.last_change(at);
    if (last && last->ts > ts) {
      report_.add(Rule::snapshot, with_change({index}, *last),
                  "not the state at position " + std::to_string(at) + ": a later write, at " +
                      std::to_string(last->ts) + ", was there by then");
    }
  }

  void check_absence(Index index, std::uint64_t at) {
    const Change* last = key_.last_change(at);
    if (!last || last->is_delete) return;
    const auto presence = presences_.find(last->ts);
    if (presence != presences_.end() && at <= presence->second.through) {
      report_.add(Rule::snapshot, {index, presence->second.by},
                  "absent at position " + std::to_string(at) + ", where another answer shows a value");
      return;
    }
    const std::uint64_t through = presence == presences_.end() ? last->ts : presence->second.through;
    const Absence absence{last->ts, std::max(last->ts, through), at, index};
    const auto [known, is_new] = absences_.emplace(last->ts, absence);
    if (!is_new && at < known->second.at) known->second = absence;
  }

  void explain_absences() {
    const Unknown unknown = unknown_writes(facts_, key_);
    std::vector<Absence> absences;
    for (const auto& [put, absence] : absences_) absences.push_back(absence);
    Matching matching(facts_, unknown, absences);
    for (std::size_t i = 0; i < absences.size(); ++i) {
      if (matching.match(i)) continue;
      report_.add(Rule::snapshot, with_change({absences[i].by}, *key_.last_change(absences[i].at)),
                  "absent at position " + std::to_string(absences[i].at) + ", though the last write, at " +
                      std::to_string(absences[i].put) + ", is a put and no delete is left to explain it");
    }
  }

  // Names who made the change as well, and who tells of it.
  static std::vector<Index> with_change(std::vector<Index> operations, const Change& change) {
    for (const Index index : {change.writer, change.shown_by}) {
      const bool listed = std::find(operations.begin(), operations.end(), index) != operations.end();
      if (index != none && !listed) operations.push_back(index);
    }
    return operations;
  }

  const Facts& facts_;
  const KeyFacts& key_;
  Report& report_;
  std::map<std::uint64_t, Presence> presences_;  // by the value's position
  std::map<std::uint64_t, Absence> absences_;    // by the put's position: the earliest behind it
};

// The read that shows the key's end: of the final contents, or a linearizable one after all acknowledged writes.
Index final_read(const Facts& facts, const KeyFacts& key, Index contents_from) {
  if (key.operations.back() >= contents_from) return key.operations.back();
  Index last_end = 0;
  for (const Index index : key.operations) {
    if (is_write(facts[index]) && facts[index].outcome == Outcome::ok) {
      last_end = std::max(last_end, facts.end_of(index));
    }
  }
  for (auto index = key.operations.rbegin(); index != key.operations.rend(); ++index) {
    const bool linearizable = facts[*index].consistency == Consistency::linearizable && is_ok_read(facts[*index]);
    if (linearizable && facts.begin_of(*index) > last_end) return *index;
  }
  return none;
}

Index last_acknowledged(const Facts& facts, const KeyFacts& key) {
  Index last = none;
  for (const Index index : key.operations) {
    if (!is_write(facts[index]) || facts[index].outcome != Outcome::ok || facts[index].ts == 0) continue;
    if (last == none || facts[index].ts > facts[last].ts) last = index;
  }
  return last;
}

bool shows(const Facts& facts, const KeyFacts& key, Index read, Index write) {
  const Operation& end = facts[read];
  const Operation& last = facts[write];
  const bool is_last = end.ts == last.ts && last.function == Function::put && end.read == last.value;
  if (end.read) return is_last || end.ts > last.ts;
  const Change* change = key.last_change(end.applied);
  if (!change) return false;
  if (change->is_delete) return true;
  const Unknown unknown = unknown_writes(facts, key);
  const Absence absence{change->ts, change->ts, end.applied, read};
  return std::any_of(unknown.deletes.begin(), unknown.deletes.end(),
                     [&](Index del) { return explains(facts, unknown, del, absence); });
}

}  // namespace

void check_snapshots(const Facts& facts, Report& report) {
  for (const KeyFacts& key : facts.keys()) Snapshots(facts, key, report).check();
}

void check_lost(const Facts& facts, Index contents_from, Report& report) {
  for (const KeyFacts& key : facts.keys()) {
    const Index write = last_acknowledged(facts, key);
    const Index read = final_read(facts, key, contents_from);
    if (write == none || read == none || shows(facts, key, read, write)) continue;
    report.add(Rule::lost, {write, read}, "acknowledged, the last of its key, and not there at the end");
  }
}

}  // namespace kv::history
