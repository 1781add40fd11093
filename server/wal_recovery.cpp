// How a log that is there is read when it is opened.
#include <algorithm>
#include <cstdlib>
#include <new>
#include <span>
#include <utility>

#include "server/wal.hpp"
#include "server/wal_format.hpp"
#include "server/wal_names.hpp"
#include "server/wal_segment.hpp"

namespace kv {
namespace {

using wal::number_of;
using wal::sector_bytes;
using wal::segment_name;
using wal::slice_bytes;
using wal::write_zeros;
using wal::zeros;

// Longer than nearly any batch (raft::Limits::max_write_bytes of commands, and the one entry that may go beyond
// it).
constexpr std::uint64_t longest_torn_end = 16 << 20;

}  // namespace

// One reading of all segments, in order, which fills a Wal that is being opened.
//
// What a crash can have left, and so what is accepted: every batch up to the last durable one, the one after
// it in part, and at most one segment without any batch behind the last one that has some (the spare). A
// segment is made only when the one before it has a batch (the second excepted), so an empty one elsewhere
// has lost its batches. The first ones may have been dropped, once the others had batches: so the first that is
// left then has some.
//
// What was dropped was replaced, or is in a snapshot. So the first entry that is left may be at any position, and
// may be replaced by later ones at lower positions.
class Wal::Recovery {
 public:
  Recovery(Wal& wal, Recovered& out) : wal_(wal), out_(out) {}

  void run(const std::vector<std::string>& names) {
    const std::uint64_t first = number_of(names.front());
    begins_anywhere_ = first > 1;
    if (begins_anywhere_) next_batch_ = 0;
    for (std::size_t i = 0; i < names.size(); ++i) {
      name_ = segment_name(first + i);
      if (names[i] != name_) corrupt(0, "the file is missing, though there is " + names[i]);
      std::unique_ptr<Segment> segment = open_segment(first + i);
      const std::uint64_t batches_before = out_.batches;
      wal_.spans_.push_back({segment->number, segment->bytes, {}});
      replay(*segment);
      if (out_.batches > batches_before || first + i == 1) {
        wal_.current_ = std::move(segment);
      } else if (i > 0 && i + 1 == names.size()) {
        wal_.spans_.pop_back();
        wal_.spare_ = std::move(segment);
      } else {
        corrupt(sector_bytes, i == 0 ? "the segment is empty, though it is not the first of the log"
                                     : "the segment is empty, though there is one after it");
      }
    }
    out_.segments = names.size();
    if (first > 1 && !out_.snapshot) {
      corrupt(segment_name(first - 1), 0, "the file is missing, though there is " + names.front());
    }
    // No entry is left: all were in the snapshot.
    if (begins_anywhere_) wal_.last_ = out_.snapshot->position.index;
    write_end_again();
    wal_.commit_ = out_.commit;
    wal_.next_batch_ = next_batch_;
    wal_.hard_state_ = out_.hard_state;
    wal_.snapshot_ = out_.snapshot;
    out_.first = wal_.last_.next();
    if (!out_.entries.empty()) out_.first = out_.entries.front().index;
  }

 private:
  [[noreturn]] void corrupt(std::uint64_t offset, const std::string& what) const { corrupt(name_, offset, what); }

  [[noreturn]] void corrupt(const std::string& name, std::uint64_t offset, const std::string& what) const {
    throw WalCorruption(wal_.directory_.path(), {name, offset, what, damaged_log_remedy});
  }

  // Checks the header, and reads the whole file into contents_.
  std::unique_ptr<Segment> open_segment(std::uint64_t number) {
    auto segment = std::make_unique<Segment>();
    segment->number = number;
    segment->file = wal_.directory_.open(name_);
    std::string sector(sector_bytes, '\0');
    sector.resize(segment->file->read_at(0, sector));
    const auto decoded = wal::decode_segment_header(sector);
    if (const auto* problem = std::get_if<wal::Problem>(&decoded)) corrupt(0, problem->what);
    const auto& header = std::get<wal::SegmentHeader>(decoded);
    if (header.number != number) {
      corrupt(0, "this is segment " + std::to_string(header.number) + " under another name");
    }
    if (out_.identity.empty()) out_.identity = header.identity;
    if (header.identity != out_.identity) {
      corrupt(0, "this is of the data directory " + header.identity + ", the others are of " + out_.identity);
    }
    segment->bytes = header.bytes;
    segment->salt = wal::salt_of(sector);
    read_all(*segment);
    return segment;
  }

  void read_all(const Segment& segment) {
    const std::uint64_t size = segment.file->size();
    if (size != segment.bytes) {
      corrupt(std::min(size, segment.bytes),
              "the file is " + std::to_string(size) + " bytes long and should be " + std::to_string(segment.bytes));
    }
    // Memory that is zero at no cost and is touched only where the file is not zero: of the spare and of the
    // segment that is being filled, little is.
    memory_.reset();  // before there is another
    memory_.reset(static_cast<char*>(std::calloc(size, 1)));
    if (!memory_) throw std::bad_alloc();
    piece_.resize(std::min(size, slice_bytes));
    for (std::uint64_t offset = 0; offset < size; offset += piece_.size()) {
      const std::span<char> out(piece_.data(), std::min<std::uint64_t>(piece_.size(), size - offset));
      if (segment.file->read_at(offset, out) != out.size()) corrupt(offset, "the file has become shorter");
      const std::string_view read(out.data(), out.size());
      if (read != zeros(read.size())) read.copy(memory_.get() + offset, read.size());
    }
    contents_ = std::string_view(memory_.get(), size);
  }

