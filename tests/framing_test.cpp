#include "common/framing.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

namespace {

using namespace kv;

std::string framed(std::string_view body) {
  std::string out;
  const std::size_t start = begin_frame(out);
  out += body;
  finish_frame(out, start);
  return out;
}

void feed(FrameReader& reader, std::string_view bytes) {
  const auto room = reader.prepare(bytes.size());
  REQUIRE(room.size() >= bytes.size());
  std::memcpy(room.data(), bytes.data(), bytes.size());
  reader.commit(bytes.size());
}

// The bodies of all frames that are there now.
std::vector<std::string> take(FrameReader& reader) {
  std::vector<std::string> bodies;
  std::string_view body;
  while (reader.next(body) == FrameReader::Result::frame) {
    CHECK(std::string_view(body.data() + body.size(), 4) == std::string_view("\0\0\0\0", 4));
    bodies.emplace_back(body);
  }
  return bodies;
}

using Bodies = std::vector<std::string>;

TEST_CASE("a frame is a big-endian length and so many bytes") {
  CHECK(framed("{}") == std::string("\0\0\0\x02{}", 6));
  CHECK(framed(std::string(0x010203, 'x')).substr(0, 4) == std::string("\0\x01\x02\x03", 4));

  std::string out = "before";
  const std::size_t start = begin_frame(out);
  out += "{}";
  finish_frame(out, start);
  CHECK(out == std::string("before\0\0\0\x02{}", 12));
}

TEST_CASE("a frame comes out when its last byte is there") {
  FrameReader reader(100);
  const std::string bytes = framed("{\"a\":1}");
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    CHECK(take(reader).empty());
    CHECK(reader.buffered() == i);
    feed(reader, bytes.substr(i, 1));
  }
  CHECK(take(reader) == Bodies{"{\"a\":1}"});
  CHECK(reader.buffered() == 0);
}

TEST_CASE("the zero bytes behind a frame do not harm the next one") {
  FrameReader reader(100);
  // One byte of a body: the zeros reach into the next frame's length, and with the last into nothing.
  feed(reader, framed("a") + framed("b") + framed("cd") + framed("e"));
  CHECK(take(reader) == Bodies{"a", "b", "cd", "e"});
}

TEST_CASE("bytes may come while a frame is in use, and between any two calls") {
  FrameReader reader(100);
  const std::string second = framed("second");
  for (std::size_t cut = 0; cut <= second.size(); ++cut) {
    std::string_view body;
    feed(reader, framed("first") + second.substr(0, cut));
    REQUIRE(reader.next(body) == FrameReader::Result::frame);
    CHECK(body == "first");
    feed(reader, second.substr(cut));
    REQUIRE(reader.next(body) == FrameReader::Result::frame);
    CHECK(body == "second");
    CHECK(reader.next(body) == FrameReader::Result::incomplete);
  }
}

TEST_CASE("room that was asked for need not be used") {
  FrameReader reader(100);
  feed(reader, framed("abc").substr(0, 5));
  CHECK(reader.prepare(50).size() >= 50);
  CHECK(reader.prepare(5000).size() >= 5000);
  feed(reader, framed("abc").substr(5));
  CHECK(take(reader) == Bodies{"abc"});
}

TEST_CASE("a length is good from 1 to max_frame") {
  FrameReader reader(10);
  feed(reader, framed("1") + framed("1234567890"));
  CHECK(take(reader) == Bodies{"1", "1234567890"});
}

TEST_CASE("after a bad length nothing can be read any more") {
  const auto [length, bytes] = GENERATE(table<std::uint32_t, std::string>({
      {0, std::string("\0\0\0\0", 4)},
      {11, std::string("\0\0\0\x0b", 4)},
      {0xffffffff, "\xff\xff\xff\xff"},
      {0x7b226964, "{\"id"},  // somebody sent JSON without a length
  }));
  FrameReader reader(10);
  feed(reader, framed("good") + bytes);
  std::string_view body;
  CHECK(reader.next(body) == FrameReader::Result::frame);
  CHECK(reader.next(body) == FrameReader::Result::bad_length);
  CHECK(reader.bad_length() == length);
  feed(reader, framed("good"));
  CHECK(reader.next(body) == FrameReader::Result::bad_length);
}

TEST_CASE("the limit can be raised") {
  FrameReader reader(10);
  reader.set_max_frame(20);
  feed(reader, framed(std::string(20, 'x')));
  CHECK(take(reader).size() == 1);
}

TEST_CASE("a length alone takes no memory") {
  FrameReader reader(peer_max_frame);
  feed(reader, std::string("\x01\0\0\0", 4));  // 16 MiB are announced
  std::string_view body;
  CHECK(reader.next(body) == FrameReader::Result::incomplete);
  // All that is there beyond what was asked for is bounded by what was received.
  CHECK(reader.prepare(100).size() <= 200);
}

TEST_CASE("memory grows with what comes, and is given back after a large frame") {
  constexpr std::size_t size = 3 << 20;
  constexpr std::size_t piece = 64 << 10;
  FrameReader reader(default_max_frame);
  const std::string bytes = framed(std::string(size, 'x'));
  for (std::size_t i = 0; i < bytes.size(); i += piece) {
    feed(reader, std::string_view(bytes).substr(i, piece));
    CHECK(reader.prepare(piece).size() <= reader.buffered() + 2 * piece);
  }
  CHECK(take(reader) == Bodies{std::string(size, 'x')});
  CHECK(reader.prepare(4096).size() < piece);
}

TEST_CASE("a large frame's memory is given back though small ones follow at once") {
  FrameReader reader(default_max_frame);
  feed(reader, framed(std::string(1 << 20, 'x')) + framed("small") + framed("cut").substr(0, 5));
  CHECK(take(reader).size() == 2);
  CHECK(reader.prepare(4096).size() < (64 << 10));
  feed(reader, framed("cut").substr(5));
  CHECK(take(reader) == Bodies{"cut"});
}

TEST_CASE("any frames, cut anywhere, come out as they went in") {
  std::mt19937 random(GENERATE(1u, 2u, 3u, 4u));
  const auto up_to = [&](std::size_t n) { return random() % n + 1; };
  for (int round = 0; round < 100; ++round) {
    Bodies sent;
    std::string bytes;
    for (int i = 0; i < 20; ++i) {
      std::string body(up_to(up_to(4) == 4 ? 5000 : 10), '\0');
      std::generate(body.begin(), body.end(), [&] { return static_cast<char>(random()); });
      bytes += framed(body);
      sent.push_back(std::move(body));
    }
    FrameReader reader(5000);
    Bodies received;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t count = std::min<std::size_t>(up_to(3000), bytes.size() - at);
      feed(reader, std::string_view(bytes).substr(at, count));
      at += count;
      // Sometimes frames are left for later.
      std::string_view body;
      for (std::size_t n = up_to(8); n > 0 && reader.next(body) == FrameReader::Result::frame; --n) {
        received.emplace_back(body);
      }
    }
    for (std::string& body : take(reader)) received.push_back(std::move(body));
    CHECK(received == sent);
  }
}

}  // namespace
