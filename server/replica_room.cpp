// Room for more, and a disk that takes writes: whether a write may add, how much it would, and what an operator has
// to be told before clients find out.
#include <algorithm>
#include <utility>

#include "server/replica.hpp"

namespace kv {

void Replica::disk_has_room(bool has_room) {
  if (disk_has_room_ && !has_room) give_up_older_snapshots();
  if (!disk_has_room_ && has_room) next_snapshot_tick_ = 0;
  disk_has_room_ = has_room;
  raft_.set_full(!this->has_room());
}

// The disk's alone is not enough: where no snapshot fits, nothing makes a log shorter that is full.
bool Replica::has_room() const {
  return disk_has_room_ && (snapshot_fits_ || raft_.log().bytes() <= config_.limits.log_bytes);
}

// A leader without room hands over to one that has some; till then it cannot write. And what a majority has no room
// for would never be committed.
bool Replica::may_add() const {
  return has_room() && (majority_has_room_ || !raft_.leads());
}

std::string Replica::what_has_no_room() const {
  if (has_room()) return "the disks of a majority of the servers are full";
  const std::string disk = "the disk of the leader, " + config_.self.node;
  if (!disk_has_room_) return disk + ", is full";
  return disk + ", has no room for a snapshot, and its log is as long as it may be";
}

// From here on a snapshot is due as soon as it would hold a part of the log, and writes go on as it does.
bool Replica::log_is_long() const {
  return raft_.log().bytes() > config_.limits.log_bytes / 2;
}

double Replica::part_saved() const {
  const std::uint64_t likely = saving_->items + snapshot_bytes_beside_items_;
  const std::uint64_t all = std::max({saving_->bytes, likely, std::uint64_t{1}});
  return std::min(static_cast<double>(saving_->written) / static_cast<double>(all), 1.0);
}

// Whether a leader takes another write when it has taken so many bytes of them this turn. What does not fit into
// the log waits only where a snapshot under way will make room; so writes become as fast as snapshots are.
bool Replica::log_takes_more(std::size_t bytes) {
  const std::size_t most = config_.limits.log_bytes;
  const std::size_t log_bytes = raft_.log().bytes() + bytes;
  if (log_bytes <= most / 2) return true;
  // Without room what only deletes is taken, since it can help, and the rest is refused for that.
  if (!may_add()) return log_bytes <= most + most / 4;
  if (log_bytes > most) return false;
  if (saving_) return saving_->pace.takes_more(part_saved(), bytes, most - log_bytes);
  // Where it was short until now a snapshot may begin first, in the next turn. Where it was not, none is due or
  // none can be taken.
  return log_is_long();
}

std::uint64_t Replica::growth_of(std::string_view key, std::size_t value_bytes) const {
  const std::uint64_t after = key.size() + value_bytes;
  const Item* item = store_->find(key);
  const std::uint64_t before = item ? item->key().size() + item->value().size() : 0;
  return after > before ? after - before : 0;
}

// At most: which side of a TXN is done is not known yet.
std::uint64_t Replica::growth_of(const command::Command& command) const {
  if (const auto* put = std::get_if<command::Put>(&command)) return growth_of(put->key, put->value.size());
  const auto* txn = std::get_if<command::Txn>(&command);
  if (!txn) return 0;
  const auto growth_of_all = [this](const std::vector<command::Operation>& operations) {
    std::uint64_t growth = 0;
    for (const command::Operation& operation : operations) {
      const bool puts = operation.what == command::Operation::What::put;
      if (puts) growth += growth_of(operation.key, operation.value.size());
    }
    return growth;
  };
  return std::max(growth_of_all(txn->then), growth_of_all(txn->otherwise));
}

// Every tick: who has room, and whether the quota is near.
void Replica::look_at_room() {
  raft_.set_full(!has_room());
  if (raft_.leads()) {
    std::size_t with_room = has_room() ? 1 : 0;
    for (const std::string& name : roster_.names()) {
      const raft::Progress* progress = raft_.progress_of(raft::NodeId(name));
      if (progress && !progress->full) ++with_room;
    }
    majority_has_room_ = with_room > roster_.names().size() / 2;
  }
  if (config_.quota == 0) return;
  const std::uint64_t percent = store_->bytes() * 100 / config_.quota;
  if (percent >= 80 && !quota_warned_) {
    quota_warned_ = true;
    notice(Notice::Level::warn, "the data is " + std::to_string(percent) +
                                    " % of --quota: writes that add get NO_SPACE "
                                    "when it is reached; delete keys or raise it");
  } else if (percent < 70 && quota_warned_) {
    quota_warned_ = false;
    notice(Notice::Level::info, "the data is " + std::to_string(percent) + " % of --quota again");
  }
}

// A disk that has not finished a write for so long keeps this server from leading and from voting. A full one says
// nothing else: the write waits for room.
void Replica::look_at_disk() {
  const bool hangs = raft_.disk_hangs();
  if (std::exchange(disk_hung_, hangs) == hangs) return;
  if (hangs) {
    notice(Notice::Level::warn, what_hangs() + ": until it has, this server neither leads nor votes");
  } else {
    notice(Notice::Level::info, "the disk has finished the write that it was busy with");
  }
}

std::string Replica::what_hangs() const {
  return disk_has_room_ ? "the disk has not finished a write for longer than an election takes"
                        : "the disk is so full that it has not taken a write for longer than an election takes";
}

std::string Replica::why_no_leader() const {
  return raft_.disk_hangs() ? what_hangs() : "a majority of the servers must be up and see each other";
}

}  // namespace kv
