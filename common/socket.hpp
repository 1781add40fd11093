// The bytes of one TCP connection, in and out, without an idea of what they mean: through the loop's ring, if it
// has one (ring.hpp), else by Asio, which waits for each socket and then reads it.
#pragma once

#include <asio/any_io_executor.hpp>
#include <asio/awaitable.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/use_awaitable.hpp>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "common/ring.hpp"

namespace kv {

class Socket {
 public:
  // Who sends, and is kept alive until it was told what became of it.
  class Sender {
   public:
    virtual void on_sent(std::error_code error, std::size_t count) = 0;

   protected:
    ~Sender() = default;
  };

  struct Received {
    std::error_code error;  // asio::error::eof: the other side has ended
    std::size_t count = 0;
  };

  // Connected.
  explicit Socket(asio::ip::tcp::socket socket);
  ~Socket();
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;

  // Once there is something, as much of it as is there and has room. One at a time; who awaits it keeps this and
  // the room alive.
  asio::awaitable<Received> receive(std::span<char> room);
  // As much as the kernel takes. One at a time; the bytes are the sender's, who is told in a later turn of the
  // loop.
  void send(std::string_view bytes, std::shared_ptr<Sender> sender);
  // Both directions; what is under way ends with an error, in a later turn. Only once.
  void close();

  // For what has to be asked or set; until close().
  int handle();
  asio::any_io_executor executor() { return socket_.get_executor(); }

 private:
  class Receiving final : public Ring::Operation {
   public:
    using Handler = asio::async_result<asio::use_awaitable_t<>, void(Received)>::handler_type;

    explicit Receiving(Socket& socket) : socket_(socket) {}
    void begin(Handler handler, std::span<char> room);
    void submit();
    bool is_under_way() const { return handler_.has_value(); }
    void done(int result) override;
    void abandon() override { std::exchange(handler_, std::nullopt); }

   private:
    Socket& socket_;
    std::optional<Handler> handler_;
    std::span<char> room_;
    bool more_is_there_ = false;  // most likely: the last one had no room for more
  };

  class Sending final : public Ring::Operation {
   public:
    explicit Sending(Socket& socket) : socket_(socket) {}
    void begin(std::shared_ptr<Sender> sender, std::string_view bytes);
    bool is_under_way() const { return sender_ != nullptr; }
    void done(int result) override;
    void abandon() override { std::exchange(sender_, nullptr); }

   private:
    Socket& socket_;
    std::shared_ptr<Sender> sender_;
    std::string_view bytes_;
  };

  asio::awaitable<Received> receive_by_asio(std::span<char> room);
  asio::awaitable<Received> receive_by_ring(std::span<char> room);
  void give_back_descriptor();

  asio::ip::tcp::socket socket_;  // open, unless there is a ring
  Ring* ring_;
  int descriptor_ = -1;  // what the ring works on
  bool closed_ = false;
  Receiving receiving_{*this};
  Sending sending_{*this};
};

}  // namespace kv
