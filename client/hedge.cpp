#include "client/hedge.hpp"

#include <algorithm>
#include <utility>

namespace kv::client {

Hedge::Hedge(ServerPool& pool, std::shared_ptr<Call> call, message::Request request, std::uint64_t position,
             ServerPool::ServerPtr first, const WaitHandler& on_wait, HedgeTimes times)
    : pool_(pool),
      call_(std::move(call)),
      inbox_(std::make_shared<Call>(call_)),
      request_(std::move(request)),
      position_(position),
      first_(std::move(first)),
      on_wait_(on_wait),
      times_(times),
      next_event_(Clock::now() + times.silent) {}

void Hedge::first_waits() {
  first_said_wait_ = true;
  if (has_begun_) return;
  const std::vector<ServerPool::ServerPtr> others = pool_.others_for(first_, position_);
  const bool one_is_fresh = !others.empty() && pool_.knows_to_have(*others.front(), position_);
  const auto pause = one_is_fresh ? std::chrono::milliseconds{0} : times_.behind;
  next_event_ = std::min(next_event_, Clock::now() + pause);
}

std::optional<Hedge::Answered> Hedge::step() {
  const Clock::time_point now = Clock::now();
  if (!has_begun_) {
    if (now < next_event_) return std::nullopt;
    has_begun_ = true;
    if (!first_said_wait_) pool_.avoid(first_);  // it says nothing
    others_ = pool_.others_for(first_, position_);
    std::reverse(others_.begin(), others_.end());
  }
  while (server_ || choose()) {
    if (link_) {
      if (std::optional<Answered> answered = take_answer()) return answered;
    } else if (pool_.is_usable(server_)) {
      link_ = server_->link;
      inbox_->begin_attempt();
      request_.timeout_ms = static_cast<std::uint64_t>(std::max<std::int64_t>(call_->remaining().count(), 1));
      id_ = link_->ask(request_, inbox_);
      next_event_ = now + times_.silent;
    }
    if (!is_over(now)) return std::nullopt;
    leave();
  }
  next_event_ = Clock::time_point::max();
  return std::nullopt;
}

// The next one; false: there is none.
bool Hedge::choose() {
  if (others_.empty()) return false;
  server_ = std::move(others_.back());
  others_.pop_back();
  pool_.open(server_, call_);
  next_event_ = Clock::now() + pool_.connect_step();
  return true;
}

std::optional<Hedge::Answered> Hedge::take_answer() {
  while (std::optional<message::Answer> answer = inbox_->take()) {
    pool_.note_position(server_, *answer);
    if (const auto* error = std::get_if<message::Error>(&answer->body)) {
      if (may_help_to_retry(error->code)) pool_.avoid(server_);
      leave();
      return std::nullopt;
    }
    const auto* wait = std::get_if<message::WaitForResponse>(&answer->body);
    if (!wait) return Answered{server_, std::move(*answer)};
    if (on_wait_) on_wait_(*wait);
    // It will answer, sooner or later; another one may do so now.
    next_event_ = others_.empty() ? Clock::time_point::max() : Clock::time_point::min();
  }
  if (link_ && inbox_->lost()) {
    pool_.note_failure(server_);
    leave();
  }
  return std::nullopt;
}

// Whether the next one is to be asked.
bool Hedge::is_over(Clock::time_point now) {
  if (!server_) return true;
  if (!link_ && server_->link->state() == Link::State::closed) {
    pool_.note_failure(server_);
    return true;
  }
  if (now < next_event_) return false;
  if (others_.empty()) next_event_ = Clock::time_point::max();  // then this one is as good as any
  return !others_.empty();
}

void Hedge::leave() {
  if (link_) link_->abandon(id_);
  link_.reset();
  server_.reset();
}

}  // namespace kv::client