  void replay(Segment& segment) {
    wal::SegmentReader reader(contents_, next_batch_);
    for (;;) {
      const std::uint64_t offset = reader.offset();
      wal::SegmentReader::Next next = reader.next();
      if (std::holds_alternative<wal::SegmentReader::End>(next)) break;
      if (out_.torn_bytes > 0) {
        corrupt(torn_name_, torn_offset_, "a batch is incomplete, though something was written after it");
      }
      if (auto* problem = std::get_if<wal::Problem>(&next)) corrupt(offset, problem->what);
      if (auto* torn = std::get_if<wal::SegmentReader::Torn>(&next)) {
        note_torn_end(offset, torn->bytes);
        break;
      }
      auto& batch = std::get<wal::Batch>(next);
      last_batch_.assign(contents_.substr(offset, batch.bytes));
      next_batch_ = reader.next_batch();
      apply(std::move(batch), offset);
    }
    segment.end = segment.zeroed = reader.offset();
    segment.last_block = contents_.substr(segment.block(), segment.end - segment.block());
  }

  void note_torn_end(std::uint64_t offset, std::uint64_t bytes) {
    torn_name_ = name_;
    torn_offset_ = offset;
    out_.torn_bytes = bytes;
    out_.torn_where = name_ + " at offset " + std::to_string(offset);
  }

  void apply(wal::Batch batch, std::uint64_t offset) {
    const std::string which = "batch " + std::to_string(batch.number) + " ";
    if (batch.hard_state) out_.hard_state = std::move(*batch.hard_state);
    if (batch.snapshot) {
      wal_.note(*batch.snapshot);
      if (batch.snapshot->resets_log) {
        out_.entries.clear();
        begins_anywhere_ = false;
      }
      out_.snapshot = std::move(batch.snapshot);
      out_.snapshot->resets_log = false;  // said once: when it is said again, the log goes on
    }
    for (raft::Entry& entry : batch.entries) replay_entry(std::move(entry), which, offset);
    out_.commit = std::max(out_.commit, batch.commit);
    if (out_.commit > wal_.last_ && !begins_anywhere_) {
      corrupt(offset, which + "says that entry " + std::to_string(out_.commit.value) +
                          " is committed where the log ends with entry " + std::to_string(wal_.last_.value));
    }
    ++out_.batches;
    out_.bytes += batch.bytes;
  }

  void replay_entry(raft::Entry entry, const std::string& which, std::uint64_t offset) {
    const raft::Index index = entry.index;
    if (index == raft::Index{} || (index > wal_.last_.next() && !begins_anywhere_)) {
      corrupt(offset, which + "has entry " + std::to_string(index.value) + " where the log ends with entry " +
                          std::to_string(wal_.last_.value));
    }
    if (index <= out_.commit) {
      corrupt(offset, which + "replaces entry " + std::to_string(index.value) + ", which was committed");
    }
    begins_anywhere_ = false;
    auto& entries = out_.entries;
    while (!entries.empty() && entries.back().index >= index) entries.pop_back();
    wal_.note(index);
    entries.push_back(std::move(entry));
  }

  // What was read may have come from the kernel's memory and not from the disk: the process before this one was
  // killed before its sync, or ended because that sync failed, after which the kernel takes what it has for
  // written. Now that others will be told of it, it has to be durable; syncing alone would do only in the first
  // case. So the last batch is written again, and so are the zeros behind it, which cut off a torn end and by which
  // the next one will be recognised: as many as a batch can have left there.
  void write_end_again() {
    Segment& current = *wal_.current_;
    if (out_.batches > 0) current.file->write_at(current.end - last_batch_.size(), last_batch_);
    clear_behind(current);
    if (wal_.spare_) clear_behind(*wal_.spare_);
  }

  void clear_behind(Segment& segment) {
    const std::uint64_t most = std::max(longest_torn_end, out_.torn_bytes);
    const std::uint64_t bytes = std::min(segment.bytes - segment.end, most);
    write_zeros(*segment.file, segment.end, bytes);
    segment.zeroed = segment.end + bytes;
    segment.file->sync();
  }

  Wal& wal_;
  Recovered& out_;
  std::uint64_t next_batch_ = 1;  // 0: any
  bool begins_anywhere_ = false;  // nothing has been read yet that says where what is left of the log begins
  std::string name_;              // of the segment that is being read
  std::unique_ptr<char, decltype(&std::free)> memory_{nullptr, &std::free};
  std::string_view contents_;  // of the segment, in memory_
  std::string piece_;          // of what is being read
  std::string last_batch_;
  std::string torn_name_;
  std::uint64_t torn_offset_ = 0;
};

void Wal::recover(const std::vector<std::string>& names, Recovered& recovered) {
  Recovery(*this, recovered).run(names);
}

}  // namespace kv
