#include "server/snapshots.hpp"

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdlib>
#include <functional>
#include <utility>

#include "common/overloaded.hpp"

namespace kv {
namespace {

constexpr std::string_view suffix = ".snap";
constexpr std::string_view damaged_suffix = ".damaged";
const std::string saving_name = "saving.snap.tmp";
const std::string receiving_name = "receiving.snap.tmp";
constexpr std::size_t digits = 16;

constexpr std::size_t read_bytes = 1 << 20;  // at once
constexpr std::size_t kept = 2;

std::string padded(std::uint64_t number) {
  std::string text = std::to_string(number);
  if (text.size() < digits) text.insert(0, digits - text.size(), '0');
  return text;
}

std::optional<raft::Position> position_of(std::string_view name) {
  if (name.size() != 2 * digits + 1 + suffix.size() || !name.ends_with(suffix) || name[digits] != '-') {
    return std::nullopt;
  }
  const auto is_digit = [](unsigned char c) { return std::isdigit(c) != 0; };
  const std::string index(name.substr(0, digits));
  const std::string term(name.substr(digits + 1, digits));
  if (!std::all_of(index.begin(), index.end(), is_digit) || !std::all_of(term.begin(), term.end(), is_digit)) {
    return std::nullopt;
  }
  return raft::Position{raft::Index(std::strtoull(index.c_str(), nullptr, 10)),
                        raft::Term(std::strtoull(term.c_str(), nullptr, 10))};
}

snapshot::Header header_of(raft::Position position) {
  return {position.index.value, position.term.value};
}

// A state that is being put together from a snapshot's bytes, as they come.
class Loader {
 public:
  explicit Loader(std::size_t max_sessions) : store_(std::make_unique<Store>(max_sessions)) {}

  // What is wrong with them, if anything is; nothing more may be taken then.
  std::optional<std::string> take(std::string_view bytes) {
    reader_.feed(bytes);
    for (;;) {
      snapshot::Reader::Next next = reader_.next();
      if (std::holds_alternative<snapshot::Reader::NeedMore>(next)) return std::nullopt;
      std::optional<std::string> problem =
          std::visit(Overloaded{[](snapshot::Reader::NeedMore&) { return std::optional<std::string>(); },
                                [&](snapshot::Header& header) {
                                  position_ = {raft::Index(header.index), raft::Term(header.term)};
                                  return std::optional<std::string>();
                                },
                                [&](snapshot::Reader::Block& block) { return store_->restore(block.records); },
                                [&](snapshot::Reader::End& end) { return store_->check_totals(end.totals); },
                                [](snapshot::Problem& wrong) { return std::optional(std::move(wrong.what)); }},
                     next);
      if (problem) return problem;
      if (std::holds_alternative<snapshot::Reader::End>(next)) return std::nullopt;
    }
  }

  // After the last bytes.
  std::optional<std::string> finish() {
    if (const auto problem = reader_.finish()) return problem->what;
    return std::nullopt;
  }

  std::uint64_t offset() const { return reader_.offset(); }
  raft::Position position() const { return position_; }
  std::unique_ptr<Store> release() { return std::move(store_); }

