#include "server/wal.hpp"

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <new>
#include <utility>

#include "server/wal_format.hpp"
#include "server/wal_names.hpp"

namespace kv {
namespace {

using wal::number_of;
using wal::sector_bytes;
using wal::segment_name;

// How much is read at once, and how much is written where nothing but zeros is written.
constexpr std::uint64_t slice_bytes = 1 << 20;
// Longer than any batch (raft::Limits::max_write_bytes, and the one entry that may go beyond it).
constexpr std::uint64_t longest_torn_end = 16 << 20;
// A buffer that one huge batch has made larger than this is given back.
constexpr std::size_t kept_buffer_bytes = 8 << 20;

// The first `bytes` of a slice of zeros.
std::string_view zeros(std::uint64_t bytes) {
  static const std::string slice(slice_bytes, '\0');
  return std::string_view(slice).substr(0, bytes);
}

void write_zeros(File& file, std::uint64_t offset, std::uint64_t bytes) {
  while (bytes > 0) {
    const std::string_view piece = zeros(bytes);
    file.write_at(offset, piece);
    offset += piece.size();
    bytes -= piece.size();
  }
}

// What disks write at once: of what is smaller most have to read the rest and write it again, and could lose that
// with their power.
constexpr std::uint64_t block_bytes = 4096;

std::uint64_t up_to_multiple(std::uint64_t bytes, std::uint64_t of) {
  return (bytes + of - 1) / of * of;
}
std::uint64_t down_to_multiple(std::uint64_t bytes, std::uint64_t of) {
  return bytes / of * of;
}

}  // namespace

WalCorruption::WalCorruption(const std::string& directory, WalDamage damage)
    : std::runtime_error(directory +
                         (damage.file.empty() ? std::string()
                                              : '/' + damage.file + " at offset " + std::to_string(damage.offset)) +
                         ": " + damage.what + ". " + damage.remedy),
      damage_(std::move(damage)) {}

struct Wal::Segment {
  std::uint64_t number = 0;
  std::uint64_t bytes = 0;
  std::uint64_t salt = 0;
  std::unique_ptr<File> file;
  std::uint64_t end = sector_bytes;     // of its batches
  std::uint64_t zeroed = sector_bytes;  // up to here the file system has written zeros, and not just promised them
  std::string last_block;               // of what is before `end`, what is in the same block as that

