// Reads the segments of a log one by one, for inspect::look_at(): as Wal does, but past what is wrong.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "server/inspect.hpp"
#include "server/wal_format.hpp"

namespace kv::inspect {

class LogReader {
 public:
  // Borrows both. Fills the findings' segments, records, identity, hard_state, members, notes and problems.
  LogReader(Directory& directory, const Options& options, Findings& findings)
      : directory_(directory), options_(options), findings_(findings) {}

  // Of all segments, in order.
  void run(const std::vector<std::string>& names);
  // The position with which what can be read of the log begins; nothing: there is no entry, or what stands before
  // it is not known.
  std::optional<raft::Index> first() const { return first_; }

 private:
  struct Torn {
    std::string file;
    std::uint64_t offset = 0;
    std::uint64_t bytes = 0;
  };

  void read_segment(const std::string& name, bool is_first, bool is_last);
  std::string read_file(File& file);
  bool check_header(std::string_view sector);
  void read_batches(std::string_view contents, bool header_is_good);
  void check_emptiness(bool is_first, bool is_last);
  void take(wal::Batch& batch, std::uint64_t offset);
  void take(const raft::Entry& entry, std::uint64_t offset);
  void take(const raft::SnapshotMark& mark);
  void note_members(std::string_view command);
  void record(Record record);
  void replace_from(raft::Index index);
  void wrong(std::uint64_t offset, std::string what, std::string remedy = damaged_log_remedy);
  void torn_end_is_inside();

  Directory& directory_;
  const Options& options_;
  Findings& findings_;
  Segment* segment_ = nullptr;    // that is being read, the last of the findings'
  std::uint64_t next_batch_ = 0;  // the number that is due; 0: not known
  bool has_mark_ = false;
  std::optional<raft::Index> first_;
  std::optional<Torn> torn_;          // nothing was behind it until now
  std::vector<std::size_t> current_;  // the records of entries that no later one has replaced
};

}  // namespace kv::inspect
