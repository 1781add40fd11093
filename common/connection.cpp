#include "common/connection.hpp"

#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/ioctl.h>

#include <asio/buffer.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <asio/use_awaitable.hpp>
#include <utility>

#include "common/address.hpp"

namespace kv {
namespace {

constexpr std::size_t read_bytes = 256 << 10;
constexpr std::size_t keep_bytes = 64 << 10;  // an empty write buffer that grew beyond this is given back

}  // namespace

Connection::Connection(asio::ip::tcp::socket socket, std::size_t max_frame)
    : socket_(std::move(socket)),
      remote_(remote_address_of(socket_)),
      frames_(max_frame),
      drained_(socket_.get_executor(), asio::steady_timer::time_point::max()) {
  std::error_code ignored;
  socket_.set_option(asio::ip::tcp::no_delay(true), ignored);
}

asio::awaitable<std::error_code> Connection::read() {
  if (closed_) co_return asio::error::operation_aborted;
  // A connection that sends little keeps a small buffer: one that fills its room gets more the next time.
  const std::size_t room = std::min(read_bytes, std::max<std::size_t>(4096, 2 * last_read_));
  const std::span<char> space = frames_.prepare(room);
  const auto [error, count] = co_await socket_.async_read_some(asio::buffer(space.data(), space.size()),
                                                               asio::experimental::as_tuple(asio::use_awaitable));
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
  socket_.async_write_some(
      asio::buffer(writing_.data() + written_, writing_.size() - written_),
      [self = shared_from_this()](std::error_code error, std::size_t count) { self->on_written(error, count); });
}

void Connection::on_written(std::error_code error, std::size_t count) {
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
  if (!closed_ && ::ioctl(socket_.native_handle(), SIOCOUTQ, &queued) == 0 && queued != last_queued_) {
    last_queued_ = queued;
    last_taken_ = std::chrono::steady_clock::now();
  }
  return last_taken_;
}

bool Connection::is_hung_up() {
  if (closed_) return true;
  pollfd state{socket_.native_handle(), POLLRDHUP, 0};
  return ::poll(&state, 1, 0) > 0;
}

void Connection::watch_liveness(int idle, int interval, std::chrono::milliseconds unacknowledged) {
  using asio::detail::socket_option::integer;
  std::error_code ignored;
  socket_.set_option(asio::socket_base::keep_alive(true), ignored);
  socket_.set_option(integer<IPPROTO_TCP, TCP_KEEPIDLE>(idle), ignored);
  socket_.set_option(integer<IPPROTO_TCP, TCP_KEEPINTVL>(interval), ignored);
  socket_.set_option(integer<IPPROTO_TCP, TCP_KEEPCNT>(3), ignored);
  socket_.set_option(integer<IPPROTO_TCP, TCP_USER_TIMEOUT>(static_cast<int>(unacknowledged.count())), ignored);
}

void Connection::close() {
  if (closed_) return;
  closed_ = true;
  std::error_code ignored;
  socket_.shutdown(asio::ip::tcp::socket::shutdown_both, ignored);
  socket_.close(ignored);
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
