#include "common/connection.hpp"

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <asio/experimental/as_tuple.hpp>
#include <asio/use_awaitable.hpp>
#include <utility>

#include "common/address.hpp"

namespace kv {
namespace {

constexpr std::size_t read_bytes = 256 << 10;
constexpr std::size_t keep_bytes = 64 << 10;  // an empty write buffer that grew beyond this is given back

// One that the kernel does not have changes nothing that anybody relies on.
void set_option(int socket, int level, int option, int value) {
  ::setsockopt(socket, level, option, &value, sizeof value);
}

}  // namespace

Connection::Connection(asio::ip::tcp::socket socket, std::size_t max_frame)
    : remote_(remote_address_of(socket)),
      socket_(std::move(socket)),
      frames_(max_frame),
      drained_(socket_.executor(), asio::steady_timer::time_point::max()) {
  set_option(socket_.handle(), IPPROTO_TCP, TCP_NODELAY, 1);
}

asio::awaitable<std::error_code> Connection::read() {
  if (closed_) co_return asio::error::operation_aborted;
  // A connection that sends little keeps a small buffer: one that fills its room gets more the next time.
  const std::size_t room = std::min(read_bytes, std::max<std::size_t>(4096, 2 * last_read_));
  const auto [error, count] = co_await socket_.receive(frames_.prepare(room));
  if (!error) frames_.commit(count);
  last_read_ = count;
  co_return error;
}

void Connection::send_frame(std::string_view frame) {
  if (!closed_) outbox_.append(frame);
}

void Connection::flush() {
  if (write_under_way_ || closed_ || outbox_.empty()) return;
  std::swap(writing_, outbox_);
  written_ = 0;
  write_under_way_ = true;
  last_taken_ = std::chrono::steady_clock::now();
  write_some();
}

void Connection::write_some() {
  socket_.send(std::string_view(writing_).substr(written_), shared_from_this());
}

void Connection::on_sent(std::error_code error, std::size_t count) {
  if (error || closed_) {
    write_under_way_ = false;
    close();
    return;
  }
  written_ += count;
  last_taken_ = std::chrono::steady_clock::now();
  if (written_ < writing_.size()) {
    write_some();
    return;
  }
  if (writing_.capacity() > keep_bytes) {
    writing_ = std::string();
  } else {
    writing_.clear();
  }
  written_ = 0;
  write_under_way_ = false;
  flush();
  drained_.cancel();
  if (close_when_flushed_ && !write_under_way_) close();
}

asio::awaitable<void> Connection::drained(std::size_t bytes) {
  while (!closed_ && unsent() > bytes) {
    co_await drained_.async_wait(asio::experimental::as_tuple(asio::use_awaitable));
  }
}

std::chrono::steady_clock::time_point Connection::last_taken() {
  int queued = 0;
  if (!closed_ && ::ioctl(socket_.handle(), SIOCOUTQ, &queued) == 0 && queued != last_queued_) {
    last_queued_ = queued;
    last_taken_ = std::chrono::steady_clock::now();
  }
  return last_taken_;
}

bool Connection::is_hung_up() {
  if (closed_) return true;
  pollfd state{socket_.handle(), POLLRDHUP, 0};
  return ::poll(&state, 1, 0) > 0;
}

void Connection::watch_liveness(int idle, int interval, std::chrono::milliseconds unacknowledged) {
  const int socket = socket_.handle();
  set_option(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  set_option(socket, IPPROTO_TCP, TCP_KEEPIDLE, idle);
  set_option(socket, IPPROTO_TCP, TCP_KEEPINTVL, interval);
  set_option(socket, IPPROTO_TCP, TCP_KEEPCNT, 3);
  set_option(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, static_cast<int>(unacknowledged.count()));
}

void Connection::close() {
  if (closed_) return;
  closed_ = true;
  socket_.close();
  drained_.cancel();
}

void Connection::close_after_flush() {
  flush();
  if (!write_under_way_) {
    close();
  } else {
    close_when_flushed_ = true;
  }
}

}  // namespace kv
