// What a ring has to hold that one connection by it does not show (connection_test.cpp has those by both ways).
#include "common/uring.hpp"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <asio/detached.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/post.hpp>
#include <catch2/catch.hpp>
#include <deque>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/connection.hpp"
#include "common/ring.hpp"

namespace {

using namespace kv;
using asio::ip::tcp;

struct Loop {
  asio::io_context io;
  tcp::acceptor acceptor{io, tcp::endpoint(asio::ip::address_v4::loopback(), 0)};
  std::string refused;

  explicit Loop(UringSizes sizes = {}) : refused(open_uring(io, sizes)) {
    if (!refused.empty() && sizes.submissions > 0) WARN("no io_uring here: " << refused);
  }

  std::pair<std::shared_ptr<Connection>, std::shared_ptr<Connection>> connect() {
    tcp::socket socket(io);
    socket.connect(acceptor.local_endpoint());
    auto accepted = std::make_shared<Connection>(acceptor.accept(), default_max_frame);
    return {std::make_shared<Connection>(std::move(socket), default_max_frame), accepted};
  }
};

std::string frame_of(const std::string& body) {
  std::string frame;
  const std::size_t start = begin_frame(frame);
  frame += body;
  finish_frame(frame, start);
  return frame;
}

// Sends back each frame until the other side ends.
asio::awaitable<void> echo(std::shared_ptr<Connection> connection) {
  for (;;) {
    if (co_await connection->read()) co_return connection->close();
    std::string_view body;
    while (connection->frames().next(body) == FrameReader::Result::frame)
      connection->send_frame(frame_of(std::string(body)));
    connection->flush();
  }
}

// A frame there and back, again and again.
asio::awaitable<void> converse(std::shared_ptr<Connection> connection, std::string name, int times, int& done) {
  for (int i = 0; i < times; ++i) {
    const std::string sent = name + " " + std::to_string(i);
    connection->send_frame(frame_of(sent));
    connection->flush();
    std::string_view body;
    while (connection->frames().next(body) != FrameReader::Result::frame)
      if (co_await connection->read()) co_return;
    if (body != sent) co_return;
  }
  ++done;
  connection->close();
}

TEST_CASE("more connections than a ring has places, each with its own bytes", "[uring]") {
  Loop loop(UringSizes{4, 8});
  int done = 0;
  constexpr int pairs = 100;
  for (int i = 0; i < pairs; ++i) {
    const auto [left, right] = loop.connect();
    asio::co_spawn(loop.io, echo(right), asio::detached);
    asio::co_spawn(loop.io, converse(left, std::to_string(i), 20, done), asio::detached);
  }
  loop.io.run();
  CHECK(done == pairs);
}

TEST_CASE("a loop with a ring ends when nothing is under way, and goes on when something is again", "[uring]") {
  Loop loop;
  for (int round = 1; round <= 3; ++round) {
    int done = 0;
    const auto [left, right] = loop.connect();
    asio::co_spawn(loop.io, echo(right), asio::detached);
    asio::co_spawn(loop.io, converse(left, "round", 3, done), asio::detached);
    loop.io.run();
    CHECK(done == 1);
    loop.io.restart();
  }
}

struct Flag {
  bool& set;
  explicit Flag(bool& flag) : set(flag) {}
  ~Flag() { set = true; }
};

asio::awaitable<void> read_for_ever(std::shared_ptr<Connection> connection, bool& gone) {
  const Flag flag(gone);
  while (!co_await connection->read()) {
  }
}

TEST_CASE("a loop that is destroyed lets go of what is under way", "[uring]") {
  bool gone = false;
  std::weak_ptr<Connection> sender;
  {
    Loop loop;
    const auto [left, right] = loop.connect();
    sender = left;
    asio::co_spawn(loop.io, read_for_ever(right, gone), asio::detached);
    loop.io.poll();
    left->send_frame(frame_of(std::string(16 << 20, 'x')));  // more than the kernel takes
    left->flush();
    CHECK_FALSE(gone);
  }
  CHECK(gone);
  CHECK(sender.expired());
}

asio::awaitable<void> read_once(std::shared_ptr<Connection> connection, std::error_code& error) {
  error = co_await connection->read();
}

TEST_CASE("a closed connection's descriptor is another's only when the ring is done with it", "[uring]") {
  Loop loop;
  if (!loop.refused.empty()) return;
  std::error_code end;
  const auto first = loop.connect();
  asio::co_spawn(loop.io, read_once(first.first, end), asio::detached);
  loop.io.poll();  // its receive is the kernel's now
  first.first->close();
  const auto second = loop.connect();
  int done = 0;
  asio::co_spawn(loop.io, echo(second.second), asio::detached);
  asio::co_spawn(loop.io, converse(second.first, "second", 3, done), asio::detached);
  loop.io.run();
  CHECK(end == asio::error::operation_aborted);
  CHECK(done == 1);
}

TEST_CASE("what is closed before its receive was begun by the kernel takes nobody's bytes", "[uring]") {
  Loop loop;
  std::error_code end;
  const auto first = loop.connect();
  asio::co_spawn(loop.io, read_once(first.first, end), asio::detached);
  loop.io.poll_one();  // it is in the ring, and not submitted yet
  first.first->close();
  const auto second = loop.connect();
  int done = 0;
  asio::co_spawn(loop.io, echo(second.second), asio::detached);
  asio::co_spawn(loop.io, converse(second.first, "second", 3, done), asio::detached);
  loop.io.run();
  CHECK(end);
  CHECK(done == 1);
}

struct Counted final : Ring::Operation {
  explicit Counted(int& counter) : results(counter) {}
  void done(int) override { ++results; }
  void abandon() override {}
  int& results;
};

// Posts itself again and again: the most results that came between two of its turns.
struct Clock {
  asio::io_context& io;
  const int& results;
  int until;
  int seen = 0;
  int most = 0;

  void tick() {
    most = std::max(most, results - seen);
    seen = results;
    if (seen < until) asio::post(io, [this] { tick(); });
  }
};

TEST_CASE("however many results there are, all else on the loop has its turns in between", "[uring]") {
  Loop loop;
  if (!loop.refused.empty()) return;
  constexpr int many = 1000;
  int ends[2];
  REQUIRE(::socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) == 0);
  ::close(ends[1]);  // so that each send ends at once
  int results = 0;
  std::deque<Counted> sends;
  for (int i = 0; i < many; ++i) Ring::of(loop.io)->send(ends[0], "x", sends.emplace_back(results));
  Clock clock{loop.io, results, many};
  clock.tick();
  loop.io.run();
  CHECK(results == many);
  CHECK(clock.most <= 128);
  ::close(ends[0]);
}

TEST_CASE("a loop has one ring", "[uring]") {
  Loop loop;
  if (!loop.refused.empty()) return;
  const Ring* const ring = Ring::of(loop.io);
  CHECK(ring != nullptr);
  CHECK(open_uring(loop.io).empty());
  CHECK(Ring::of(loop.io) == ring);
}

TEST_CASE("a kernel that refuses says why, and connections do without", "[uring]") {
  Loop loop(UringSizes{0, 0});  // which no kernel makes
  CHECK_FALSE(loop.refused.empty());
  CHECK(Ring::of(loop.io) == nullptr);
  int done = 0;
  const auto [left, right] = loop.connect();
  asio::co_spawn(loop.io, echo(right), asio::detached);
  asio::co_spawn(loop.io, converse(left, "asio", 3, done), asio::detached);
  loop.io.run();
  CHECK(done == 1);
}

}  // namespace
