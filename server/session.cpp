#include "server/session.hpp"

#include <absl/container/inlined_vector.h>
#include <spdlog/spdlog.h>

#include <asio/co_spawn.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <asio/post.hpp>
#include <asio/use_awaitable.hpp>
#include <utility>

#include "common/address.hpp"
#include "common/text.hpp"
#include "server/request_log.hpp"

namespace kv {
namespace {

using asio::use_awaitable;
using asio::experimental::as_tuple;
using std::chrono::steady_clock;

constexpr std::size_t flush_answers_at = 256 << 10;
// Between two connections: their clients have something to do while others' requests are read.
constexpr std::size_t flush_answers_early_at = 4 << 10;
constexpr std::size_t big_request = 16 << 10;
constexpr int frames_decoded_ahead = 16;
constexpr std::size_t bytes_decoded_ahead = 32 << 10;
constexpr int frames_a_turn = 256;  // of one connection; then the others, the peers and the clock have theirs
constexpr auto sweep_interval = std::chrono::seconds(2);

message::Answer error_answer(std::optional<std::uint64_t> id, message::Code code, std::string text) {
  return {id, message::make_error(code, std::move(text))};
}

// Nothing may end a coroutine but its own last line; what does all the same is a fault of ours.
void report(std::exception_ptr error) {
  if (!error) return;
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& failure) {
    spdlog::error("client connection: {}", failure.what());
  }
}

}  // namespace

Sessions::Sessions(asio::io_context& loop, Engine& engine, asio::ip::tcp::acceptor acceptor, SessionLimits limits)
    : loop_(loop),
      engine_(engine),
      acceptor_(std::move(acceptor)),
      limits_(limits),
      sweeper_(loop),
      started_(steady_clock::now()) {}

void Sessions::start() {
  asio::co_spawn(loop_, accept(), report);
  asio::co_spawn(loop_, sweep(), report);
}

asio::awaitable<void> Sessions::accept() {
  while (acceptor_.is_open()) {
    auto [error, socket] = co_await acceptor_.async_accept(as_tuple(use_awaitable));
    if (error == asio::error::operation_aborted || !acceptor_.is_open()) co_return;
    if (error) {
      // Out of descriptors, most likely: what is open goes on, and a moment later there may be room.
      spdlog::warn("cannot accept a client: {}", error.message());
      asio::steady_timer pause(loop_, std::chrono::milliseconds(100));
      co_await pause.async_wait(as_tuple(use_awaitable));
      continue;
    }
    auto session = std::make_shared<Session>();
    session->connection = std::make_shared<Connection>(std::move(socket), default_max_frame);
    session->id = next_client_++;
    session->frame_begun = steady_clock::now();
    session->connection->watch_liveness(30, 10, std::chrono::milliseconds(0));
    if (connections() >= limits_.max_connections) {
      session->connection->send(error_answer(std::nullopt, message::Code::overloaded,
                                             "too many connections (" + std::to_string(limits_.max_connections) +
                                                 "): try another server, or raise --max-connections"));
      session->connection->close_after_flush();
      continue;
    }
    session->room = std::make_unique<asio::steady_timer>(loop_, steady_clock::time_point::max());
    sessions_.emplace(session->id, session);
    asio::co_spawn(loop_, serve(session), report);
  }
}

asio::awaitable<void> Sessions::serve(std::shared_ptr<Session> session) {
  Connection& connection = *session->connection;
  spdlog::debug("client {} connected", connection.remote());
  try {
    for (Taken taken = Taken::all; taken != Taken::broken && connection.is_open();) {
      taken = take_frames(*session);
      if (taken == Taken::until_full) co_await wait_for_room(*session);
      if (taken == Taken::a_turns_share) co_await asio::post(use_awaitable);
      if (taken != Taken::all) continue;
      const bool between_frames = connection.frames().buffered() == 0;
      if (co_await connection.read()) break;
      if (between_frames) session->frame_begun = steady_clock::now();
    }
  } catch (const std::exception& failure) {
    spdlog::error("client {}: {}", connection.remote(), failure.what());
  }
  spdlog::debug("client {} is gone", connection.remote());
  end(session);
}

asio::awaitable<void> Sessions::wait_for_room(Session& session) {
  engine_.flush();
  session.waits_for_room = true;
  while (session.connection->is_open() && is_full(session)) {
    if (session.connection->unsent() <= limits_.max_unsent) {
      co_await session.room->async_wait(as_tuple(use_awaitable));
    } else {
      co_await session.connection->drained(limits_.max_unsent / 2);
    }
  }
  session.waits_for_room = false;
  session.frame_begun = steady_clock::now();  // what lies here was not late: we were
}

