#include "server/inspect_log.hpp"

#include <algorithm>
#include <utility>

#include "common/text.hpp"
#include "server/translate.hpp"
#include "server/wal_names.hpp"

namespace kv::inspect {
namespace {

using wal::sector_bytes;

// Of a file whose header does not say how long it should be.
constexpr std::uint64_t most_bytes_read = 1 << 30;

constexpr const char* unreadable_remedy =
    "If this user may not read it, look again as the user that the server runs as. Else the disk has lost it: "
    "restore this server's data directory from a backup of it; or, while a majority of the cluster works without "
    "this server, leave it off";
constexpr const char* unknown_remedy = "Run the newer kvd that wrote it";

// "if a; then PUT b, GET c; else DELETE a": as a person would tell it, however strange the keys are.
class TxnText {
 public:
  explicit TxnText(const command::Txn& txn) {
    for (const command::Condition& condition : txn.conditions) word("if", quoted(condition.key));
    for (const command::Operation& operation : txn.then) word("then", text_of(operation));
    for (const command::Operation& operation : txn.otherwise) word("else", text_of(operation));
  }

  std::string take() { return std::move(text_); }
  std::uint64_t value_bytes() const { return value_bytes_; }

 private:
  static std::string quoted(std::string_view key) { return "\"" + escape_control(key, key.size()) + "\""; }

  std::string text_of(const command::Operation& operation) {
    value_bytes_ += operation.value.size();
    return std::string(message::name_of(to_wire(operation.what))) + " " + quoted(operation.key);
  }

  void word(const std::string& section, const std::string& word) {
    const bool begins = std::exchange(section_, section) != section;
    text_ += begins ? (text_.empty() ? "" : "; ") + section + " " + word : ", " + word;
  }

  std::string text_;
  std::string section_;
  std::uint64_t value_bytes_ = 0;
};

std::string names_of(const command::Members& members) {
  std::string names;
  for (const command::Member& member : members.members) names += (names.empty() ? "" : ", ") + member.node;
  return names;
}

}  // namespace

void LogReader::wrong(std::uint64_t offset, std::string what, std::string remedy) {
  segment_->is_whole = false;
  findings_.problems.push_back({segment_->name, offset, std::move(what), std::move(remedy)});
}

void LogReader::run(const std::vector<std::string>& names) {
  if (names.empty()) return;
  const std::uint64_t first = wal::number_of(names.front());
  next_batch_ = first == 1 ? 1 : 0;
  bool all_whole = true;
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::uint64_t due = i == 0 ? first : segment_->number + 1;
    if (wal::number_of(names[i]) != due) {
      findings_.problems.push_back(
          {wal::segment_name(due), 0, "the file is missing, though there is " + names[i], damaged_log_remedy});
      next_batch_ = 0;
    }
    read_segment(names[i], i == 0, i + 1 == names.size());
    all_whole = all_whole && segment_->is_whole;
  }
  const bool lacks_first = first > 1 && !has_mark_ && all_whole;
  if (lacks_first) {
    findings_.problems.push_back({wal::segment_name(first - 1), 0,
                                  "the file is missing, though there is " + names.front(), damaged_log_remedy});
  }
  if (lacks_first || !findings_.segments.front().is_whole) first_.reset();
  if (!torn_) return;
  findings_.notes.push_back(torn_->file + " at offset " + std::to_string(torn_->offset) + ": " +
                            std::to_string(torn_->bytes) +
                            " bytes of a write that was not finished, and of which nobody was told. A start cuts "
                            "them off");
}

void LogReader::read_segment(const std::string& name, bool is_first, bool is_last) {
  segment_ = &findings_.segments.emplace_back();
  segment_->name = name;
  segment_->number = wal::number_of(name);
  std::string contents;
  bool header_is_good = false;
  try {
    const std::unique_ptr<File> file = directory_.open(name);
    segment_->bytes = file->size();
    std::string sector(sector_bytes, '\0');
    sector.resize(file->read_at(0, sector));
    header_is_good = check_header(sector);
    contents.resize(std::min(segment_->bytes, most_bytes_read) / sector_bytes * sector_bytes);
    contents.resize(file->read_at(0, contents) / sector_bytes * sector_bytes);
  } catch (const FileError& error) {
    wrong(0, error.what(), unreadable_remedy);
    contents.clear();
  }
  if (contents.empty()) {
    next_batch_ = 0;
    return;
  }
  read_batches(contents, header_is_good);
  if (segment_->is_whole && segment_->batches == 0) check_emptiness(is_first, is_last);
}

// Whether its checksum is right: then that of its batches can be believed as well.
bool LogReader::check_header(std::string_view sector) {
  const auto decoded = wal::decode_segment_header(sector);
  if (const auto* problem = std::get_if<wal::Problem>(&decoded)) {
    wrong(0, problem->what);
    return false;
  }
  const auto& header = std::get<wal::SegmentHeader>(decoded);
  if (header.number != segment_->number) {
    wrong(0, "this is segment " + std::to_string(header.number) + " under another name");
  }
  if (findings_.identity.empty()) findings_.identity = header.identity;
  if (header.identity != findings_.identity) {
    wrong(0, "this is of the data directory " + header.identity + ", the others are of " + findings_.identity);
  }
  if (segment_->bytes != header.bytes) {
    wrong(std::min(segment_->bytes, header.bytes), "the file is " + std::to_string(segment_->bytes) +
                                                       " bytes long and should be " + std::to_string(header.bytes));
  }
  return true;
}