  std::uint64_t room() const { return bytes - end; }
  std::uint64_t block() const { return down_to_multiple(end, block_bytes); }
  // Moves the end behind the next ones.
  void add(std::string_view more) {
    const std::uint64_t old_block = block();
    end += more.size();
    if (block() != old_block) last_block.clear();
    last_block.append(more.substr(more.size() - std::min<std::uint64_t>(more.size(), end - block())));
  }
};

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

Wal::Wal(Directory& directory, WalOptions options, const std::string& new_identity, Recovered& recovered)
    : directory_(directory), options_(options) {
  options_.segment_bytes =
      up_to_multiple(std::max<std::uint64_t>(options_.segment_bytes, 2 * sector_bytes), sector_bytes);
  options_.zeros_ahead_bytes = up_to_multiple(
      std::clamp<std::uint64_t>(options_.zeros_ahead_bytes, sector_bytes, slice_bytes), sector_bytes);
  recovered = Recovered{};
  std::vector<std::string> names;
  for (std::string& name : directory_.list()) {
    if (wal::is_unfinished_name(name)) directory_.remove(name);
    if (wal::is_segment_name(name)) names.push_back(std::move(name));
  }
  // Also for the names that a process before this one has made or changed without living to sync them.
  directory_.sync();

  if (names.empty()) {
    recovered.fresh = true;
    recovered.identity = identity_ = new_identity;
    current_ = create_segment(1, options_.segment_bytes);
    spans_.push_back({1, current_->bytes, {}});
  } else {
    Recovery(*this, recovered).run(names);
    identity_ = recovered.identity;
  }
  make_spare();
}

Wal::~Wal() = default;

bool Wal::exists(Directory& directory) {
  const std::vector<std::string> names = directory.list();
  return std::any_of(names.begin(), names.end(), wal::is_segment_name);
}

// What was dropped last may hold all the room that there is.
std::unique_ptr<Wal::Segment> Wal::create_segment(std::uint64_t number, std::uint64_t bytes) {
  try {
    return try_to_create_segment(number, bytes);
  } catch (const FileError& error) {
    if (!error.no_space() || !remains_) throw;
  }
  remains_.reset();
  return try_to_create_segment(number, bytes);
}

// Under another name until it is whole: a segment's file is either not there or has a valid header.
std::unique_ptr<Wal::Segment> Wal::try_to_create_segment(std::uint64_t number, std::uint64_t bytes) {
  std::string beginning = wal::encode_segment_header({number, bytes, identity_});
  auto segment = std::make_unique<Segment>();
  segment->number = number;
  segment->bytes = bytes;
  segment->salt = wal::salt_of(beginning);
  segment->last_block = beginning;
  segment->zeroed = std::min(bytes, options_.zeros_ahead_bytes);
  beginning.resize(segment->zeroed);

  const std::string name = segment_name(number);
  const std::string temporary = wal::unfinished_name(number);
  segment->file = directory_.create(temporary);
  try {
    segment->file->allocate(bytes);
    segment->file->write_at(0, beginning);
    segment->file->sync();
    directory_.rename(temporary, name);
  } catch (const FileError& error) {
    if (error.no_space()) directory_.remove(temporary);  // or it would keep the room that it did get
    throw;
  }
  directory_.sync();
  segment->file = directory_.open(name);  // so that its errors are told under its name
  return segment;
}

void Wal::make_spare() {
  if (spare_) return;
  try {
    spare_ = create_segment(current_->number + 1, next_segment_bytes());
  } catch (const FileError& error) {
    if (!error.no_space()) throw;
  }
}

bool Wal::has_spare() const {
  return spare_ != nullptr;
}

bool Wal::try_spare() {
  check_usable();
  failed_ = true;
  if (!spare_) drop_oldest();
  remains_.reset();
  make_spare();
  failed_ = false;
  return has_spare();
}

// The longer the log, the longer its segments: few files, and yet little room for a log that is kept short.
std::uint64_t Wal::next_segment_bytes() const {
  std::uint64_t bytes = options_.segment_bytes;
  std::uint64_t kept = 0;
  for (const Span& span : spans_) kept += span.bytes;
  while (bytes < kept / 8 && 2 * bytes <= options_.max_segment_bytes) bytes *= 2;
  return bytes;
}

void Wal::rotate(std::uint64_t batch_bytes) {
  if (spare_ && batch_bytes <= spare_->room()) {
    current_ = std::move(spare_);
  } else {
    // In place of the spare, if there is one that is too small: it has the same name.
    const std::uint64_t least_bytes = up_to_multiple(sector_bytes + batch_bytes, block_bytes);
    current_ = create_segment(current_->number + 1, std::max(next_segment_bytes(), least_bytes));
    spare_.reset();
  }
  spans_.push_back({current_->number, current_->bytes, {}});
}

bool Wal::has_zeros_ahead() const {
  const std::uint64_t zeroed = std::max(current_->zeroed, current_->end);
  return zeroed == current_->bytes || zeroed - current_->end >= options_.zeros_ahead_bytes / 2;
}

// A block that is allocated but was never written costs the file system a commit of its journal when it is,
// in the same sync as the batch (measured: docs/formats.md). So zeros are written ahead of the batches. What they
// replace reads as zeros already: that they are durable matters to nothing but speed.
void Wal::write_zeros_ahead() {
  if (has_zeros_ahead()) return;
  Segment& segment = *current_;
  segment.zeroed = std::max(segment.zeroed, segment.end);
  const std::uint64_t ahead = options_.zeros_ahead_bytes;
  const std::uint64_t bytes = std::min(ahead - segment.zeroed % ahead, segment.bytes - segment.zeroed);
  try {
    segment.file->write_durably(segment.zeroed, zeros(bytes));
    segment.zeroed += bytes;
  } catch (const FileError& error) {
    if (!error.no_space()) throw;  // where the file system copies on write, and is full
  }
}

void Wal::check_usable() const {
  if (failed_) throw std::logic_error("the log is used after a disk error, which is final");
}

// Recovery would refuse what is not in order, so it must not be written.
void Wal::check_order(const raft::Write& write) const {
  raft::Index last = last_;
  if (write.snapshot && write.snapshot->resets_log) last = write.snapshot->position.index;
  for (const raft::Entry& entry : write.entries) {
    assert(entry.index > commit_ && "a committed entry is replaced");
    assert(entry.index <= last.next() && "the log has no gaps");
    last = entry.index;
  }
}

// What a segment must say before all others are dropped that came before it.
raft::Write Wal::with_preface(const raft::Write& write) const {
  raft::Write whole = write;
  if (!whole.hard_state && hard_state_ != raft::HardState{}) whole.hard_state = hard_state_;
  if (!whole.snapshot && snapshot_) whole.snapshot = snapshot_;
  return whole;
}

void Wal::note(const raft::SnapshotMark& mark) {
  if (!mark.resets_log) return;
  for (Span& span : spans_) span.last = {};
  last_ = mark.position.index;
}

void Wal::note(raft::Index entry) {
  if (entry <= last_) {
    for (Span& span : spans_) span.last = std::min(span.last, entry.previous());
  }
  last_ = spans_.back().last = entry;
}

raft::Index Wal::last_after(const raft::Write& write) const {
  if (!write.entries.empty()) return write.entries.back().index;
  return write.snapshot && write.snapshot->resets_log ? write.snapshot->position.index : last_;
}

raft::Index Wal::commit_after(const raft::Write& write) const {
  return std::max(commit_, std::min(write.commit, last_after(write)));
}

// Into buffer_, for the end of the current segment.
void Wal::lay_out(const raft::Write& write) {
  const bool first = current_->end == sector_bytes;
  wal::encode_batch(next_batch_, commit_after(write), first ? with_preface(write) : write, current_->salt, buffer_);
}

std::optional<Wal::Batch> Wal::prepare(const raft::Write& write) {
  if (failed_) return std::nullopt;  // append() says so, behind what failed
  check_order(write);
  const bool first = current_->end == sector_bytes;
  if (wal::batch_bytes(first ? with_preface(write) : write) > current_->room()) return std::nullopt;
  lay_out(write);
  const std::uint64_t end = current_->end + buffer_.size();
  const std::uint64_t end_of_block = up_to_multiple(end, block_bytes);
  if (end_of_block > current_->bytes) return std::nullopt;  // a short segment's last block is none
  return Batch{*current_->file, current_->block(), {current_->last_block, buffer_, zeros(end_of_block - end)}};
}

void Wal::wrote(const raft::Write& write) {
  current_->add(buffer_);
  ++next_batch_;
  commit_ = commit_after(write);
  droppable_ = std::max(droppable_, write.droppable);
  if (write.hard_state) hard_state_ = *write.hard_state;
  if (write.snapshot) {
    note(*write.snapshot);
    snapshot_ = write.snapshot;
    snapshot_->resets_log = false;
  }
  for (const raft::Entry& entry : write.entries) note(entry.index);
  if (buffer_.capacity() > kept_buffer_bytes) buffer_ = std::string();
}

void Wal::fail(int error) {
  failed_ = true;
  throw FileError("write", directory_.path() + '/' + segment_name(current_->number), error);
}

void Wal::append(const raft::Write& write, const std::function<void()>& on_durable) {
  check_usable();
  check_order(write);
  failed_ = true;  // until this has gone well
  if (wal::batch_bytes(write) > current_->room()) {
    try {
      rotate(wal::batch_bytes(with_preface(write)));
    } catch (const FileError& error) {
      if (!error.no_space()) throw;
      failed_ = false;
      throw WalFull(error.what());
    }
  }
  lay_out(write);
  current_->file->write_durably(current_->end, buffer_);
  wrote(write);
  if (on_durable) on_durable();
  failed_ = false;
  tidy();
}

bool Wal::is_tidy() const {
  return has_spare() && has_zeros_ahead() && !can_drop_oldest();
}

void Wal::tidy() {
  check_usable();
  failed_ = true;  // until this has gone well
  drop_oldest();
  write_zeros_ahead();
  make_spare();
  failed_ = false;
}

std::unique_ptr<Remains> Wal::take_remains() {
  return std::move(remains_);
}

bool Wal::can_drop_oldest() const {
  // Without a mark nothing would say that there was something before.
  return snapshot_ && spans_.size() >= 2 && spans_.front().last <= droppable_;
}

// One at a time, in their order, and each durably: of the names that are left after a crash none is missing in
// between.
void Wal::drop_oldest() {
  if (!can_drop_oldest()) return;
  remains_ = directory_.remove_gently(segment_name(spans_.front().number));
  directory_.sync();
  spans_.pop_front();
}

}  // namespace kv