bool Sessions::is_full(const Session& session) const {
  return session.unanswered >= limits_.max_unanswered || session.unanswered_bytes >= limits_.max_unanswered_bytes ||
         session.connection->unsent() > limits_.max_unsent;
}

void Sessions::Ahead::drop_first() {
  if (++next_ < frames_.size()) return;
  frames_.clear();
  next_ = 0;
}

Sessions::Taken Sessions::take_frames(Session& session) {
  if (session.ahead.empty()) session.ahead = std::exchange(spare_, {});
  const Taken taken = take_until(session);
  if (session.ahead.empty()) spare_ = std::exchange(session.ahead, {});
  return taken;
}

Sessions::Taken Sessions::take_until(Session& session) {
  for (int count = 0; session.connection->is_open(); ++count) {
    if (engine_.replica().pending_answer_bytes() > flush_answers_at) engine_.flush();
    if (is_full(session)) return Taken::until_full;
    if (count >= frames_a_turn) return Taken::a_turns_share;
    if (session.ahead.empty() && decode_ahead(session) == FrameReader::Result::bad_length) {
      refuse_length(session);
      return Taken::broken;
    }
    if (session.ahead.empty()) break;
    take(session, session.ahead.first());
    session.ahead.drop_first();
  }
  if (engine_.replica().pending_answer_bytes() > flush_answers_early_at) engine_.flush();
  return Taken::all;
}

// What a frame is that is not a whole one shows when nothing is before it any more.
FrameReader::Result Sessions::decode_ahead(Session& session) {
  FrameReader& frames = session.connection->frames();
  std::string_view frame;
  // Where much has come, no big frame is decoded before its turn.
  for (int count = 0; count == 0 || (count < frames_decoded_ahead && frames.buffered() < bytes_decoded_ahead);
       ++count) {
    const FrameReader::Result result = frames.next(frame);
    if (result != FrameReader::Result::frame) {
      if (count == 0) return result;
      break;
    }
    session.ahead.add(frame, {limits_.max_value});
  }
  session.frame_begun = steady_clock::now();
  fetch_ahead(session);
  return FrameReader::Result::frame;
}

void Sessions::fetch_ahead(const Session& session) const {
  absl::InlinedVector<std::string_view, frames_decoded_ahead> keys;
  for (const Decoded& decoded : session.ahead.frames()) {
    const auto* request = std::get_if<message::Request>(&decoded.message);
    if (const auto* get = request ? std::get_if<message::Get>(&request->body) : nullptr) keys.push_back(get->key);
  }
  if (keys.size() > 1) engine_.replica().fetch(keys);
}

void Sessions::take(Session& session, Decoded& decoded) {
  if (auto* malformed = std::get_if<message::Malformed>(&decoded.message)) {
    answer_directly(session, error_answer(malformed->id, malformed->code, std::move(malformed->text)));
    return;
  }
  auto& request = std::get<message::Request>(decoded.message);
  log_request(*session.connection, request, engine_.replica());
  ++session.unanswered;
  if (decoded.bytes >= big_request) {
    session.big_requests.emplace(request.id, decoded.bytes);
    session.unanswered_bytes += decoded.bytes;
  }
  engine_.replica().request(session.id, std::move(request));
  engine_.poke();
}

// The last that the connection says; what can be answered of the requests before is answered first.
void Sessions::refuse_length(Session& session) {
  engine_.flush();
  const std::uint32_t length = session.connection->frames().bad_length();
  const auto code = length == 0 ? message::Code::bad_request : message::Code::too_large;
  session.connection->send(error_answer(std::nullopt, code,
                                        "a frame of " + std::to_string(length) + " bytes: at least 1 and at most " +
                                            std::to_string(default_max_frame) + " are allowed"));
  session.connection->flush();
}

void Sessions::answer_directly(Session& session, message::Answer answer) {
  log_answer(*session.connection, answer);
  session.connection->send(answer);
  mark_dirty(session);
  engine_.poke();
}

void Sessions::mark_dirty(Session& session) {
  if (session.dirty) return;
  const auto found = sessions_.find(session.id);
  if (found == sessions_.end()) return;
  session.dirty = true;
  dirty_.push_back(found->second);
}