void LogReader::read_batches(std::string_view contents, bool header_is_good) {
  const bool is_in_place = segment_->is_whole;
  wal::SegmentReader reader(contents, is_in_place ? next_batch_ : 0);
  next_batch_ = 0;
  for (;;) {
    const std::uint64_t offset = reader.offset();
    wal::SegmentReader::Next next = reader.next();
    if (std::holds_alternative<wal::SegmentReader::End>(next)) {
      segment_->free_bytes = contents.size() - offset;
      if (is_in_place) next_batch_ = reader.next_batch();
      return;
    }
    if (torn_) torn_end_is_inside();
    if (const auto* torn = std::get_if<wal::SegmentReader::Torn>(&next)) {
      torn_ = Torn{segment_->name, offset, torn->bytes};
      segment_->free_bytes = contents.size() - offset;
      return;
    }
    if (auto* problem = std::get_if<wal::Problem>(&next)) {
      if (!header_is_good) return;  // which says enough
      const bool goes_on = reader.skip_damage();
      if (goes_on && reader.offset() > offset) {
        problem->what += " (the next whole batch is number " + std::to_string(reader.next_batch()) +
                         ", at offset " + std::to_string(reader.offset()) + ")";
      }
      wrong(offset, std::move(problem->what));
      if (!goes_on) return;
      continue;
    }
    take(std::get<wal::Batch>(next), offset);
  }
}

// The first segment is empty until there is a batch that fits it, the last one as long as it is the spare.
void LogReader::check_emptiness(bool is_first, bool is_last) {
  if (segment_->number == 1) return;
  if (is_last && !is_first) {
    segment_->is_spare = true;
    return;
  }
  if (torn_ && torn_->file == segment_->name) torn_.reset();
  wrong(sector_bytes, is_first ? "the segment is empty, though it is not the first of the log"
                               : "the segment is empty, though there is one after it");
  next_batch_ = 0;
}

void LogReader::torn_end_is_inside() {
  for (Segment& segment : findings_.segments) {
    if (segment.name == torn_->file) segment.is_whole = false;
  }
  findings_.problems.push_back({torn_->file, torn_->offset,
                                "a batch is incomplete, though something was written after it",
                                damaged_log_remedy});
  torn_.reset();
}

// ---- Records

void LogReader::take(wal::Batch& batch, std::uint64_t offset) {
  if (segment_->batches++ == 0) segment_->first_batch = batch.number;
  segment_->last_batch = batch.number;
  segment_->commit = std::max(segment_->commit, batch.commit);
  if (batch.hard_state) {
    record({RecordKind::vote, batch.hard_state->term, {}, batch.hard_state->vote.name, 0, false});
    findings_.hard_state = std::move(*batch.hard_state);
  }
  if (batch.snapshot) take(*batch.snapshot);
  for (const raft::Entry& entry : batch.entries) take(entry, offset);
}

void LogReader::take(const raft::SnapshotMark& mark) {
  has_mark_ = true;
  if (mark.context) note_members(*mark.context);
  if (mark.resets_log) {
    replace_from(raft::Index{});
    first_ = mark.position.index.next();
  }
  record({RecordKind::snapshot, mark.position.term, mark.position.index,
          mark.resets_log ? "the log begins anew behind it" : "", 0, false});
}

void LogReader::take(const raft::Entry& entry, std::uint64_t offset) {
  if (segment_->entries++ == 0) segment_->first = entry.index;
  segment_->first = std::min(segment_->first, entry.index);
  segment_->last = std::max(segment_->last, entry.index);
  first_ = first_ ? std::min(*first_, entry.index) : entry.index;
  replace_from(entry.index);

  Record found{RecordKind::no_op, entry.term, entry.index, {}, 0, false};
  if (entry.command) {
    auto command = command::decode(*entry.command);
    if (!command) {
      found.kind = RecordKind::unknown;
      wrong(offset, "entry " + std::to_string(entry.index.value) + " is of a format that this kvd does not know",
            unknown_remedy);
    } else if (auto* put = std::get_if<command::Put>(&*command)) {
      found = {RecordKind::put, entry.term, entry.index, std::string(put->key), put->value.size(), false};
    } else if (auto* del = std::get_if<command::Delete>(&*command)) {
      found = {RecordKind::del, entry.term, entry.index, std::string(del->key), 0, false};
    } else if (const auto* txn = std::get_if<command::Txn>(&*command)) {
      TxnText text(*txn);
      found = {RecordKind::txn, entry.term, entry.index, text.take(), text.value_bytes(), false};
    } else {
      found = {
          RecordKind::members, entry.term, entry.index, names_of(std::get<command::Members>(*command)), 0, false};
      note_members(*entry.command);
    }
  }
  if (options_.records) current_.push_back(findings_.records.size());
  record(std::move(found));
}

void LogReader::note_members(std::string_view command) {
  auto decoded = command::decode(command);
  if (auto* members = decoded ? std::get_if<command::Members>(&*decoded) : nullptr) {
    findings_.members = std::move(*members);
  }
}

void LogReader::record(Record record) {
  if (options_.records) findings_.records.push_back(std::move(record));
}

void LogReader::replace_from(raft::Index index) {
  for (; !current_.empty() && findings_.records[current_.back()].index >= index; current_.pop_back()) {
    findings_.records[current_.back()].is_replaced = true;
  }
}

}  // namespace kv::inspect
