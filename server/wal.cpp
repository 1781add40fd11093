#include "server/wal.hpp"

#include <algorithm>
#include <cassert>
#include <utility>

#include "server/wal_format.hpp"
#include "server/wal_names.hpp"
#include "server/wal_segment.hpp"

namespace kv {
namespace {

using wal::block_bytes;
using wal::number_of;
using wal::sector_bytes;
using wal::segment_name;
using wal::slice_bytes;
using wal::up_to_multiple;
using wal::zeros;

// A buffer that one huge batch has made larger than this is given back.
constexpr std::size_t kept_buffer_bytes = 8 << 20;

}  // namespace

WalCorruption::WalCorruption(const std::string& directory, WalDamage damage)
    : std::runtime_error(directory +
                         (damage.file.empty() ? std::string()
                                              : '/' + damage.file + " at offset " + std::to_string(damage.offset)) +
                         ": " + damage.what + ". " + damage.remedy),
      damage_(std::move(damage)) {}

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
    recover(names, recovered);
    identity_ = recovered.identity;
  }
  make_spare();
}

Wal::~Wal() = default;

bool Wal::exists(Directory& directory) {
  const std::vector<std::string> names = directory.list();
  return std::any_of(names.begin(), names.end(), wal::is_segment_name);
}

// What was dropped last may hold the room, and so may what can be dropped.
std::unique_ptr<Wal::Segment> Wal::create_segment(std::uint64_t number, std::uint64_t bytes) {
  for (;;) {
    try {
      return try_to_create_segment(number, bytes);
    } catch (const FileError& error) {
      if (!error.no_space() || (!remains_ && !can_drop_oldest())) throw;
    }
    if (!remains_) drop_oldest();
    remains_.reset();
  }
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

// Where there is no room for one as long as usual there may be for a short one: it is now needed.
std::unique_ptr<Wal::Segment> Wal::create_segment_for(std::uint64_t least_bytes) {
  const std::uint64_t shortest = std::max(options_.segment_bytes, least_bytes);
  const std::uint64_t usual = std::max(next_segment_bytes(), least_bytes);
  try {
    return create_segment(current_->number + 1, usual);
  } catch (const FileError& error) {
    if (!error.no_space() || usual == shortest) throw;
  }
  return create_segment(current_->number + 1, shortest);
}

void Wal::rotate(std::uint64_t batch_bytes) {
  if (spare_ && batch_bytes <= spare_->room()) {
    current_ = std::move(spare_);
  } else {
    // In place of the spare, if there is one that is too small: it has the same name.
    current_ = create_segment_for(up_to_multiple(sector_bytes + batch_bytes, block_bytes));
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
  spans_.pop_front();
  directory_.sync();
}

}  // namespace kv
