// Messages of any kind with any texts in them, there and back.
#include <catch2/catch.hpp>
#include <iterator>
#include <random>
#include <string>
#include <string_view>
#include <utility>

#include "common/message.hpp"
#include "common/text.hpp"
#include "tests/message_frames.hpp"

namespace {

using namespace kv;
using namespace kv::message;

class RandomMessages {
 public:
  explicit RandomMessages(unsigned seed) : random_(seed) {}

  std::uint64_t number() { return random_() >> 11 >> (random_() % 53); }
  bool yes() { return random_() % 2 == 0; }
  // Any bytes: short or long, plain or not.
  std::string bytes() {
    std::string text(random_() % (yes() ? 20 : 300), '\0');
    const auto kind = random_() % 3;
    for (char& c : text) {
      c = static_cast<char>(kind == 0 ? random_() : kind == 1 ? random_() % 128 : 'a' + random_() % 26);
    }
    return text;
  }
  std::string text() {
    static constexpr const char* pieces[] = {"a", "B", "\"", "\\", "\n",   "\x01",    "/",
                                             " ", "é", "€",  "😀",  "\x7f", "12345678"};
    std::string text;
    for (std::size_t n = random_() % 30; n > 0; --n) {
      text += pieces[random_() % std::size(pieces)];
      if (random_() % 20 == 0) text += '\0';
    }
    return text;
  }
  std::string key() { return "k" + text(); }
  std::optional<std::uint64_t> maybe_number() { return yes() ? std::optional(number()) : std::nullopt; }
  std::optional<WriteSession> maybe_session() {
    if (yes()) return std::nullopt;
    return WriteSession{new_uuid(), number() % max_integer + 1, number()};
  }
  Put put() { return {key(), bytes(), maybe_number(), maybe_session()}; }
  Delete del() { return {key(), maybe_number(), maybe_session()}; }
  Error error() {
    Error error{static_cast<Code>(random_() % 12), text(), maybe_number(), maybe_number(), {}, {}};
    if (yes()) error.leader = text();
    if (yes()) error.cluster = text();
    return error;
  }

  Request request() {
    Request request;
    request.id = number();
    if (yes()) request.timeout_ms = number() % (max_timeout_ms + 1);
    if (yes()) request.cluster = text();
    switch (random_() % 4) {
      case 0:
        request.body = put();
        break;
      case 1:
        request.body = del();
        break;
      case 2:
        request.body = Get{key(), number(), static_cast<Consistency>(random_() % 3)};
        break;
      default:
        request.body = Init{number(), text()};
    }
    return request;
  }

  Answer answer() {
    Answer answer;
    answer.id = number();
    switch (random_() % 5) {
      case 0:
        answer.body = GetOk{key(), yes() ? std::optional(bytes()) : std::nullopt, number(), number(), text()};
        break;
      case 1:
        answer.body = DeleteOk{key(), number(), yes()};
        break;
      case 2:
        answer.body =
            InitOk{number(), text(), text(), text(), text(), number(), {{text(), text()}, {text(), text()}}};
        break;
      case 3:
        answer.body = WaitForResponse{key(), number(), number(), text()};
        break;
      default:
        answer.body = error();
    }
    return answer;
  }

  Peer peer() {
    switch (random_() % 4) {
      case 0:
        return Forward{number(), number(), number() % max_timeout_ms, put()};
      case 1:
        return ForwardOk{number(), error()};
      case 2:
        return ReplicationOk{number(), yes(), number(), number(), number(), number(), number()};
      default: {
        Replication replication{number(), text(), number(), number(), {}, number(), number()};
        for (std::size_t n = random_() % 5; n > 0; --n) {
          replication.entries.push_back({number(), number(), put()});
          replication.entries.push_back({number(), number(), del()});
          replication.entries.push_back({number(), number(), Members{text(), {{text(), text(), text(), text()}}}});
        }
        return replication;
      }
    }
  }

 private:
  std::mt19937_64 random_;
};

TEST_CASE("any message is read as it was written") {
  RandomMessages random(GENERATE(1u, 2u, 3u, 4u));
  for (int i = 0; i < 500; ++i) {
    const Request request = random.request();
    const Answer answer = random.answer();
    const Peer peer = random.peer();
    INFO(json_of(request));
    INFO(json_of(answer));
    INFO(json_of(peer));
    CHECK(good(read_request(json_of(request))) == request);
    CHECK(good(read_answer(json_of(answer))) == answer);
    CHECK(good(read_peer(json_of(peer))) == peer);
    CHECK(good(read_request(' ' + json_of(request))) == request);
    CHECK(good(read_answer(' ' + json_of(answer))) == answer);
    CHECK(good(read_peer(' ' + json_of(peer))) == peer);
  }
}

TEST_CASE("a string means the same however its characters are written") {
  static constexpr std::pair<const char*, const char*> characters[] = {
      {"a", R"(\u0061)"},    {"\"", R"(\")"},    {"\\", R"(\\)"},    {"/", R"(\/)"},           {"\n", R"(\n)"},
      {"\x1f", R"(\u001f)"}, {"é", R"(\u00E9)"}, {"€", R"(\u20ac)"}, {"😀", R"(\uD83D\ude00)"},
  };
  std::mt19937 random(GENERATE(1u, 2u, 3u, 4u));
  for (int i = 0; i < 500; ++i) {
    std::string text;
    std::string json;
    for (std::size_t n = random() % 40 + 1; n > 0; --n) {
      const auto& [plain, escaped] = characters[random() % std::size(characters)];
      const bool must = std::string_view("\"\\\n\x1f").find(plain[0]) != std::string_view::npos;
      // Mostly plain ones, so that there are long runs between the escapes.
      const bool escape = random() % 8 == 0;
      if (must && !escape) continue;
      text += plain;
      json += escape ? escaped : plain;
    }
    INFO(json);
    CHECK(std::get<Get>(good(read_request(R"({"type":"GET","id":1,"key":"k)" + json + "\"}")).body).key ==
          "k" + text);
  }
}

TEST_CASE("a text is read as it was written, whatever stands in it and wherever") {
  const auto check = [](const std::string& text) {
    INFO(text.size() << ": " << text);
    Request request;
    request.id = 1;
    request.body = Put{"k" + text, text, {}, {}};
    CHECK(good(read_request(json_of(request))) == request);
  };
  for (std::size_t size = 1; size <= 40; ++size) {
    for (std::size_t at = 0; at < size; ++at) {
      for (const std::string_view piece : {"x", "\"", "\\", "\n", "\x1f", "\x7f", "é"}) {
        check(std::string(size, 'a').replace(at, 1, piece));
      }
    }
  }
  for (const std::size_t size : {4094, 4095}) check(std::string(size, 'a'));
}

}  // namespace
