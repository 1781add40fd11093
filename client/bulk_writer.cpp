#include "client/bulk_writer.hpp"

#include <algorithm>
#include <utility>

#include "common/text.hpp"

namespace kv::client {
namespace {

using std::chrono::milliseconds;

// How many answers of a session the servers keep (docs/protocol.md, PUT).
constexpr std::uint64_t answers_kept = 256;
constexpr unsigned max_sessions_expired = 3;
constexpr milliseconds first_pause{25};
constexpr milliseconds longest_pause{400};

std::size_t bytes_of(const BulkItem& item) {
  return item.key.size() + item.value.size();
}

}  // namespace

BulkWriter::BulkWriter(Client& client, std::shared_ptr<Call> call, std::uint64_t began_at, BulkOptions options)
    : client_(client),
      call_(std::move(call)),
      options_(options),
      lanes_(std::max<std::size_t>(options.sessions, 1)),
      highest_ts_(began_at) {
  // So that a server which hangs leaves time for others.
  options_.attempt = std::clamp(options_.patience / 3, milliseconds{1}, options_.attempt);
  for (std::size_t lane = 0; lane < lanes_.size(); ++lane) begin_lane(lane);
}

// ---- Items come in -------------------------------------------------------------------------------------

bool BulkWriter::has_room(const Lane& lane) {
  return lane.open.empty() || lane.session.seq + 1 - *lane.open.begin() < answers_kept;
}

// lanes_.size(): none has room.
std::size_t BulkWriter::next_lane() const {
  for (std::size_t i = 1; i <= lanes_.size(); ++i) {
    const std::size_t lane = (last_lane_ + i) % lanes_.size();
    if (has_room(*lanes_[lane])) return lane;
  }
  return lanes_.size();
}

bool BulkWriter::can_take(const BulkItem& item) const {
  if (given_up_ || keys_.contains(item.key)) return false;
  if (bytes_ > 0 && bytes_ + bytes_of(item) > options_.max_bytes) return false;
  return next_lane() < lanes_.size();
}

void BulkWriter::add(BulkItem item) {
  if (writes_.empty()) last_progress_ = Clock::now();
  keys_.insert(item.key);
  bytes_ += bytes_of(item);
  Write write;
  write.item = std::move(item);
  stamp(write, next_lane());
  waiting_.push_back(next_number_);
  writes_.emplace_hint(writes_.end(), next_number_++, std::move(write));
}

void BulkWriter::stamp(Write& write, std::size_t lane) {
  last_lane_ = lane;
  write.lane = lanes_[lane];
  ++write.lane->session.seq;
  write.lane->open.insert(write.lane->session.seq);
  write.stamp = write.lane->session;
}

// A session that begins here and now: no session that was forgotten before can have been this one.
void BulkWriter::begin_lane(std::size_t lane) {
  lanes_[lane] = std::make_shared<Lane>();
  lanes_[lane]->session.session = new_uuid();
  lanes_[lane]->session.session_from = highest_ts_;
}

// ---- What happens --------------------------------------------------------------------------------------

asio::awaitable<void> BulkWriter::step() {
  if (given_up_) co_return;
  const bool heard = take_answers();
  const Clock::time_point now = Clock::now();
  const bool hopeless = !writes_.empty() && now >= last_progress_ + options_.patience;
  if (call_->interrupted() || hopeless) {
    given_up_ = true;
    co_return;
  }
  look_at_link(now);
  if (!waiting_.empty() && now >= send_not_before_ && !is_leaving_) {
    if (!link_ && !co_await connect()) co_return;
    send_waiting();
    co_return;
  }
  if (!heard) co_await call_->wait(next_event());
}

void BulkWriter::look_at_link(Clock::time_point now) {
  if (!link_) return;
  if (link_->state() != Link::State::ready) return lose_link(link_->trouble());
  if (!on_the_way_.empty()) {
    if (now >= last_heard_ + options_.attempt + client_.answer_grace()) lose_link("no answer in time");
  } else if (is_leaving_) {
    client_.servers().avoid(server_);
    link_.reset();
    is_leaving_ = false;
  }
}

// Until when nothing needs to be done that is not told by a wake-up.
Clock::time_point BulkWriter::next_event() const {
  Clock::time_point until = Clock::time_point::max();
  if (!writes_.empty()) until = last_progress_ + options_.patience;
  if (!waiting_.empty() && !is_leaving_) until = std::min(until, send_not_before_);
  if (!on_the_way_.empty()) until = std::min(until, last_heard_ + options_.attempt + client_.answer_grace());
  return until;
}

// False: not now. A server that is reached is kept for as long as it works.
asio::awaitable<bool> BulkWriter::connect() {
  call_->begin_attempt();
  call_->set_deadline(last_progress_ + options_.patience);
  server_ = co_await client_.servers().reach(call_);
  if (server_) {
    link_ = server_->link;
    where_ = link_->name();
    last_heard_ = Clock::now();
    co_return true;
  }
  send_not_before_ = Clock::now() + longest_pause;
  co_return false;
}

void BulkWriter::send_waiting() {
  if (on_the_way_.empty()) last_heard_ = Clock::now();
  for (; !waiting_.empty(); waiting_.pop_front()) {
    const auto found = writes_.find(waiting_.front());
    const Write& write = found->second;
    message::Request request;
    request.timeout_ms = static_cast<std::uint64_t>(options_.attempt.count());
    message::Put put;
    put.key = write.item.key;
    put.value = write.item.value;
    put.session = write.stamp;
    request.body = std::move(put);
    on_the_way_.emplace(link_->ask(std::move(request), call_), found->first);
  }
}

// False: nothing has come.
bool BulkWriter::take_answers() {
  bool heard = false;
  while (std::optional<message::Answer> answer = call_->take()) {
    heard = true;
    take_answer(std::move(*answer));
  }
  if (link_ && call_->lost()) {
    heard = true;
    lose_link(*call_->lost());
  }
  return heard;
}

void BulkWriter::take_answer(message::Answer answer) {
  const auto known = answer.id ? on_the_way_.find(*answer.id) : on_the_way_.end();
  if (known == on_the_way_.end()) return;
  const auto write = writes_.find(known->second);
  on_the_way_.erase(known);
  last_heard_ = Clock::now();
  if (auto* error = std::get_if<message::Error>(&answer.body)) return take_error(write, std::move(*error));
  const auto* ok = std::get_if<message::PutOk>(&answer.body);
  if (!ok) {
    try_again(write, true);
    return lose_link("not a kvd: it answered something else than was asked");
  }
  ++written_;
  highest_ts_ = std::max(highest_ts_, ok->ts);
  finish(write);
}

void BulkWriter::take_error(Writes::iterator write, message::Error error) {
  const message::Code code = error.code;
  write->second.error = std::move(error);
  why_.clear();
  if (may_help_to_retry(code)) {
    is_leaving_ = true;
    return try_again(write, false);
  }
  if (code == message::Code::unknown_outcome) return try_again(write, true);
  const bool may_begin_anew = code == message::Code::session_expired && !write->second.maybe_applied;
  if (may_begin_anew && ++write->second.sessions_expired <= max_sessions_expired) {
    const auto lane = std::find(lanes_.begin(), lanes_.end(), write->second.lane);
    if (lane != lanes_.end()) begin_lane(static_cast<std::size_t>(lane - lanes_.begin()));
    if (const std::size_t next = next_lane(); next < lanes_.size()) {
      write->second.lane->open.erase(write->second.stamp.seq);
      stamp(write->second, next);
    }
    return try_again(write, false);
  }
  fail(write, write->second.maybe_applied ? Failure::Kind::unknown_outcome : Failure::Kind::refused);
}

void BulkWriter::try_again(Writes::iterator write, bool maybe_applied) {
  write->second.maybe_applied |= maybe_applied;
  waiting_.push_back(write->first);
  if (Clock::now() < send_not_before_) return;
  const milliseconds wanted = first_pause * (1 << std::min(refusals_++, 8u));
  send_not_before_ = Clock::now() + std::min(wanted, longest_pause);
}

void BulkWriter::finish(Writes::iterator write) {
  refusals_ = 0;
  last_progress_ = Clock::now();
  keys_.erase(write->second.item.key);
  bytes_ -= bytes_of(write->second.item);
  write->second.lane->open.erase(write->second.stamp.seq);
  writes_.erase(write);
}

void BulkWriter::fail(Writes::iterator write, Failure::Kind kind) {
  const std::uint64_t number = write->first;
  keys_.erase(write->second.item.key);
  bytes_ -= bytes_of(write->second.item);
  write->second.lane->open.erase(write->second.stamp.seq);
  troubles_.push_back(trouble_of(write->second, kind));
  writes_.erase(number);
  last_progress_ = Clock::now();
}

BulkTrouble BulkWriter::trouble_of(Write& write, Failure::Kind kind) const {
  Failure failure;
  failure.kind = kind;
  failure.where = where_;
  failure.node = server_ ? server_->node : "";
  failure.error = std::move(write.error);
  failure.why = why_;
  failure.maybe_applied = write.maybe_applied;
  return {std::move(write.item), std::move(failure)};
}

// What was on its way may have been applied; it is sent again over another connection.
void BulkWriter::lose_link(const std::string& why) {
  why_ = why;
  const std::shared_ptr<Link> link = std::exchange(link_, nullptr);
  link->close(why);
  client_.servers().note_failure(server_);
  for (const auto& [id, number] : on_the_way_) {
    writes_.at(number).maybe_applied = true;
    waiting_.push_back(number);
  }
  on_the_way_.clear();
  is_leaving_ = false;
  std::sort(waiting_.begin(), waiting_.end());
  call_->begin_attempt();
}

// ---- The end -------------------------------------------------------------------------------------------

std::vector<BulkTrouble> BulkWriter::abandon() {
  for (const auto& [id, number] : on_the_way_) {
    if (link_) link_->abandon(id);
    writes_.at(number).maybe_applied = true;
  }
  on_the_way_.clear();
  std::vector<BulkTrouble> left;
  for (auto& [number, write] : writes_) {
    const Failure::Kind kind = write.maybe_applied ? Failure::Kind::unknown_outcome
                               : write.error       ? Failure::Kind::refused
                               : where_.empty()    ? Failure::Kind::no_server
                                                   : Failure::Kind::no_answer;
    left.push_back(trouble_of(write, kind));
  }
  writes_.clear();
  waiting_.clear();
  keys_.clear();
  bytes_ = 0;
  return left;
}

}  // namespace kv::client
