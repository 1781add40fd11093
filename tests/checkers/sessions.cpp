// Rules `freshness` and the four session guarantees.
//
// A session's memory is what the store's clients keep: of each key the positions of the own acknowledged writes
// and of what was read, whatever the consistency of the read. An operation is bound by what the session had
// learnt when it began; operations of one session may overlap.
#include <algorithm>
#include <unordered_map>

#include "tests/checkers/facts.hpp"

namespace kv::history {
namespace {

// The highest position of one kind, and whose answer told it.
struct Highest {
  std::uint64_t ts = 0;
  Index by = none;

  void learn(std::uint64_t position, Index index) {
    if (position <= ts && by != none) return;
    ts = position;
    by = index;
  }
};

struct KeyMemory {
  Highest written;
  Highest read;    // values
  Highest absent;  // `applied` of reads that found nothing
};

struct Memory {
  std::unordered_map<std::string_view, KeyMemory> keys;  // only looked up
  Highest written;
  Highest read;
};

void check_get(const Facts& facts, Index index, const KeyMemory& memory, Report& report) {
  const Operation& get = facts[index];
  if (get.consistency == Consistency::session && get.applied < get.asked_ts) {
    report.add(Rule::freshness, {index}, "answered by a server that was behind the position asked for");
  }
  if (get.consistency == Consistency::local) return;
  // An absent key has no ts: it must not be the absence of an earlier time.
  const std::uint64_t shown = get.read ? get.ts : get.applied;
  if (memory.written.by != none && shown < memory.written.ts) {
    report.add(Rule::read_your_writes, {index, memory.written.by}, "did not see the session's own write");
  }
  if (memory.read.by != none && shown < memory.read.ts) {
    report.add(Rule::monotonic_reads, {index, memory.read.by}, "went back behind what the session had read");
  }
  if (memory.absent.by != none && (get.read ? get.ts <= memory.absent.ts : get.applied < memory.absent.ts)) {
    report.add(Rule::monotonic_reads, {index, memory.absent.by},
               "went back behind where the session had found the key absent");
  }
}

void check_order(const Facts& facts, Index index, const Memory& memory, Report& report) {
  const std::uint64_t ts = facts.position_of(index);
  if (ts == 0) return;
  if (memory.written.by != none && ts <= memory.written.ts) {
    report.add(Rule::monotonic_writes, {index, memory.written.by}, "came before an earlier write of the session");
  }
  if (memory.read.by != none && ts <= memory.read.ts) {
    report.add(Rule::writes_follow_reads, {index, memory.read.by}, "came before what the session had read");
  }
}

void learn(const Operation& operation, Index index, Memory& memory) {
  if (is_write(operation)) {
    if (operation.outcome == Outcome::ok) {
      memory.keys[operation.key].written.learn(operation.ts, index);
      memory.written.learn(operation.ts, index);
    }
    if (operation.conflict) memory.read.learn(*operation.conflict, index);
  } else if (operation.outcome == Outcome::ok) {
    KeyMemory& key = memory.keys[operation.key];
    if (operation.read) {
      key.read.learn(operation.ts, index);
    } else {
      key.absent.learn(operation.applied, index);
    }
    memory.read.learn(std::max(operation.ts, operation.applied), index);
  }
}

void check_session(const Facts& facts, const std::vector<Index>& by_begin, Report& report) {
  std::vector<Index> by_end = by_begin;
  std::sort(by_end.begin(), by_end.end(), [&](Index a, Index b) { return facts.end_of(a) < facts.end_of(b); });
  Memory memory;
  auto next = by_end.begin();
  for (const Index index : by_begin) {
    for (; next != by_end.end() && facts.before(*next, index); ++next) learn(facts[*next], *next, memory);
    if (is_write(facts[index])) {
      check_order(facts, index, memory, report);
    } else if (is_ok_read(facts[index])) {
      check_get(facts, index, memory.keys[facts[index].key], report);
    }
  }
}

}  // namespace

void check_sessions(const Facts& facts, Report& report) {
  std::unordered_map<std::string_view, std::size_t> places;  // only looked up
  std::vector<std::vector<Index>> sessions;                  // by their first operation
  for (const Index index : facts.by_begin()) {
    const std::string& name = facts[index].session;
    if (name.empty()) {
      if (is_ok_read(facts[index])) check_get(facts, index, {}, report);
      continue;
    }
    const auto [place, is_new] = places.emplace(name, sessions.size());
    if (is_new) sessions.emplace_back();
    sessions[place->second].push_back(index);
  }
  for (const std::vector<Index>& session : sessions) check_session(facts, session, report);
}

}  // namespace kv::history
