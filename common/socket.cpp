#include "common/socket.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <asio/buffer.hpp>
#include <asio/error.hpp>
#include <asio/experimental/as_tuple.hpp>
#include <cassert>
#include <cerrno>
#include <utility>

namespace kv {
namespace {

// As Asio would have it, so that asio::error's names fit.
std::error_code error_of(int result) {
  return result < 0 ? std::error_code(-result, asio::error::get_system_category()) : std::error_code();
}

// Nothing is wrong with the socket: where the kernel could not wait for it as it usually does, a signal has ended
// that.
bool is_to_be_repeated(int result) {
  return result == -EINTR || result == -EAGAIN;
}

}  // namespace

// The ring waits for sockets itself, so Asio must neither wake up for this one nor have it refuse to wait.
Socket::Socket(asio::ip::tcp::socket socket)
    : socket_(std::move(socket)), ring_(Ring::of(asio::query(socket_.get_executor(), asio::execution::context))) {
  if (!ring_) return;
  std::error_code ignored;
  socket_.native_non_blocking(false, ignored);
  descriptor_ = socket_.release(ignored);
}

// With a ring that is gone nothing is under way any more that would close it.
Socket::~Socket() {
  if (!closed_) close();
  if (descriptor_ >= 0) ::close(descriptor_);
}

int Socket::handle() {
  return ring_ ? descriptor_ : socket_.native_handle();
}

asio::awaitable<Socket::Received> Socket::receive(std::span<char> room) {
  return ring_ ? receive_by_ring(room) : receive_by_asio(room);
}

asio::awaitable<Socket::Received> Socket::receive_by_asio(std::span<char> room) {
  const auto [error, count] = co_await socket_.async_read_some(asio::buffer(room.data(), room.size()),
                                                               asio::experimental::as_tuple(asio::use_awaitable));
  co_return Received{error, count};
}

asio::awaitable<Socket::Received> Socket::receive_by_ring(std::span<char> room) {
  const auto begin = [this](Receiving::Handler&& handler, std::span<char> into) {
    receiving_.begin(std::move(handler), into);
  };
  return asio::async_initiate<const asio::use_awaitable_t<>, void(Received)>(begin, asio::use_awaitable, room);
}

void Socket::Receiving::begin(Handler handler, std::span<char> room) {
  assert(!is_under_way() && "one receive at a time");
  handler_.emplace(std::move(handler));
  room_ = room;
  submit();
}

void Socket::Receiving::submit() {
  socket_.ring_->receive(socket_.descriptor_, room_, !more_is_there_, *this);
}

void Socket::Receiving::done(int result) {
  if (is_to_be_repeated(result) && !socket_.closed_) return submit();
  Handler resume = *std::exchange(handler_, std::nullopt);
  Received received{error_of(result), result > 0 ? static_cast<std::size_t>(result) : 0};
  if (result == 0) received.error = asio::error::eof;
  if (socket_.closed_) received.error = asio::error::operation_aborted;
  more_is_there_ = received.count == room_.size();
  socket_.give_back_descriptor();
  std::move(resume)(received);  // of this there may be nothing left then
}

void Socket::send(std::string_view bytes, std::shared_ptr<Sender> sender) {
  if (ring_) return sending_.begin(std::move(sender), bytes);
  Sender& told = *sender;
  socket_.async_write_some(
      asio::buffer(bytes.data(), bytes.size()),
      [&told, alive = std::move(sender)](std::error_code error, std::size_t count) { told.on_sent(error, count); });
}

void Socket::Sending::begin(std::shared_ptr<Sender> sender, std::string_view bytes) {
  assert(!is_under_way() && "one send at a time");
  sender_ = std::move(sender);
  bytes_ = bytes;
  socket_.ring_->send(socket_.descriptor_, bytes, *this);
}

void Socket::Sending::done(int result) {
  if (is_to_be_repeated(result) && !socket_.closed_) return socket_.ring_->send(socket_.descriptor_, bytes_, *this);
  const std::shared_ptr<Sender> sender = std::exchange(sender_, nullptr);
  socket_.give_back_descriptor();
  sender->on_sent(error_of(result), result > 0 ? static_cast<std::size_t>(result) : 0);
}

void Socket::close() {
  closed_ = true;
  std::error_code ignored;
  if (ring_) {
    ::shutdown(descriptor_, SHUT_RDWR);  // by which what is under way ends
    give_back_descriptor();
  } else {
    socket_.shutdown(asio::ip::tcp::socket::shutdown_both, ignored);
    socket_.close(ignored);
  }
}

// Its number may be another socket's at once: so not while the ring has something to do with it.
void Socket::give_back_descriptor() {
  if (!closed_ || descriptor_ < 0 || receiving_.is_under_way() || sending_.is_under_way()) return;
  ::close(std::exchange(descriptor_, -1));
}

}  // namespace kv