 private:
  snapshot::Reader reader_;
  std::unique_ptr<Store> store_;
  raft::Position position_;
};

}  // namespace

std::string snapshot_file_name(raft::Position position) {
  return padded(position.index.value) + '-' + padded(position.term.value).append(suffix);
}

std::vector<raft::Position> list_snapshots(Directory& directory) {
  std::vector<raft::Position> positions;
  for (const std::string& name : directory.list()) {
    if (const auto position = position_of(name)) positions.push_back(*position);
  }
  std::sort(positions.begin(), positions.end(), std::greater<>{});
  return positions;
}

std::variant<LoadedSnapshot, SnapshotProblem> load_snapshot(File& file, std::size_t max_sessions) {
  Loader loader(max_sessions);
  const std::uint64_t size = file.size();
  std::string piece(std::min<std::uint64_t>(size, read_bytes), '\0');
  for (std::uint64_t offset = 0; offset < size;) {
    const std::size_t read = file.read_at(offset, piece);
    if (read == 0) return SnapshotProblem{offset, "the file has become shorter"};
    if (auto problem = loader.take(std::string_view(piece).substr(0, read))) {
      return SnapshotProblem{loader.offset(), std::move(*problem)};
    }
    offset += read;
  }
  if (auto problem = loader.finish()) return SnapshotProblem{loader.offset(), std::move(*problem)};
  return LoadedSnapshot{loader.position(), loader.release(), size};
}

struct Snapshots::Saving {
  raft::Position position;
  snapshot::Writer writer;
  GentleWriter file;
};

struct Snapshots::Receiving {
  raft::Position position;
  std::uint64_t size = 0;
  Loader loader;
  GentleWriter file;
};

Snapshots::Snapshots(Directory& directory, SnapshotOptions options) : directory_(directory), options_(options) {
  for (const std::string& name : directory_.list()) {
    if (name == saving_name || name == receiving_name) directory_.remove(name);
  }
  // Also for a name that the process before this one has given and not lived to make durable.
  directory_.sync();
}

Snapshots::~Snapshots() = default;

std::optional<LoadedSnapshot> Snapshots::load_newest(std::vector<Damaged>& damaged) {
  for (const raft::Position position : list_snapshots(directory_)) {
    const std::string name = snapshot_file_name(position);
    auto result = load_snapshot(*directory_.open(name), options_.max_sessions);
    auto* loaded = std::get_if<LoadedSnapshot>(&result);
    if (loaded && loaded->position == position) return std::move(*loaded);
    const SnapshotProblem problem =
        loaded ? SnapshotProblem{0, "this is the snapshot of another position under this name"}
               : std::get<SnapshotProblem>(result);
    damaged.push_back({name, directory_.path() + '/' + name + " at offset " + std::to_string(problem.offset) +
                                 ": " + problem.what});
  }
  return std::nullopt;
}

void Snapshots::set_aside(const std::string& name) {
  directory_.rename(name, name + std::string(damaged_suffix));
  directory_.sync();
}

std::optional<SnapshotResult> Snapshots::perform(SnapshotTask task) {
  remains_.clear();
  return std::visit([this](auto& t) { return carry_out(t); }, task);
}

std::vector<std::unique_ptr<Remains>> Snapshots::take_remains() {
  return std::exchange(remains_, {});
}

// Nothing of it is used, so it does not matter what of it is on the disk.
void Snapshots::remove_unfinished(const std::string& name) {
  const std::vector<std::string> names = directory_.list();
  if (std::find(names.begin(), names.end(), name) == names.end()) return;
  if (auto remains = directory_.remove_gently(name)) remains_.push_back(std::move(remains));
}

// From now on it is a snapshot, whatever happens.
void Snapshots::give_name(GentleWriter& file, const std::string& temporary, raft::Position position) {
  file.finish();
  directory_.rename(temporary, snapshot_file_name(position));
  directory_.sync();
}

bool Snapshots::is_read(raft::Position position) const {
  return std::any_of(reading_.begin(), reading_.end(),
                     [&](const auto& item) { return item.second.position == position; });
}

// Returns the position of the last one that is kept beside the newest; 0: none.
raft::Index Snapshots::keep_newest(std::size_t count) {
  std::vector<raft::Position> positions = list_snapshots(directory_);
  for (; positions.size() > count; positions.pop_back()) {
    gone_.push_back({positions.back(), directory_.remove_gently(snapshot_file_name(positions.back()))});
  }
  directory_.sync();
  let_go();  // their names are gone for good: they may lose their bytes
  return positions.size() > 1 ? positions.back().index : raft::Index{};
}

void Snapshots::let_go() {
  for (Gone& gone : gone_) {
    if (gone.remains && !is_read(gone.position)) remains_.push_back(std::move(gone.remains));
  }
  std::erase_if(gone_, [](const Gone& gone) { return !gone.remains; });
}

// ---- Saving

std::optional<SnapshotResult> Snapshots::carry_out(snapshot_task::Save& task) {
  if (!task.first && (!saving_ || saving_->position != task.position)) {
    return snapshot_result::NotSaved{task.position};
  }
  if (task.first) {
    saving_.reset();
    remove_unfinished(saving_name);
    if (task.needs_bytes > directory_.free_bytes()) return snapshot_result::NotSaved{task.position};
  }
  try {
    return save(task);
  } catch (const FileError& error) {
    if (!error.no_space()) throw;
  }
  saving_.reset();
  remove_unfinished(saving_name);
  return snapshot_result::NotSaved{task.position};
}

snapshot_result::Saved Snapshots::save(snapshot_task::Save& task) {
  if (task.first) {
    saving_ = std::make_unique<Saving>(Saving{task.position, snapshot::Writer(header_of(task.position)),
                                              GentleWriter(directory_.create(saving_name), options_.part_bytes)});
    saving_->file.append(saving_->writer.begin());
  }
  if (!task.records.empty()) {
    saving_->file.append(saving_->writer.begin_block(task.records));
    saving_->file.append(task.records);
  }
  if (task.totals) {
    std::string end;
    saving_->writer.append_end(*task.totals, end);
    saving_->file.append(end);
  }
  snapshot_result::Saved saved{task.position, task.totals.has_value(), {}, saving_->file.bytes()};
  if (!saved.whole) return saved;
  give_name(saving_->file, saving_name, saving_->position);
  saving_.reset();
  saved.older = keep_newest(kept);
  return saved;
}

std::optional<SnapshotResult> Snapshots::carry_out(snapshot_task::MakeRoom&) {
  try {
    keep_newest(1);
  } catch (const FileError& error) {
    if (!error.no_space()) throw;  // some file systems need room to give room back
  }
  const std::vector<raft::Position> left = list_snapshots(directory_);
  return snapshot_result::MadeRoom{left.empty() ? raft::Index{} : left.front().index};
}

std::optional<SnapshotResult> Snapshots::carry_out(snapshot_task::Discard&) {
  return std::nullopt;  // it goes with the task
}

// ---- Reading

std::optional<SnapshotResult> Snapshots::carry_out(snapshot_task::Read& task) {
  snapshot_result::Piece piece{task.reader, task.position, task.offset, task.request, 0, {}};
  Reading& reading = reading_[task.reader];
  if (!reading.file || reading.position != task.position) {
    try {
      reading = {task.position, directory_.open(snapshot_file_name(task.position))};
      let_go();  // of what it has read before
    } catch (const FileError& error) {
      if (error.error() != ENOENT) throw;
      reading_.erase(task.reader);
      let_go();
      return piece;
    }
  }
  piece.size = reading.file->size();
  const std::uint64_t most = task.reader.peer.empty() ? options_.piece_bytes : options_.peer_piece_bytes;
  piece.bytes.resize(task.offset >= piece.size ? 0 : std::min(most, piece.size - task.offset));
  piece.bytes.resize(reading.file->read_at(task.offset, piece.bytes));
  return piece;
}

std::optional<SnapshotResult> Snapshots::carry_out(snapshot_task::Release& task) {
  reading_.erase(task.reader);
  let_go();
  return std::nullopt;
}

// ---- Receiving

std::optional<SnapshotResult> Snapshots::carry_out(snapshot_task::Receive& task) {
  try {
    return receive(task);
  } catch (const FileError& error) {
    if (!error.no_space()) throw;
  }
  receiving_.reset();
  remove_unfinished(receiving_name);
  return snapshot_result::Received{task.from, task.position, 0, nullptr, {}, "the disk has no room for it", false};
}

snapshot_result::Received Snapshots::receive(snapshot_task::Receive& task) {
  snapshot_result::Received received{task.from, task.position, 0, nullptr, {}, {}, false};
  const bool goes_on = receiving_ && receiving_->position == task.position && receiving_->size == task.size;
  if (!goes_on) {
    if (task.offset != 0) return received;
    receiving_.reset();
    remove_unfinished(receiving_name);
    receiving_ = std::make_unique<Receiving>(
        Receiving{task.position, task.size, Loader(options_.max_sessions),
                  GentleWriter(directory_.create(receiving_name), options_.part_bytes)});
  }
  received.offset = receiving_->file.bytes();
  if (task.offset != receiving_->file.bytes())
    return received;  // part of it has come already, and there it goes on

  receiving_->file.append(task.bytes);
  std::optional<std::string> problem = receiving_->loader.take(task.bytes);
  const bool all = receiving_->file.bytes() >= receiving_->size;
  if (!problem && all) problem = receiving_->loader.finish();
  if (!problem && all && receiving_->loader.position() != task.position) problem = "it is of another position";
  if (problem) {
    receiving_.reset();
    remove_unfinished(receiving_name);
    received.offset = 0;
    received.problem = std::move(*problem);
    received.damaged = true;
    return received;
  }
  received.offset = receiving_->file.bytes();
  if (!all) return received;
  give_name(receiving_->file, receiving_name, task.position);
  received.store = receiving_->loader.release();
  receiving_.reset();
  received.older = keep_newest(kept);
  return received;
}

}  // namespace kv
