// Reads whose server is behind, or says nothing: who is asked beside it, when, and whose answer counts.
#include <asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "client/client.hpp"
#include "tests/client_fake_server.hpp"
#include "tests/client_world.hpp"

using namespace kv;
using namespace kv::client;
using namespace kv::client::test;
using namespace std::chrono_literals;

namespace {

constexpr std::uint64_t asked_position = 57;

// Says WAIT_FOR_RESPONSE, and the rest when the test wants it.
struct Server : FakeServer {
  Server(asio::io_context& io, std::string node, std::uint64_t applied) : FakeServer(io, std::move(node)) {
    hello.applied = applied;
    on_request = [this](const Peer& peer, const message::Request& asked) {
      if (hello.applied < asked_position) {
        message::WaitForResponse wait;
        wait.key = "colour";
        wait.ts = asked_position;
        wait.applied = hello.applied;
        wait.node = hello.node;
        peer.answer(asked, wait);
        parked.emplace_back(peer, asked);
        if (on_parked) on_parked();
      } else if (!is_silent) {
        send_value(peer, asked);
      } else if (on_parked) {
        on_parked();
      }
    };
  }

  void send_value(const Peer& peer, const message::Request& asked) const {
    message::GetOk ok;
    ok.key = "colour";
    ok.value = "of " + hello.node;
    ok.ts = asked_position;
    ok.applied = std::max(hello.applied, asked_position);
    ok.node = hello.node;
    peer.answer(asked, ok);
  }
  void answer_parked() {
    for (const auto& [peer, asked] : parked) send_value(peer, asked);
    parked.clear();
  }
  std::size_t gets() const { return received<message::Get>().size(); }

  bool is_silent = false;
  std::function<void()> on_parked;
  std::vector<std::pair<Peer, message::Request>> parked;
};

// n1 is asked first: it alone is given, until the others are learned from it.
struct Hedging {
  World world;
  Server first{world.io, "n1", 41};
  Server second{world.io, "n2", 60};
  Server third{world.io, "n3", 60};
  HedgeTimes times{1ms, 1h};
  std::unique_ptr<Client> client;
  std::vector<std::string> waits;  // the nodes that said WAIT_FOR_RESPONSE

  void begin(std::vector<Server*> others) {
    for (Server* other : others) first.hello.members.push_back({other->hello.node, other->address().text()});
    for (Server* other : others) other->hello.members = first.hello.members;
    ClientOptions options;
    options.endpoints = {first.address()};
    options.seed = 1;
    options.hedge_times = times;
    options.answer_grace = 30ms;
    client = std::make_unique<Client>(world.io, std::move(options));
  }

  Outcome get(std::chrono::milliseconds timeout = plenty) {
    return request(world, *client, get_of("colour", asked_position), timeout,
                   [this](const message::WaitForResponse& wait) { waits.push_back(wait.node); });
  }
};

}  // namespace

TEST_CASE("hedge: a read whose server is behind gets its value from another one") {
  Hedging test;
  test.begin({&test.second});
  const Outcome outcome = test.get();
  CHECK(answer_of<message::GetOk>(outcome).value == "of n2");
  CHECK(std::get<Reply>(outcome).node == "n2");
  CHECK(test.waits == std::vector<std::string>{"n1"});
  CHECK(test.first.gets() == 1);
  CHECK(test.second.gets() == 1);

  SECTION("the first server's answer, which comes too late, is not taken for another read's") {
    test.first.answer_parked();
    CHECK(answer_of<message::GetOk>(test.get()).value == "of n2");
  }
}

TEST_CASE("hedge: the first server's answer counts if it is the first that comes") {
  Hedging test;
  test.second.is_silent = true;
  test.second.on_parked = [&] { test.first.answer_parked(); };
  test.begin({&test.second});
  CHECK(answer_of<message::GetOk>(test.get()).value == "of n1");
  CHECK(test.second.gets() == 1);
}

TEST_CASE("hedge: a server that is known to be fresh is asked at once, however long the moment is") {
  Hedging test;
  test.times.behind = 1h;
  test.begin({&test.second});
  // It tells its position with INIT_OK.
  run(test.world.io, test.client->status(test.client->new_call(plenty)));
  test.first.on_parked = {};
  for (int i = 0; i < 32 && test.first.gets() == 0; ++i) {
    CHECK(answer_of<message::GetOk>(test.get()).value == "of n2");
  }
  CHECK(test.first.gets() == 1);
}

TEST_CASE("hedge: a second server that is behind, too, is left for the next one") {
  Hedging test;
  test.second.hello.applied = 42;
  test.third.hello.applied = 43;
  test.begin({&test.second, &test.third});
  std::size_t most_parked = 0;
  // The last one that is asked answers.
  const auto look = [&] {
    most_parked = std::max(most_parked, test.second.parked.size() + test.third.parked.size());
    if (test.second.gets() + test.third.gets() == 2) {
      (test.waits.back() == "n2" ? test.third : test.second).answer_parked();
    }
  };
  test.second.on_parked = test.third.on_parked = look;
  const Outcome outcome = test.get();
  CHECK(answer_of<message::GetOk>(outcome).value != "of n1");
  CHECK(test.second.gets() + test.third.gets() == 2);
  CHECK(test.waits.size() >= 2);
}

