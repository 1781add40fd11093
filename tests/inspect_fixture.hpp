// What the tests of kvd inspect share: a small data directory, a look at one that must not change it, and what
// recovery says of the same bytes.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "server/inspect.hpp"
#include "server/inspect_print.hpp"
#include "server/recovery.hpp"
#include "server/wal_names.hpp"
#include "tests/wal_fixture.hpp"

namespace kv::inspect_test {

using namespace kv::wal_test;
using Image = MemoryDirectory::Image;

inline constexpr std::size_t sector = wal::sector_bytes;
inline constexpr std::uint64_t segment_bytes = 2048;
inline const inspect::Options everything{true, true, false};

inline command::Command members(std::size_t count) {
  command::Members all{"c0ffee", {}};
  for (std::size_t i = 1; i <= count; ++i) {
    const std::string name = "n" + std::to_string(i);
    all.members.push_back({name, i == 1 ? identity : other_identity, name + ":7501", name + ":7401"});
  }
  return all;
}

inline raft::Entry entry_of(std::uint64_t term, std::uint64_t index, const command::Command& command) {
  return entry(term, index, command::encode(command));
}

inline raft::Entry put(std::uint64_t term, std::uint64_t index, const std::string& key, std::size_t bytes) {
  return entry_of(term, index, command::Put{key, std::string(bytes, 'v'), {}, {}});
}

// The file of a snapshot of the state after `entries`.
inline std::string snapshot_bytes(raft::Position position, const std::vector<raft::Entry>& entries) {
  Store store;
  for (const raft::Entry& one : entries) {
    if (one.command && one.index <= position.index) store.apply(one.index.value, *command::decode(*one.command));
  }
  snapshot::Writer writer({position.index.value, position.term.value});
  std::string bytes = writer.begin();
  store.begin_walk();
  for (bool more = true; more;) {
    std::string records;
    more = store.walk(1 << 20, records);
    if (!records.empty()) bytes += writer.begin_block(records) + records;
  }
  writer.append_end(store.walk_totals(), bytes);
  return bytes;
}

inline raft::Position at(std::uint64_t index, std::uint64_t term = 1) {
  return {raft::Index(index), raft::Term(term)};
}

// A log of six entries, in segments of the entries 1-2, 3, 4 and 5-6, and a spare. One snapshot holds the first
// three, another the first four.
struct Data {
  explicit Data(std::size_t servers = 1, raft::Index droppable = {}) {
    MemoryDirectory directory;
    Log log(directory, segment_bytes);
    const std::vector<raft::Entry> list = {entry_of(1, 1, members(servers)),
                                           put(1, 2, "a\n", 700),
                                           put(1, 3, "b", 800),
                                           put(1, 4, "c", 1200),
                                           entry_of(1, 5, command::Delete{"b", {}, {}}),
                                           put(1, 6, "d", 800)};
    for (std::size_t i = 0; i < list.size(); ++i) {
      raft::Write write = entries({list[i]}, i);
      if (i == 0) write.hard_state = raft::HardState{raft::Term(1), raft::NodeId("n1")};
      if (i == 4) {
        write.snapshot = raft::SnapshotMark{at(4), raft::Payload(command::encode(members(servers))), false};
      }
      write.droppable = i >= 4 ? droppable : raft::Index{};
      log.wal->append(write);
    }
    image = directory.image();
    image[snapshot_file_name(at(3))] = snapshot_bytes(at(3), list);
    image[snapshot_file_name(at(4))] = snapshot_bytes(at(4), list);
  }

  Image image;
};

inline const std::string older = "0000000000000003-0000000000000001.snap";
inline const std::string newer = "0000000000000004-0000000000000001.snap";

inline inspect::Findings inspected(const Image& image, const inspect::Options& options = {}) {
  MemoryDirectory directory;
  directory.restore(image);
  inspect::Findings findings = inspect::look_at(directory, options);
  REQUIRE(directory.changes() == 0);
  REQUIRE(directory.image() == image);
  return findings;
}

// What recovery does with it; `warnings`: it starts, and has set something aside.
struct Outcome {
  std::optional<WalDamage> refused;
  std::size_t warnings = 0;
  bool lacks_state = false;
};

inline Outcome recovered(const Image& image) {
  MemoryDirectory directory;
  directory.restore(image);
  try {
    const Recovered result = recover(directory, WalOptions{segment_bytes}, SnapshotOptions{}, identity);
    return {std::nullopt, result.warnings.size(), result.replica.lacks_state};
  } catch (const WalCorruption& corruption) {
    return {corruption.damage(), 0, false};
  }
}

// The two agree: what recovery refuses is among the problems, at the same place, and nothing else is refused.
inline inspect::Findings agreed(const Image& image) {
  inspect::Findings findings = inspected(image);
  const Outcome outcome = recovered(image);
  REQUIRE(findings.start.has_value() == !outcome.refused);
  if (outcome.refused) {
    const auto is_it = [&](const WalDamage& problem) {
      return problem.file == outcome.refused->file && problem.offset == outcome.refused->offset &&
             problem.what.starts_with(outcome.refused->what);
    };
    REQUIRE(std::any_of(findings.problems.begin(), findings.problems.end(), is_it));
  }
  if (outcome.warnings > 0 || outcome.lacks_state) REQUIRE_FALSE(findings.problems.empty());
  for (const inspect::Problem& problem : findings.problems) {
    REQUIRE(problem.remedy.size() > 20);
    if (!outcome.refused) REQUIRE_FALSE(wal::is_segment_name(problem.file));
  }
  return findings;
}

inline std::vector<std::string> problems_of(const inspect::Findings& findings) {
  std::vector<std::string> texts;
  for (const inspect::Problem& problem : findings.problems) {
    texts.push_back((problem.file.empty() ? "" : problem.file + " at " + std::to_string(problem.offset) + ": ") +
                    problem.what);
  }
  return texts;
}

inline void erase_sector(std::string& bytes, std::size_t offset) {
  bytes.replace(offset, sector, sector, '\0');
}

inline void flip(Image& image, const std::string& name, std::size_t offset) {
  image.at(name).at(offset) = static_cast<char>(image.at(name).at(offset) ^ 4);
}

inline std::string segment(std::uint64_t number) {
  return wal::segment_name(number);
}

inline std::string text_of(const inspect::Findings& findings, const inspect::Options& options = {}) {
  std::ostringstream out;
  inspect::print_text(findings, std::nullopt, options, out);
  return out.str();
}

}  // namespace kv::inspect_test
