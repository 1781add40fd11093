// What the tests of the write-ahead log share: short ways to make writes, to open a log in memory, and to say
// what is in it.
#pragma once

#include <catch2/catch.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/wal.hpp"
#include "server/wal_format.hpp"
#include "tests/memory_directory.hpp"

namespace kv::wal_test {

inline const std::string identity = "0d9a6b1e-6f0f-4a52-9a9c-0f4f2f6f7a11";
inline const std::string other_identity = "11111111-6f0f-4a52-9a9c-0f4f2f6f7a11";
inline const std::string first_name = "0000000000000001.wal";
inline const std::string second_name = "0000000000000002.wal";
inline const std::string third_name = "0000000000000003.wal";

inline raft::Entry entry(std::uint64_t term, std::uint64_t index, std::string_view command) {
  return {raft::Term(term), raft::Index(index), raft::Payload(command)};
}

inline raft::Entry no_op(std::uint64_t term, std::uint64_t index) {
  return {raft::Term(term), raft::Index(index), nullptr};
}

inline raft::Write entries(std::vector<raft::Entry> list, std::uint64_t commit = 0) {
  return {0, std::nullopt, std::move(list), raft::Index(commit)};
}

inline raft::Write hard_state(std::uint64_t term, const std::string& vote, std::vector<raft::Entry> list = {},
                              std::uint64_t commit = 0) {
  return {0, raft::HardState{raft::Term(term), raft::NodeId(vote)}, std::move(list), raft::Index(commit)};
}

// All that matters of what was recovered, as "term 3 vote n1 commit 1: 1/1 no-op, 2/3 'abc'".
inline std::string describe(const Wal::Recovered& recovered) {
  std::string out = "term " + std::to_string(recovered.hard_state.term.value) + " vote " +
                    recovered.hard_state.vote.name + " commit " + std::to_string(recovered.commit.value) + ":";
  for (const raft::Entry& e : recovered.entries) {
    out += ' ' + std::to_string(e.index.value) + '/' + std::to_string(e.term.value);
    out += e.command ? " '" + std::string(*e.command) + "'," : " no-op,";
  }
  return out;
}

// A log that is open, and what it had recovered.
struct Log {
  explicit Log(MemoryDirectory& directory, std::uint64_t segment_bytes = 2048)
      : wal(std::make_unique<Wal>(directory, WalOptions{segment_bytes}, identity, recovered)) {}

  Wal::Recovered recovered;
  std::unique_ptr<Wal> wal;
};

inline std::string reopened(MemoryDirectory& directory, std::uint64_t segment_bytes = 2048) {
  return describe(Log(directory, segment_bytes).recovered);
}

// What the log's text for a person says when it refuses; empty if it opens.
inline std::string refusal(MemoryDirectory& directory) {
  try {
    Log log(directory);
  } catch (const WalCorruption& corruption) {
    return corruption.what();
  }
  return {};
}

}  // namespace kv::wal_test
