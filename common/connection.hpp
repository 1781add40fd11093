// One TCP connection that carries frames: reads what the socket has, writes what has gathered.
//
// The reader is a coroutine of the owner (`co_await connection->read()`, then frames().next() until it says
// incomplete). The writer is the connection's own: send() only encodes into a buffer, flush() starts one
// gathered write, and what is sent meanwhile goes with the next. A failed write closes the socket, so the
// reader ends too. Always held by shared_ptr: a write under way keeps it alive. One thread.
#pragma once

#include <asio/awaitable.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <system_error>

#include "common/framing.hpp"
#include "common/message.hpp"
#include "common/socket.hpp"

namespace kv {

class Connection final : public Socket::Sender, public std::enable_shared_from_this<Connection> {
 public:
  Connection(asio::ip::tcp::socket socket, std::size_t max_frame);

  // Reads once: what the socket has now, as far as the buffer has room for it. An error (asio::error::eof included)
  // is final.
  asio::awaitable<std::error_code> read();
  FrameReader& frames() { return frames_; }

  // Encodes a message::Request, Answer or Peer behind what waits to be written.
  template <class Message>
  void send(const Message& message) {
    if (closed_) return;
    if (unsent() == 0) last_taken_ = std::chrono::steady_clock::now();
    const std::size_t start = begin_frame(outbox_);
    message::encode(message, outbox_);
    finish_frame(outbox_, start);
  }
  // The same for a frame that is encoded already.
  void send_frame(std::string_view frame);
  void flush();

  // Bytes that the other side has not taken yet.
  std::size_t unsent() const { return outbox_.size() + writing_.size() - written_; }
  // Since when what is unsent has been waiting without any of it being taken, as seen at calls of this: to be asked
  // again and again, since the kernel takes from us in big steps and the other side from the kernel in small ones.
  std::chrono::steady_clock::time_point last_taken();
  // The other side has closed its end, which a connection that is not being read from does not notice.
  bool is_hung_up();
  // Makes the kernel notice a machine that is gone: after `idle` seconds of silence it is asked every `interval`
  // seconds, three times; and data that nobody acknowledges for `unacknowledged` breaks the connection (0: the
  // kernel's own time).
  void watch_liveness(int idle, int interval, std::chrono::milliseconds unacknowledged);
  // Returns when at most `bytes` are unsent, or the connection is closed.
  asio::awaitable<void> drained(std::size_t bytes);

  // Ends both directions; what is unsent is lost. May be called more than once.
  void close();
  // Closes once all that is unsent has gone out.
  void close_after_flush();
  bool is_open() const { return !closed_; }

  const std::string& remote() const { return remote_; }  // "127.0.0.1:51234", for logs
  asio::any_io_executor executor() { return socket_.executor(); }

 private:
  void write_some();
  void on_sent(std::error_code error, std::size_t count) override;

  std::string remote_;
  Socket socket_;
  FrameReader frames_;
  std::size_t last_read_ = 0;
  std::string outbox_;  // gathers while `writing_` is on its way
  std::string writing_;
  std::size_t written_ = 0;  // of writing_
  bool write_under_way_ = false;
  std::chrono::steady_clock::time_point last_taken_;
  int last_queued_ = 0;  // bytes in the kernel that the other side had not acknowledged, at last_taken()
  bool closed_ = false;
  bool close_when_flushed_ = false;
  asio::steady_timer drained_;  // never expires; cancelled as a signal
};

}  // namespace kv