void Sessions::deliver(ClientAnswer&& answer) {
  const auto found = sessions_.find(answer.client);
  if (found == sessions_.end()) return;  // gone meanwhile
  Session& session = *found->second;
  if (!session.connection->is_open()) return;
  if (auto* status = std::get_if<message::StatusOk>(&answer.answer.body)) fill_in(*status);
  const bool waits = std::holds_alternative<message::WaitForResponse>(answer.answer.body);
  if (!waits && !answer.unasked) note_answered(session, answer.answer);
  log_answer(*session.connection, answer.answer);
  session.connection->send(answer.answer);
  mark_dirty(session);
  if (answer.unasked && session.connection->unsent() > limits_.max_unsent_events) let_watches_wait(found->second);
  if (session.connection->unsent() > limits_.hopeless_unsent) {
    spdlog::warn("client {} does not read its answers: closed", session.connection->remote());
    close(session);
  }
}

// Until its client has taken what there is: meanwhile the changes wait in the replica's ring, not here.
void Sessions::let_watches_wait(const std::shared_ptr<Session>& session) {
  if (std::exchange(session->watches_wait, true)) return;
  engine_.replica().client_has_room(session->id, false);
  asio::co_spawn(loop_, until_taken(session), report);
}

asio::awaitable<void> Sessions::until_taken(std::shared_ptr<Session> session) {
  co_await session->connection->drained(limits_.max_unsent_events / 2);
  session->watches_wait = false;
  if (!session->connection->is_open()) co_return;
  engine_.replica().client_has_room(session->id, true);
  engine_.poke();
}

void Sessions::note_answered(Session& session, const message::Answer& answer) {
  const bool was_full = is_full(session);
  --session.unanswered;
  if (!session.big_requests.empty()) {
    if (const auto big = session.big_requests.find(*answer.id); big != session.big_requests.end()) {
      session.unanswered_bytes -= big->second;
      session.big_requests.erase(big);
    }
  }
  if (was_full) session.room->cancel();
}

void Sessions::flush() {
  for (const auto& session : std::exchange(dirty_, {})) {
    session->dirty = false;
    session->connection->flush();
  }
}

void Sessions::fill_in(message::StatusOk& status) const {
  using std::chrono::milliseconds;
  status.connections = connections();
  status.uptime_ms =
      static_cast<std::uint64_t>(std::chrono::duration_cast<milliseconds>(steady_clock::now() - started_).count());
  status.version = version;
}

asio::awaitable<void> Sessions::sweep() {
  while (!closing_) {
    sweeper_.expires_after(sweep_interval);
    co_await sweeper_.async_wait(as_tuple(use_awaitable));
    const auto now = steady_clock::now();
    for (const auto& [id, session] : sessions_) {
      const char* why = is_hopeless(*session, now);
      if (!why) continue;
      spdlog::debug("client {} is let go: {}", session->connection->remote(), why);
      close(*session);
    }
    std::erase_if(lingering_, [&](const Lingering& ended) {
      if (ended.connection->is_open() && now < ended.until) return false;
      ended.connection->close();
      return true;
    });
  }
}

// What would hold its memory and its place for ever: half a frame and then silence, answers that nobody takes,
// and an end that a session which is too full to read would not see.
const char* Sessions::is_hopeless(Session& session, steady_clock::time_point now) const {
  Connection& connection = *session.connection;
  if (!connection.is_open()) return "it is closed";
  if (connection.unsent() > 0 && now - connection.last_taken() > limits_.patience) return "it takes no answers";
  if (session.waits_for_room) return connection.is_hung_up() ? "it is gone" : nullptr;
  const bool half = connection.frames().buffered() > 0 && now - session.frame_begun > limits_.patience;
  return half ? "it left a frame unfinished" : nullptr;
}

void Sessions::close(Session& session) {
  session.connection->close();
  session.room->cancel();
}

void Sessions::end(const std::shared_ptr<Session>& session) {
  session->connection->close_after_flush();
  if (session->connection->is_open())
    lingering_.push_back({session->connection, steady_clock::now() + limits_.linger});
  engine_.replica().client_gone(session->id);
  sessions_.erase(session->id);
}

void Sessions::stop_listening() {
  std::error_code ignored;
  acceptor_.close(ignored);
}

void Sessions::close_all() {
  closing_ = true;
  sweeper_.cancel();
  stop_listening();
  for (const auto& [id, session] : sessions_) {
    session->connection->close_after_flush();
    session->room->cancel();
  }
}

}  // namespace kv
