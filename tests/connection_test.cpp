#include "common/connection.hpp"

#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <exception>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/message.hpp"
#include "common/uring.hpp"

namespace {

using namespace kv;
using namespace kv::message;
using asio::ip::tcp;

// Two connections over loopback that are each other's other side, by Asio or by the kernel's ring (which may not be
// there: then twice by Asio).
struct Pair {
  asio::io_context io;
  std::shared_ptr<Connection> left;
  std::shared_ptr<Connection> right;

  explicit Pair(bool by_ring = GENERATE(false, true)) {
    if (by_ring) {
      const std::string refused = open_uring(io);
      if (!refused.empty()) WARN("no io_uring here: " << refused);
    }
    tcp::acceptor acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
    tcp::socket socket(io);
    socket.connect(acceptor.local_endpoint());
    right = std::make_shared<Connection>(acceptor.accept(), default_max_frame);
    left = std::make_shared<Connection>(std::move(socket), default_max_frame);
  }

  void spawn(asio::awaitable<void> task) {
    asio::co_spawn(io, std::move(task), [](std::exception_ptr error) {
      if (error) std::rethrow_exception(error);
    });
  }
};

struct Received {
  std::vector<std::string> bodies;
  std::error_code end;  // of the reading, if it was not the count
};

// Reads up to so many frames.
asio::awaitable<void> receive(std::shared_ptr<Connection> connection, std::size_t count, Received& received) {
  for (;;) {
    std::string_view body;
    while (received.bodies.size() < count && connection->frames().next(body) == FrameReader::Result::frame) {
      received.bodies.emplace_back(body);
    }
    if (received.bodies.size() == count) co_return;
    received.end = co_await connection->read();
    if (received.end) co_return;
  }
}

constexpr std::size_t all = static_cast<std::size_t>(-1);

Request put(std::uint64_t id, std::string value) {
  Request request;
  request.id = id;
  request.body = Put{"key", std::move(value), {}, {}};
  return request;
}

std::string json_of(const auto& message) {
  std::string out;
  encode(message, out);
  return out;
}

TEST_CASE("a connection carries frames both ways") {
  Pair pair;
  Received requests;
  Received answers;
  const Request request = put(1, "value");
  const Answer answer{1, PutOk{"key", 58}};
  pair.left->send(request);
  pair.left->send(request);
  pair.left->flush();
  pair.right->send(answer);
  pair.right->flush();
  pair.spawn(receive(pair.right, 2, requests));
  pair.spawn(receive(pair.left, 1, answers));
  pair.io.run();
  CHECK(requests.bodies == std::vector{json_of(request), json_of(request)});
  CHECK(answers.bodies == std::vector{json_of(answer)});
  CHECK(pair.left->unsent() == 0);
  CHECK(pair.left->is_open());
}

TEST_CASE("frames that are encoded already go out as they are, in order with the others") {
  Pair pair;
  Received received;
  std::string frame;
  const std::size_t start = begin_frame(frame);
  frame += "{}";
  finish_frame(frame, start);
  pair.left->send(put(1, "a"));
  pair.left->send_frame(frame);
  pair.left->send(put(2, "b"));
  pair.left->flush();
  pair.spawn(receive(pair.right, 3, received));
  pair.io.run();
  CHECK(received.bodies == std::vector{json_of(put(1, "a")), std::string("{}"), json_of(put(2, "b"))});
}

TEST_CASE("nothing goes out before flush()") {
  Pair pair;
  pair.left->send(put(1, "value"));
  pair.io.run();
  CHECK(pair.left->unsent() == frame_header_bytes + json_of(put(1, "value")).size());
}

TEST_CASE("a frame of 3 MiB, with small ones around it") {
  Pair pair;
  Received received;
  const Request big = put(2, std::string(3 << 20, 'x'));
  pair.left->send(put(1, "before"));
  pair.left->send(big);
  pair.left->flush();
  pair.left->send(put(3, "behind"));  // gathers while the first write is under way
  pair.left->flush();
  pair.spawn(receive(pair.right, 3, received));
  pair.io.run();
  REQUIRE(received.bodies.size() == 3);
  CHECK(received.bodies[0] == json_of(put(1, "before")));
  CHECK((received.bodies[1] == json_of(big)));
  CHECK(received.bodies[2] == json_of(put(3, "behind")));
}

TEST_CASE("close_after_flush delivers all that was sent") {
  Pair pair;
  Received received;
  std::vector<std::string> sent;
  for (std::uint64_t i = 0; i < 1000; ++i) {
    pair.left->send(put(i, std::string(8 << 10, 'x')));
    sent.push_back(json_of(put(i, std::string(8 << 10, 'x'))));
    if (i == 0) pair.left->flush();  // so that the rest waits behind a write
  }
  pair.left->close_after_flush();
  CHECK(pair.left->is_open());
  pair.spawn(receive(pair.right, all, received));
  pair.io.run();
  CHECK((received.bodies == sent));
  CHECK(received.end == asio::error::eof);
  CHECK_FALSE(pair.left->is_open());
}

TEST_CASE("close_after_flush with nothing to send closes at once") {
  Pair pair;
  pair.left->close_after_flush();
  CHECK_FALSE(pair.left->is_open());
}

TEST_CASE("a closed connection reads nothing, takes nothing, and may be closed again") {
  Pair pair;
  Received received;
  pair.left->close();
  pair.left->send(put(1, "value"));
  pair.left->flush();
  pair.left->close();
  CHECK(pair.left->unsent() == 0);
  pair.spawn(receive(pair.left, 1, received));
  pair.io.run();
  CHECK(received.end == asio::error::operation_aborted);
}

TEST_CASE("close ends a read that is under way") {
  Pair pair;
  Received received;
  pair.spawn(receive(pair.left, 1, received));
  asio::post(pair.io, [&pair] { pair.left->close(); });
  pair.io.run();
  CHECK(received.end);
}

// The read's error shows that the reset has arrived, so that the write must fail.
asio::awaitable<void> send_after_the_end(std::shared_ptr<Connection> connection, Received& received) {
  co_await receive(connection, 1, received);
  connection->send(put(1, "value"));
  connection->flush();
}

TEST_CASE("a write that fails closes the connection") {
  asio::io_context io;
  if (GENERATE(false, true)) open_uring(io);
  tcp::acceptor acceptor(io, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  tcp::socket socket(io);
  socket.connect(acceptor.local_endpoint());
  const auto connection = std::make_shared<Connection>(acceptor.accept(), default_max_frame);
  socket.set_option(asio::socket_base::linger(true, 0));  // close() resets
  socket.close();

  Received received;
  asio::co_spawn(io, send_after_the_end(connection, received), [](std::exception_ptr error) {
    if (error) std::rethrow_exception(error);
  });
  io.run();
  CHECK(received.end == asio::error::connection_reset);
  CHECK_FALSE(connection->is_open());
}

asio::awaitable<void> wait_until_drained(std::shared_ptr<Connection> connection, std::size_t bytes, bool& drained) {
  co_await connection->drained(bytes);
  drained = true;
}

TEST_CASE("drained() returns when the other side has taken enough") {
  Pair pair;
  bool drained = false;
  for (std::uint64_t i = 0; i < 16; ++i) pair.left->send(put(i, std::string(1 << 20, 'x')));
  pair.left->flush();
  pair.left->send(put(16, "behind"));
  pair.left->flush();
  pair.spawn(wait_until_drained(pair.left, 100, drained));
  // All that can be done without a reader: the socket's buffers are far smaller than that.
  while (pair.io.poll() > 0) {
  }
  CHECK_FALSE(drained);
  CHECK(pair.left->unsent() > 100);

  Received received;
  pair.spawn(receive(pair.right, 17, received));
  pair.io.run();
  CHECK(drained);
  CHECK(received.bodies.size() == 17);
}

TEST_CASE("drained() returns when the connection is closed") {
  Pair pair;
  bool drained = false;
  for (std::uint64_t i = 0; i < 16; ++i) pair.left->send(put(i, std::string(1 << 20, 'x')));
  pair.left->flush();
  pair.spawn(wait_until_drained(pair.left, 0, drained));
  asio::post(pair.io, [&pair] { pair.left->close(); });
  pair.io.run();
  CHECK(drained);
}

TEST_CASE("a connection knows its other side, also when that has gone") {
  Pair pair;
  CHECK(pair.left->remote().starts_with("127.0.0.1:"));
  const std::string before = pair.left->remote();
  pair.left->close();
  CHECK(pair.left->remote() == before);
}

}  // namespace