TEST_CASE("hedge: a second server that refuses, or whose connection dies, is left for the next one") {
  Hedging test;
  Server* bad = GENERATE(0, 1) == 0 ? &test.second : &test.third;
  const bool hangs_up = GENERATE(false, true);
  bad->on_request = [hangs_up](const FakeServer::Peer& peer, const message::Request& asked) {
    if (hangs_up) return peer.hang_up();
    peer.refuse(asked, message::Code::overloaded);
  };
  test.begin({&test.second, &test.third});
  const Outcome outcome = test.get();
  CHECK(std::get<Reply>(outcome).node == (bad == &test.second ? "n3" : "n2"));
}

TEST_CASE("hedge: when the second server fails, the first is still listened to") {
  Hedging test;
  test.second.on_request = [&](const FakeServer::Peer& peer, const message::Request&) {
    peer.hang_up();
    test.first.answer_parked();
  };
  test.begin({&test.second});
  CHECK(answer_of<message::GetOk>(test.get()).value == "of n1");
}

TEST_CASE("hedge: when both fail, the read is asked again, of whoever is there") {
  Hedging test;
  bool second_is_well = false;
  test.second.on_request = [&](const FakeServer::Peer& peer, const message::Request& asked) {
    if (second_is_well) return test.second.send_value(peer, asked);
    second_is_well = true;
    peer.hang_up();
    for (const auto& [first_peer, ignored] : test.first.parked) first_peer.hang_up();
    test.first.parked.clear();
  };
  test.begin({&test.second});
  CHECK(answer_of<message::GetOk>(test.get()).value == "of n2");
}

TEST_CASE("hedge: when nobody answers in time, the failure names node, positions and leader") {
  Hedging test;
  test.second.is_silent = true;
  test.first.hello.leader = test.second.hello.leader = "n2";
  test.begin({&test.second});
  const Outcome outcome = test.get(100ms);
  const Failure& failure = failure_of(outcome);
  CHECK(failure.kind == Failure::Kind::no_answer);
  CHECK(failure.node == "n1");
  CHECK(failure.applied == 41u);
  CHECK(failure.asked == asked_position);
  CHECK(failure.leader == "n2");
  CHECK_THAT(explain("get \"colour\"", failure),
             Catch::Contains("n1 has applied 41, you asked for 57; the leader is n2"));
  CHECK(exit_of(failure) == Exit::refused);
}

TEST_CASE("hedge: a server that says nothing at all is not waited for") {
  Hedging test;
  test.times.silent = 20ms;
  test.first.on_request = [](const FakeServer::Peer&, const message::Request&) {};
  test.begin({&test.second});
  CHECK(answer_of<message::GetOk>(test.get()).value == "of n2");
  CHECK(test.waits.empty());
}

TEST_CASE("hedge: a read that waits for the next version waits at one server") {
  Hedging test;
  test.times = {0ms, 0ms};
  test.begin({&test.second});
  message::Get get = get_of("colour", asked_position);
  get.newer_than = asked_position;
  const Outcome outcome = request(test.world, *test.client, get, 100ms);
  CHECK(failure_of(outcome).kind == Failure::Kind::no_answer);
  CHECK(test.second.gets() == 0);
}

TEST_CASE("hedge: a write is sent to one server at a time, with the same session and seq") {
  Hedging test;
  test.times = {0ms, 0ms};
  const auto silent = [](const FakeServer::Peer&, const message::Request&) {};
  test.first.on_request = test.second.on_request = silent;
  test.begin({&test.second});
  SECTION("that says nothing until the deadline") {
    CHECK(failure_of(request(test.world, *test.client, put_of("a", "1"), 80ms)).kind ==
          Failure::Kind::unknown_outcome);
    CHECK(test.first.received<message::Put>().size() + test.second.received<message::Put>().size() == 1);
  }
  SECTION("that dies with the write: the next one gets it again") {
    test.first.on_request = [](const FakeServer::Peer& peer, const message::Request&) { peer.hang_up(); };
    test.second.on_request = [](const FakeServer::Peer& peer, const message::Request& asked) {
      peer.answer(asked, put_ok(asked, 61));
    };
    CHECK(answer_of<message::PutOk>(request(test.world, *test.client, put_of("a", "1"))).ts == 61);
    const auto to_first = test.first.received<message::Put>();
    const auto to_second = test.second.received<message::Put>();
    REQUIRE(to_first.size() == 1);
    REQUIRE(to_second.size() == 1);
    CHECK(to_first[0] == to_second[0]);
  }
}

TEST_CASE("hedge: where servers were named, only those are asked") {
  Hedging test;
  test.begin({&test.second});
  ClientOptions options;
  options.endpoints = {test.first.address()};
  options.endpoints_first = true;
  options.hedge_times = {0ms, 0ms};
  test.client = std::make_unique<Client>(test.world.io, std::move(options));
  test.first.on_parked = [&] {
    if (test.first.parked.size() == 1) test.first.answer_parked();
  };
  CHECK(answer_of<message::GetOk>(test.get()).value == "of n1");
  CHECK(test.second.gets() == 0);
}
