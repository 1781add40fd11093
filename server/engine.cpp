#include "server/engine.hpp"

#include <spdlog/spdlog.h>

#include <asio/post.hpp>
#include <chrono>
#include <utility>

namespace kv {
namespace {

constexpr std::uint64_t look_for_room_ticks = 1000 / tick_ms;

}  // namespace

Engine::Engine(asio::io_context& loop, std::unique_ptr<Replica> replica, std::unique_ptr<Wal> wal)
    : loop_(loop), replica_(std::move(replica)), wal_(std::move(wal)), ticker_(loop) {
  note_room(wal_->has_spare());
}

Engine::~Engine() {
  disk_.join();
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
    if (!has_room_ && ++ticks_without_room_ % look_for_room_ticks == 0) look_for_room();
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
  if (effects.write) start_write(std::move(*effects.write));
  for (PeerMessage& message : effects.send) peers_->deliver(std::move(message));
  peers_->flush();
  for (ClientAnswer& answer : effects.answers) clients_->deliver(std::move(answer));
  clients_->flush();
  if (replica_->has_more()) poke();
}

void Engine::start_write(raft::Write write) {
  asio::post(disk_, [this, write = std::move(write)] {
    std::exception_ptr error;
    try {
      wal_->append(write);
    } catch (...) {
      error = std::current_exception();
    }
    const bool has_room = !error && wal_->has_spare();
    asio::post(loop_, [this, id = write.id, error, has_room] { on_written(id, error, has_room); });
  });
}

void Engine::on_written(std::uint64_t write_id, std::exception_ptr error, bool has_room) {
  if (stopped_) return;
  if (error) {
    try {
      std::rethrow_exception(error);
    } catch (const std::exception& failure) {
      fail(failure.what());
    }
    return;
  }
  note_room(has_room);
  replica_->written(write_id);
  poke();
}

void Engine::look_for_room() {
  asio::post(disk_, [this] {
    std::exception_ptr error;
    bool has_room = false;
    try {
      has_room = wal_->try_spare();
    } catch (...) {
      error = std::current_exception();
    }
    asio::post(loop_, [this, error, has_room] {
      if (error) {
        on_written(0, error, false);
      } else {
        note_room(has_room);
      }
    });
  });
}

void Engine::note_room(bool has_room) {
  if (has_room != has_room_) {
    if (has_room) {
      spdlog::info("the disk has room again: all writes are taken");
    } else {
      spdlog::warn(
          "the disk is full: writes that add get NO_SPACE; delete keys, or make room in the data directory");
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
  disk_.join();
}

}  // namespace kv
