#include "server/engine.hpp"

#include <spdlog/spdlog.h>

#include <asio/post.hpp>
#include <chrono>
#include <exception>
#include <utility>

namespace kv {
namespace {

constexpr std::uint64_t look_for_room_ticks = 1000 / tick_ms;

}  // namespace

Engine::Engine(asio::io_context& loop, std::unique_ptr<Replica> replica, std::unique_ptr<Wal> wal,
               std::unique_ptr<Snapshots> snapshots)
    : loop_(loop),
      replica_(std::move(replica)),
      wal_(std::move(wal)),
      snapshots_(std::move(snapshots)),
      direct_(std::in_place, loop),
      ticker_(loop),
      told_room_(wal_->has_spare()) {
  note_room(told_room_);
}

Engine::~Engine() {
  disk_.join();
  snapshot_disk_.join();
  giver_.join();
}

void Engine::connect(PeerOutlet& peers, ClientOutlet& clients, std::function<void(const std::string&)> on_fatal) {
  peers_ = &peers;
  clients_ = &clients;
  on_fatal_ = std::move(on_fatal);
}

void Engine::start_ticking() {
  ticker_.expires_after(std::chrono::milliseconds(tick_ms));
  tick();
}

void Engine::tick() {
  ticker_.async_wait([this](std::error_code error) {
    if (error || stopped_) return;
    // A process that was stopped for a while does not make up for the ticks it has missed: it would take its
    // own silence for the others'.
    const auto now = std::chrono::steady_clock::now();
    const auto late = now - ticker_.expiry();
    const auto step = std::chrono::milliseconds(tick_ms);
    ticker_.expires_at(late > 10 * step ? now + step : ticker_.expiry() + step);
    replica_->tick();
    // While the disk is full few writes come along that would show that there is room again.
    if ((!has_room_ || waiting_write_) && ++ticks_without_room_ % look_for_room_ticks == 0) look_for_room();
    poke();
    tick();
  });
}

void Engine::poke() {
  if (poked_ || stopped_) return;
  poked_ = true;
  asio::post(loop_, [this] {
    if (!poked_) return;
    flush();
  });
}

void Engine::flush() {
  poked_ = false;
  if (stopped_) return;
  Effects effects;
  try {
    effects = replica_->take_effects();
  } catch (const std::exception& error) {
    fail(error.what());
    return;
  }
  for (const Notice& notice : effects.notices) {
    const auto level = notice.level == Notice::Level::warn    ? spdlog::level::warn
                       : notice.level == Notice::Level::debug ? spdlog::level::debug
                                                              : spdlog::level::info;
    spdlog::log(level, "{}", notice.text);
  }
  if (effects.write) start_write(std::make_shared<const raft::Write>(std::move(*effects.write)));
  for (SnapshotTask& task : effects.snapshot_tasks) start_snapshot_task(std::move(task));
  for (PeerMessage& message : effects.send) peers_->deliver(std::move(message));
  peers_->flush();
  for (ClientAnswer& answer : effects.answers) clients_->deliver(std::move(answer));
  clients_->flush();
  if (replica_->has_more()) poke();
}

void Engine::start_write(std::shared_ptr<const raft::Write> write) {
  if (start_direct_write(write)) return;
  on_disk_thread([this, write = std::move(write)] { append(write, false); });
}

bool Engine::start_direct_write(const std::shared_ptr<const raft::Write>& write) {
  if (!direct_->is_available() || disk_jobs_.load(std::memory_order_acquire) != 0) return false;
  const std::optional<Wal::Batch> batch = wal_->prepare(*write);
  if (!batch) return false;
  const std::optional<int> file = batch->file.direct();
  return file && direct_->start(*file, batch->offset, batch->pieces,
                                [this, write](DirectWriter::Outcome outcome, int error) {
                                  if (!stopped_) end_direct_write(write, outcome, error);
                                });
}

void Engine::end_direct_write(const std::shared_ptr<const raft::Write>& write, DirectWriter::Outcome outcome,
                              int error) {
  if (outcome == DirectWriter::Outcome::refused) return on_disk_thread([this, write] { append(write, false); });
  try {
    if (outcome == DirectWriter::Outcome::failed) wal_->fail(error);
    wal_->wrote(*write);
  } catch (const std::exception& failure) {
    return fail(failure.what());
  }
  if (!wal_->is_tidy()) on_disk_thread([this] { tidy(); });
  on_written(write->id);
}

// A job that leads to another one asks for it before it ends, so that the count does not fall to zero in between.
void Engine::on_disk_thread(std::function<void()> job) {
  disk_jobs_.fetch_add(1, std::memory_order_relaxed);
  asio::post(disk_, [this, job = std::move(job)] {
    job();
    disk_jobs_.fetch_sub(1, std::memory_order_release);
  });
}

void Engine::tidy() {
  try {
    wal_->tidy();
    tell_remains();
    look_for_spare();
  } catch (const std::exception& error) {
    tell_failure(error.what());
  }
}

void Engine::tell_remains() {
  if (auto remains = wal_->take_remains()) asio::post(giver_, [gone = std::move(remains)] {});
}

void Engine::append(const std::shared_ptr<const raft::Write>& write, bool again) {
  try {
    wal_->append(*write, [this, id = write->id] { asio::post(loop_, [this, id] { on_written(id); }); });
    tell_remains();
    look_for_spare();
  } catch (const WalFull&) {
    // Not an error: nothing was written, and it is tried again until there is room.
    if (told_room_ && !again) return after_remains([this, write] { append(write, true); });
    asio::post(loop_, [this, write] { waiting_write_ = write; });
    tell_room(false);
  } catch (const std::exception& error) {
    tell_failure(error.what());
  }
}

void Engine::look_for_spare() {
  if (wal_->has_spare() || !told_room_) return tell_room(wal_->has_spare());
  if (std::exchange(looks_again_, true)) return;
  after_remains([this] {
    looks_again_ = false;
    try_spare();
  });
}

void Engine::try_spare() {
  try {
    tell_room(wal_->try_spare());
  } catch (const std::exception& error) {
    tell_failure(error.what());
  }
}

// Of what was dropped some may still be on its way back to the disk. The disk is full if it is when that is done.
void Engine::after_remains(std::function<void()> next) {
  disk_jobs_.fetch_add(1, std::memory_order_relaxed);
  asio::post(snapshot_disk_, [this, next = std::move(next)] {
    asio::post(giver_, [this, next] {
      on_disk_thread(next);
      disk_jobs_.fetch_sub(1, std::memory_order_release);
    });
  });
}

void Engine::on_written(std::uint64_t write_id) {
  if (stopped_) return;
  replica_->written(write_id);
  poke();
}

void Engine::tell_room(bool has_room) {
  if (std::exchange(told_room_, has_room) == has_room) return;
  asio::post(loop_, [this, has_room] {
    if (!stopped_) note_room(has_room);
  });
}

// A disk error is final.
void Engine::tell_failure(std::string text) {
  asio::post(loop_, [this, text = std::move(text)] {
    if (!stopped_) fail(text);
  });
}

void Engine::start_snapshot_task(SnapshotTask task) {
  auto shared = std::make_shared<SnapshotTask>(std::move(task));
  asio::post(snapshot_disk_, [this, shared = std::move(shared)] {
    try {
      auto result = std::make_shared<std::optional<SnapshotResult>>(snapshots_->perform(std::move(*shared)));
      if (auto remains = snapshots_->take_remains(); !remains.empty()) {
        asio::post(giver_, [gone = std::move(remains)] {});
      }
      if (!*result) return;
      asio::post(loop_, [this, result] {
        if (stopped_) return;
        replica_->snapshot_done(std::move(**result));
        poke();
      });
    } catch (const std::exception& error) {
      tell_failure(error.what());
    }
  });
}

void Engine::look_for_room() {
  if (waiting_write_) {
    start_write(std::exchange(waiting_write_, nullptr));
    return;
  }
  if (!direct_->is_busy()) on_disk_thread([this] { try_spare(); });  // else it is looked for behind that write
}

void Engine::note_room(bool has_room) {
  if (has_room != has_room_) {
    if (has_room) {
      spdlog::info("the disk has room again: all writes are taken");
    } else {
      spdlog::warn(
          "the disk is full: writes that add get NO_SPACE; make room in the data directory, or delete keys");
    }
  }
  has_room_ = has_room;
  replica_->disk_has_room(has_room);
}

void Engine::fail(const std::string& text) {
  stopped_ = true;
  on_fatal_(text);
}

void Engine::shut_down() {
  stopped_ = true;
  ticker_.cancel();
  direct_.reset();
  disk_.join();
  snapshot_disk_.join();
  giver_.join();
}

}  // namespace kv
