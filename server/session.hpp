// The clients' side of a server: the listener and a session per connection.
//
// A session reads all that its socket has, decodes every frame of it and hands the requests to the replica in
// their order; answers come back through deliver() and leave in one write a turn. It stops reading while its
// connection has too much unanswered or unread, so a client that floods or never reads slows down itself alone.
#pragma once

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

#include "common/connection.hpp"
#include "common/message.hpp"
#include "server/engine.hpp"

namespace kv {

struct SessionLimits {
  std::size_t max_connections = 10'000;
  std::size_t max_value = max_value_bytes;
  std::size_t max_unanswered = 4096;           // then a connection is not read from
  std::size_t max_unsent = 1 << 20;            // bytes; likewise
  std::size_t max_unsent_events = 64 << 10;    // bytes; then its watches wait
  std::size_t max_unanswered_bytes = 8 << 20;  // of big requests; likewise
  std::size_t hopeless_unsent = 64 << 20;      // bytes; then the connection is closed
  std::chrono::seconds patience{30};           // with half a frame, and with answers that nobody takes
  std::chrono::seconds linger{5};              // for the last answers of a connection that has ended
};

class Sessions : public ClientOutlet {
 public:
  // `acceptor` listens already.
  Sessions(asio::io_context& loop, Engine& engine, asio::ip::tcp::acceptor acceptor, SessionLimits limits);

  void start();
  void deliver(ClientAnswer&& answer) override;
  void flush() override;
  std::size_t connections() const { return sessions_.size() + lingering_.size(); }

  void stop_listening();
  // Closes every connection once its answers have gone out (as one that has ended is, anyway).
  void close_all();

 private:
  struct Decoded {
    Decoded(std::string_view frame, message::DecodeLimits limits)
        : bytes(frame.size()), message(message::decode_request(frame, limits)) {}

    std::size_t bytes;  // of the frame
    std::variant<message::Request, message::Malformed> message;
  };
  // Frames that are decoded and have not had their turn: few, so that what they ask for is looked up together.
  class Ahead {
   public:
    bool empty() const { return next_ == frames_.size(); }
    std::span<const Decoded> frames() const { return std::span(frames_).subspan(next_); }
    Decoded& first() { return frames_[next_]; }
    void add(std::string_view frame, message::DecodeLimits limits) { frames_.emplace_back(frame, limits); }
    void drop_first();

   private:
    std::vector<Decoded> frames_;
    std::size_t next_ = 0;
  };
  struct Session {
    std::shared_ptr<Connection> connection;
    ClientId id = 0;
    std::size_t unanswered = 0;
    std::unordered_multimap<std::uint64_t, std::size_t> big_requests;  // id -> bytes, of those unanswered
    std::size_t unanswered_bytes = 0;                                  // of the big ones
    Ahead ahead;
    bool dirty = false;  // has answers to flush
    bool waits_for_room = false;
    bool watches_wait = false;
    std::chrono::steady_clock::time_point frame_begun;  // the one under way, if any
    std::unique_ptr<asio::steady_timer> room;           // never expires; cancelled when there is room again
  };

  asio::awaitable<void> accept();
  asio::awaitable<void> serve(std::shared_ptr<Session> session);
  asio::awaitable<void> wait_for_room(Session& session);
  asio::awaitable<void> sweep();
  // Why the connection can't be kept; nullptr: it can.
  const char* is_hopeless(Session& session, std::chrono::steady_clock::time_point now) const;
  void close(Session& session);
  // How far take_frames has come: to the end of what was received, to the session's or the turn's limit, or to a
  // length after which the stream can't be followed any further.
  enum class Taken { all, until_full, a_turns_share, broken };
  Taken take_frames(Session& session);
  void note_answered(Session& session, const message::Answer& answer);
  Taken take_until(Session& session);
  FrameReader::Result decode_ahead(Session& session);
  void fetch_ahead(const Session& session) const;
  void take(Session& session, Decoded& decoded);
  void refuse_length(Session& session);
  bool is_full(const Session& session) const;
  void answer_directly(Session& session, message::Answer answer);
  void let_watches_wait(const std::shared_ptr<Session>& session);
  asio::awaitable<void> until_taken(std::shared_ptr<Session> session);
  void mark_dirty(Session& session);
  void fill_in(message::StatusOk& status) const;
  void end(const std::shared_ptr<Session>& session);

  asio::io_context& loop_;
  Engine& engine_;
  asio::ip::tcp::acceptor acceptor_;
  SessionLimits limits_;
  asio::steady_timer sweeper_;
  std::chrono::steady_clock::time_point started_;
  std::unordered_map<ClientId, std::shared_ptr<Session>> sessions_;
  std::vector<std::shared_ptr<Session>> dirty_;
  Ahead spare_;  // empty: its memory is lent to the session whose turn it is
  struct Lingering {
    std::shared_ptr<Connection> connection;
    std::chrono::steady_clock::time_point until;
  };
  std::vector<Lingering> lingering_;  // ended, with answers that are not taken yet
  ClientId next_client_ = 1;
  bool closing_ = false;
};

}  // namespace kv
