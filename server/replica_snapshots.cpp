// Snapshots: taken of this server's own state, sent to followers that are too far behind, taken over from a leader,
// and handed out as backups. Files are for the host (snapshot_task.hpp), with a few parts of each on their way to
// it.
#include <algorithm>
#include <utility>

#include "server/raft/invariant.hpp"
#include "server/replica.hpp"

namespace kv {
namespace {

constexpr std::uint64_t pause_without_room = 10'000 / tick_ms;
constexpr std::size_t parts_a_tick = 2;
constexpr std::size_t most_parts = 8;  // on their way to the disk
constexpr std::size_t most_parts_beside_readers = 2;
constexpr std::size_t usual_item_bytes = 1 << 10;

std::string spelled(raft::Position position) {
  return std::to_string(position.index.value);
}

}  // namespace

void Replica::want(SnapshotTask task) {
  effects_.snapshot_tasks.push_back(std::move(task));
}

void Replica::snapshot_done(SnapshotResult result) {
  std::visit([this](auto& r) { on_done(r); }, result);
}

// ---- Taking one

bool Replica::snapshot_is_due() const {
  if (stopping_ || now_ < next_snapshot_tick_ || raft_.lacks_state() || !store_->members()) return false;
  if (now_ < rest_until_ && !snapshot_is_pressing()) return false;
  if (snapshot_is_bad_) return true;
  if (applied_ <= snapshot_.index) return false;
  if (snapshot_is_pressing() || snapshot_wanted_ || log_bytes_since_snapshot_ >= config_.snapshot_log_bytes)
    return true;
  return worthwhile_from_ && turn_of(applied_) != turn_of(*worthwhile_from_);
}

// Whatever has made the log long, what a snapshot holds can be forgotten; if that is worth it.
bool Replica::snapshot_is_pressing() const {
  return log_is_long() && !raft_.is_forgetting() && log_bytes_since_snapshot_ >= config_.limits.log_bytes / 16;
}

// A snapshot writes the whole state again: of a big one not for a few small writes. But the servers' turns come
// before the log is so long that one is due at once.
std::uint64_t Replica::worthwhile_log_bytes() const {
  return std::min<std::uint64_t>(store_->bytes() / 4, config_.snapshot_log_bytes / 2);
}

void Replica::note_log(const raft::Entry& entry) {
  log_bytes_since_snapshot_ += raft::bytes_of(entry);
  if (!worthwhile_from_ && log_bytes_since_snapshot_ >= worthwhile_log_bytes()) worthwhile_from_ = applied_;
}

void Replica::count_log_anew() {
  log_bytes_since_snapshot_ = 0;
  worthwhile_from_.reset();
}

// From a snapshot's position, of which there are so many entries now: 1 where the next one is due.
double Replica::way_to_next_snapshot(std::uint64_t entries) const {
  const auto part = [](std::uint64_t of, std::uint64_t all) {
    return static_cast<double>(of) / static_cast<double>(std::max<std::uint64_t>(all, 1));
  };
  const double by_bytes = part(log_bytes_since_snapshot_, config_.snapshot_log_bytes);
  const double by_worth = part(log_bytes_since_snapshot_, worthwhile_log_bytes());
  return std::max(by_bytes, std::min(by_worth, part(entries, config_.snapshot_every)));
}

// Which of the stretches between snapshots a position is in. Each server counts from another place, so that they
// take theirs one after the other and not all at once.
std::uint64_t Replica::turn_of(raft::Index position) const {
  const auto& names = roster_.names();
  const auto rank = std::find(names.begin(), names.end(), config_.self.node) - names.begin();
  const std::uint64_t ahead = config_.snapshot_every / names.size() * static_cast<std::uint64_t>(rank);
  return (position.value + ahead) / config_.snapshot_every;
}

// A snapshot takes its time, so that nobody's write waits for the disk because of it; but the more of the log there
// is behind it the faster it goes, to be whole when half of what makes the next one due is there. A full disk waits
// for it, and so do writes when the log is long.
bool Replica::next_part_is_due() const {
  // What is read for a follower waits behind them.
  const std::size_t most = sending_.empty() ? most_parts : most_parts_beside_readers;
  if (saving_->walked || saving_->parts >= most) return false;
  const double half_way = 2 * way_to_next_snapshot(applied_ - saving_->position.index);
  if (half_way >= 1 || !disk_has_room_ || log_is_long()) return true;
  const std::uint64_t at_leisure = (now_ - saving_->since + 1) * parts_a_tick * config_.snapshot_piece_bytes;
  const auto in_haste = static_cast<std::uint64_t>(static_cast<double>(store_->bytes()) * half_way);
  return saving_->bytes < at_leisure + in_haste;
}

void Replica::begin_saving() {
  if (saving_ || !snapshot_is_due()) return;
  saving_ = Saving{{applied_, applied_term_},
                   raft::Payload(command::encode(*store_->members())),
                   now_,
                   LogPace(config_.limits.log_bytes),
                   store_->bytes() + store_->keys() * snapshot::item_overhead_bytes};
  snapshot_wanted_ = false;
  count_log_anew();
  store_->begin_walk();
}

// The walk goes on beside all else, a part at a time.
void Replica::keep_saving() {
  while (saving_ && next_part_is_due()) save_next_part();
}

void Replica::save_next_part() {
  snapshot_task::Save part{saving_->position, !saving_->begun, 0, {}, {}};
  // A disk is not filled in vain again and again. But a first time it may be that room is on its way back.
  if (part.first && !snapshot_fits_) part.needs_bytes = saving_->items;
  part.records.reserve(config_.snapshot_piece_bytes + usual_item_bytes);  // the last one may go beyond a piece
  if (!store_->walk(config_.snapshot_piece_bytes, part.records)) {
    part.totals = store_->walk_totals();
    store_->end_walk();
    saving_->walked = true;
  }
  saving_->begun = true;
  saving_->bytes += part.records.size();
  ++saving_->parts;
  want(std::move(part));
}

void Replica::on_done(snapshot_result::Saved& saved) {
  if (!saving_ || saving_->position != saved.position) return;  // another one has taken its place
  --saving_->parts;
  saving_->written = saved.bytes;
  if (!saved.whole) return;
  const Saving done = *std::exchange(saving_, std::nullopt);
  snapshot_ = saved.position;
  snapshot_is_bad_ = false;
  snapshot_fits_ = true;
  snapshot_bytes_beside_items_ = saved.bytes - std::min(saved.bytes, done.items);
  // However often they are due, there is some time without one.
  rest_until_ = now_ + (now_ - done.since) / 4;
  notice(Notice::Level::info, "snapshot of " + spelled(snapshot_) + ": " + std::to_string(saved.bytes) +
                                  " bytes in " + std::to_string((now_ - done.since) * tick_ms) + " ms");
  raft_.snapshot_saved({snapshot_, done.context, false}, saved.older, forgettable());
  snapshot_wanted_ = false;  // this one was: who needs a newer one says so again
  serve_backups();
  // A full disk keeps neither an older one nor the log behind that.
  if (disk_has_room_) return;
  next_snapshot_tick_ = now_ + pause_without_room;
  want(snapshot_task::MakeRoom{});
}

void Replica::on_done(snapshot_result::NotSaved& not_saved) {
  if (!saving_ || saving_->position != not_saved.position) return;
  const Saving given_up = *std::exchange(saving_, std::nullopt);
  store_->end_walk();
  snapshot_wanted_ = true;
  snapshot_fits_ = false;
  next_snapshot_tick_ = now_ + pause_without_room;
  give_up_older_snapshots();
  notice(Notice::Level::warn, "the disk has no room for a snapshot, of some " + std::to_string(given_up.items) +
                                  " bytes: the log stays as long as it is, and it is tried again in 10 s");
}

// As long as the newest is one to go on from.
void Replica::give_up_older_snapshots() {
  if (!snapshot_is_bad_) effects_.snapshot_tasks.emplace_back(std::in_place_type<snapshot_task::MakeRoom>);
}

// All that an older snapshot was kept for can go.
void Replica::on_done(snapshot_result::MadeRoom& made_room) {
  snapshot_wanted_ = true;  // of what has been deleted since, there is no need to keep the log
  if (made_room.newest == raft::Index{} || made_room.newest != snapshot_.index || raft_.lacks_state()) return;
  if (snapshot_is_bad_ || !store_->members()) return;
  raft_.snapshot_saved({snapshot_, raft::Payload(command::encode(*store_->members())), false}, snapshot_.index,
                       forgettable());
}

// Of what is in the newest snapshot the core keeps some, and what those need who are getting an older one.
raft::Index Replica::forgettable() const {
  const raft::Log& log = raft_.log();
  raft::Index index = std::min(snapshot_.index, log.last_index());
  std::size_t bytes = 0;
  while (index > log.base_index() && snapshot_.index - index < config_.limits.kept_entries) {
    bytes += log.at(index).bytes();
    if (bytes > config_.limits.kept_bytes) break;
    index = index.previous();
  }
  if (log.bytes() > config_.limits.log_bytes / 2) return index;
  for (const auto& [peer, sending] : sending_) index = std::min(index, sending.position.index);
  return index;
}

// ---- Sending one

// Whoever needs more of the log than there is has no use for one from before that.
raft::Index Replica::least_snapshot_for(const raft::Progress& progress) const {
  if (progress.mode != raft::Progress::Mode::snapshot) return progress.wants_snapshot;
  return std::max(raft_.log().base_index(), progress.wants_snapshot);
}

// Every tick: who needs one gets it, from the beginning or where it goes on.
void Replica::feed_snapshots() {
  if (!raft_.leads()) {
    while (!sending_.empty()) stop_sending(std::string(sending_.begin()->first));
    return;
  }
  for (const std::string& name : roster_.names()) {
    const raft::Progress* progress = raft_.progress_of(raft::NodeId(name));
    if (!progress) continue;
    if (!progress->needs_snapshot() || !roster_.is_reached(name)) {
      stop_sending(name);
      continue;
    }
    auto found = sending_.find(name);
    const raft::Index least = least_snapshot_for(*progress);
    if (found != sending_.end() && found->second.position.index < least) {
      stop_sending(name);
      found = sending_.end();
    }
    if (found != sending_.end()) {
      // An answer is late: what was asked may be lost.
      if (now_ - found->second.since >= config_.election_ticks) read_next(name, found->second);
      continue;
    }
    if (snapshot_.index < least || snapshot_.index == raft::Index{} || snapshot_is_bad_) {
      snapshot_wanted_ = true;
      continue;
    }
    notice(Notice::Level::info,
           name + " is too far behind for the log: it gets the snapshot of " + spelled(snapshot_));
    read_next(name, sending_[name] = Sending{snapshot_, 0, now_});
  }
}

void Replica::read_next(const std::string& peer, Sending& sending) {
  sending.since = now_;
  want(snapshot_task::Read{{peer, 0}, sending.position, sending.offset, 0});
}

void Replica::stop_sending(const std::string& peer) {
  if (sending_.erase(peer) == 0) return;
  want(snapshot_task::Release{{peer, 0}});
}

void Replica::on_done(snapshot_result::Piece& piece) {
  if (piece.reader.peer.empty()) {
    const auto client = clients_.find(piece.reader.client);
    if (client == clients_.end()) return;
    --client->second.backup_parts;
    if (piece.size == 0) {
      refuse(piece.reader.client, piece.request, message::Code::compacted,
             "the snapshot of " + spelled(piece.position) + " is gone: begin the backup again");
      return;
    }
    pending_answer_bytes_ += piece.bytes.size();
    answer(piece.reader.client, piece.request,
           message::BackupOk{piece.position.index.value, piece.offset, piece.size, std::move(piece.bytes),
                             config_.self.node});
    return;
  }
  const auto sending = sending_.find(piece.reader.peer);
  if (sending == sending_.end() || sending->second.position != piece.position) return;
  if (piece.size == 0) {
    // A newer one is there; or its file has been taken away, and then another is needed.
    snapshot_is_bad_ = snapshot_is_bad_ || piece.position == snapshot_;
    sending_.erase(sending);
    return;
  }
  if (sending->second.offset != piece.offset || !raft_.leads()) return;
  effects_.send.push_back(
      {raft::NodeId(piece.reader.peer),
       message::Snapshot{raft_.term().value, config_.self.node, piece.position.index.value,
                         piece.position.term.value, piece.offset, piece.size, std::move(piece.bytes)}});
}

void Replica::receive_snapshot_ok(const raft::NodeId& from, const message::SnapshotOk& answer) {
  const auto sending = sending_.find(from.name);
  if (sending == sending_.end() || !raft_.leads() || answer.term != raft_.term().value) return;
  if (sending->second.position.index.value != answer.index) return;
  if (answer.damaged) {
    notice(Notice::Level::warn, from.name + " has found the snapshot of " + spelled(sending->second.position) +
                                    " damaged: another one is taken");
    snapshot_is_bad_ = snapshot_is_bad_ || sending->second.position == snapshot_;
    stop_sending(from.name);
    return;
  }
  if (sending->second.offset == answer.offset) return;  // an answer that came twice
  // Where it begins again, a newer one may be smaller, and what its log has not got yet is less.
  if (answer.offset < sending->second.offset && sending->second.position < snapshot_)
    return stop_sending(from.name);
  sending->second.offset = answer.offset;
  read_next(from.name, sending->second);
}

// ---- Taking one over

void Replica::receive_snapshot(const raft::NodeId& from, message::Snapshot& part) {
  if (part.leader != from.name || !raft_.hear_leader(from, raft::Term(part.term))) return;
  const raft::Position position{raft::Index(part.index), raft::Term(part.index_term)};
  const bool sane = part.index > 0 && part.index_term > 0 && part.index_term <= part.term &&
                    part.offset <= part.size && part.bytes.size() <= part.size - part.offset;
  if (!sane) return;
  if (!raft_.lacks_state() && position.index <= raft_.commit()) {
    raft_.install(position, nullptr);  // acknowledges it
    return;
  }
  if (receiving_) return;  // it comes again
  receiving_ = true;
  want(snapshot_task::Receive{from, position, part.offset, part.size, std::move(part.bytes)});
}

void Replica::on_done(snapshot_result::Received& received) {
  receiving_ = false;
  if (!received.problem.empty()) {
    notice(Notice::Level::warn, "the snapshot of " + spelled(received.position) + " from " + received.from.name +
                                    " was not taken: " + received.problem);
  }
  // A disk without room is asked again when the leader has waited for an answer.
  const bool answers = received.problem.empty() || received.damaged;
  if (answers && raft_.leader() == received.from) {
    effects_.send.push_back({received.from, message::SnapshotOk{raft_.term().value, received.position.index.value,
                                                                received.offset, received.damaged}});
  }
  if (received.store) install(received.position, std::move(received.store));
}

void Replica::install(raft::Position position, std::unique_ptr<Store> store) {
  snapshot_ = std::max(snapshot_, position);
  raft::Payload context;  // none: the snapshot is a backup, with which a cluster begins
  if (store->members()) context = raft::Payload(command::encode(*store->members()));
  if (!raft_.install(position, std::move(context))) {
    want(snapshot_task::Discard{std::move(store)});
    return;
  }
  saving_.reset();
  std::swap(store_, store);
  want(snapshot_task::Discard{std::move(store)});
  while (!to_apply_.empty() && to_apply_.front().entry.index <= position.index) to_apply_.pop_front();
  applied_ = position.index;
  applied_term_ = position.term;
  count_log_anew();
  snapshot_fits_ = true;
  raft_.forget_up_to(std::min(forgettable(), position.index));
  watches_.reset(position.index.value, effects_.answers);
  wake_all_newer();
  for (; !proposed_.empty() && proposed_.front().position.index <= position.index; proposed_.pop_front()) {
    fail_write(
        proposed_.front().origin, message::Code::unknown_outcome,
        "this server has taken over a snapshot since, which does not tell what became of the write: read the "
        "key to see");
  }
  growth_in_log_.erase(growth_in_log_.begin(), growth_in_log_.upper_bound(position.index));
  if (store_->members()) {
    note_members(*store_->members());
  } else {
    first_entry_ = applied_.next();
  }
  notice(Notice::Level::info,
         "took over the snapshot of " + spelled(position) + ": " + std::to_string(store_->keys()) + " keys");
}

// ---- Backups

void Replica::backup(ClientId client, message::Request& request, const message::Backup& asked) {
  Client& state = clients_[client];
  if (asked.snapshot != 0) {
    if (!state.backup || state.backup->index.value != asked.snapshot) {
      refuse(client, request.id, message::Code::compacted,
             "this connection has not begun a backup of " + std::to_string(asked.snapshot) + ": begin one");
      return;
    }
    if (state.backup_parts >= config_.limits.backup_parts) {
      refuse(client, request.id, message::Code::overloaded,
             "this connection has asked for " + std::to_string(state.backup_parts) +
                 " parts of its backup already: ask for the next when one has come");
      return;
    }
    ++state.backup_parts;
    want(snapshot_task::Read{{"", client}, *state.backup, asked.offset, request.id});
    return;
  }
  const auto reads = [](const auto& item) { return item.second.backup.has_value(); };
  const auto readers = static_cast<std::size_t>(std::count_if(clients_.begin(), clients_.end(), reads));
  if (waiting_backups_.size() + readers >= config_.limits.backups) {
    refuse(client, request.id, message::Code::overloaded,
           config_.self.node + " has too many backups under way: try again, or another server");
    return;
  }
  const std::uint64_t deadline = deadline_of(request.timeout_ms);
  expect(deadline);
  waiting_backups_.push_back({client, request.id, std::max(asked.ts, applied_.value), deadline});
  serve_backups();
}

// Each begins to read the newest snapshot as soon as it holds all that was there when it asked.
void Replica::serve_backups() {
  std::erase_if(waiting_backups_, [this](const WaitingBackup& waiting) {
    if (snapshot_.index.value < waiting.least || snapshot_.index == raft::Index{}) {
      snapshot_wanted_ = snapshot_wanted_ || applied_.value >= waiting.least;
      return false;
    }
    Client& client = clients_[waiting.client];
    client.backup = snapshot_;
    ++client.backup_parts;
    want(snapshot_task::Read{{"", waiting.client}, snapshot_, 0, waiting.id});
    return true;
  });
}

void Replica::expire_backups() {
  std::erase_if(waiting_backups_, [this](const WaitingBackup& waiting) {
    if (waiting.deadline > now_) {
      expect(waiting.deadline);
      return false;
    }
    message::Error error = message::make_error(
        message::Code::timeout, config_.self.node + " has no snapshot of " + std::to_string(waiting.least) +
                                    " yet: its newest is of " + spelled(snapshot_) + ", and it has applied " +
                                    std::to_string(applied_.value));
    error.applied = applied_.value;
    error.ts = waiting.least;
    error.leader = raft_.leader().name;
    answer(waiting.client, waiting.id, std::move(error));
    return true;
  });
}

}  // namespace kv
