// A watch that goes from server to server.
#include <catch2/catch.hpp>

#include "client/run.hpp"
#include "client/watching.hpp"
#include "tests/client_fake_server.hpp"

using namespace kv;
using namespace kv::client;
using kv::client::test::FakeServer;
using message::Operation;

namespace {

message::Event event(std::uint64_t ts, std::string key = "k", bool more = false) {
  return {Operation::put, std::move(key), "v", ts, more};
}

// Two servers of one cluster and a watch of "k" on it.
struct Stage {
  asio::io_context io{1};
  FakeServer one{io, "n1"};
  FakeServer two{io, "n2"};
  std::vector<std::string> places;
  std::unique_ptr<Client> client;
  std::unique_ptr<Watching> watching;

  Stage() { one.hello.members = two.hello.members = {{"n1", one.address().text()}, {"n2", two.address().text()}}; }
  // `only`: the servers that the client is told of at first.
  void watch(std::optional<std::uint64_t> from, const FakeServer& first) {
    ClientOptions options;
    options.endpoints = {first.address()};
    options.endpoints_first = true;
    client = std::make_unique<Client>(io, std::move(options));
    watching = std::make_unique<Watching>(
        *client, message::Watch{"k", {}, from}, 0, std::chrono::seconds(5), [this](const Watching::Place& place) {
          places.push_back(place.server.substr(0, 2) + " from " + std::to_string(place.position));
        });
  }
  // "58 59+59" or the error's code.
  std::string next() {
    const auto result = run(io, watching->next());
    if (const auto* failure = std::get_if<Failure>(&result)) {
      if (failure->kind == Failure::Kind::interrupted) return "interrupted";
      return failure->error ? std::string(name_of(failure->error->code)) : "nobody";
    }
    std::string text;
    for (const message::Event& one_event : std::get<Watching::Changes>(result)) {
      text += (text.empty() ? "" : "+") + one_event.key + std::to_string(one_event.ts);
    }
    return text;
  }
};

// Answers a WATCH with WATCH_OK and these, and then does `and_then`.
FakeServer::Handler watching(std::vector<message::Event> events,
                             std::function<void(const FakeServer::Peer&)> and_then = {}) {
  return [=](const FakeServer::Peer& peer, const message::Request& asked) {
    if (!std::holds_alternative<message::Watch>(asked.body)) return;
    peer.answer(asked, message::WatchOk{57, "n"});
    for (const message::Event& one : events) peer.answer(asked, one);
    if (and_then) and_then(peer);
  };
}
FakeServer::Handler refusing(message::Code code) {
  return [=](const FakeServer::Peer& peer, const message::Request& asked) { peer.refuse(asked, code); };
}
// COMPACTED, and from where on it knows all.
FakeServer::Handler knowing_from(std::uint64_t oldest) {
  return [=](const FakeServer::Peer& peer, const message::Request& asked) {
    message::Error error = message::make_error(message::Code::compacted, "too long ago");
    error.oldest = oldest;
    peer.answer(asked, error);
  };
}
void hang_up(const FakeServer::Peer& peer) {
  peer.connection->close_after_flush();
}

}  // namespace

TEST_CASE("watching: changes come a position at a time") {
  Stage stage;
  stage.one.on_request = watching({event(58), event(60, "a", true), event(60, "b"), event(61)});
  stage.watch({}, stage.one);
  CHECK(stage.next() == "k58");
  CHECK(stage.watching->position() == 58);
  CHECK(stage.next() == "a60+b60");
  CHECK(stage.next() == "k61");
  CHECK(stage.places == std::vector<std::string>{"n1 from 57"});
}

TEST_CASE("watching: it goes on at another server from the last whole position") {
  Stage stage;
  stage.one.on_request = watching({event(58), event(60, "a", true)}, hang_up);
  stage.two.on_request = watching({event(60, "a", true), event(60, "b"), event(61)});
  stage.watch({}, stage.one);
  CHECK(stage.next() == "k58");
  CHECK(stage.next() == "a60+b60");
  CHECK(stage.next() == "k61");
  const auto asked = stage.two.received<message::Watch>();
  REQUIRE(asked.size() == 1);
  CHECK(asked[0].from_ts == 58);
  CHECK(stage.places == std::vector<std::string>{"n1 from 57", "n2 from 58"});
}

TEST_CASE("watching: a server that is stopping, or too slow a reader, is left in the same way") {
  for (const auto code : {message::Code::shutting_down, message::Code::overloaded}) {
    Stage stage;
    stage.one.on_request = refusing(code);
    stage.two.on_request = watching({event(61)});
    stage.watch(60, stage.one);
    CHECK(stage.next() == "k61");
    CHECK(stage.two.received<message::Watch>()[0].from_ts == 60);
  }
}

TEST_CASE("watching: what one server no longer knows another may") {
  Stage stage;
  stage.one.on_request = refusing(message::Code::compacted);
  stage.two.on_request = watching({event(7)});
  stage.watch(5, stage.one);
  CHECK(stage.next() == "k7");
}

TEST_CASE("watching: COMPACTED where no server knows what comes next") {
  Stage stage;
  stage.one.on_request = stage.two.on_request = refusing(message::Code::compacted);
  stage.watch(5, stage.one);
  CHECK(stage.next() == "COMPACTED");
  CHECK(stage.two.received<message::Watch>().size() == 1);
}

TEST_CASE("watching: of servers that know too little the one that knows most counts") {
  Stage stage;
  const bool first_knows_most = GENERATE(true, false);
  stage.one.on_request = knowing_from(first_knows_most ? 58 : 101);
  stage.two.on_request = knowing_from(first_knows_most ? 101 : 58);
  stage.watch(5, stage.one);
  const auto result = run(stage.io, stage.watching->next());
  REQUIRE(std::get<Failure>(result).error);
  CHECK(std::get<Failure>(result).error->oldest == 58);
}

TEST_CASE("watching: while one is down that may know more, it is waited for") {
  Stage stage;
  stage.one.on_request = refusing(message::Code::compacted);
  stage.two.on_request = watching({event(7)});
  int asked = 0;
  stage.two.on_init = [&](const FakeServer::Peer& peer, const message::Request& init) {
    if (++asked == 1) return peer.hang_up();
    peer.answer(init, stage.two.hello);
  };
  stage.watch(5, stage.one);
  CHECK(stage.next() == "k7");
}

TEST_CASE("watching: what no retry would mend ends it at once") {
  Stage stage;
  stage.one.on_request = refusing(message::Code::bad_request);
  stage.watch(5, stage.one);
  CHECK(stage.next() == "BAD_REQUEST");
  CHECK(stage.two.requests.empty());
}

TEST_CASE("watching: an interrupt ends it, and the server is told") {
  Stage stage;
  bool cancelled = false;
  stage.one.on_request = [&](const FakeServer::Peer& peer, const message::Request& asked) {
    if (const auto* cancel = std::get_if<message::Cancel>(&asked.body)) {
      cancelled = true;
      peer.answer(asked, message::CancelOk{cancel->watch, true});
      return;
    }
    peer.answer(asked, message::WatchOk{57, "n1"});
    stage.client->interrupt();
  };
  stage.watch({}, stage.one);
  CHECK(stage.next() == "interrupted");
  while (!cancelled) stage.io.run_one();
}

TEST_CASE("watching: without a beginning of its own it does not begin before what was seen elsewhere") {
  Stage stage;
  stage.one.on_request = watching({event(58), event(60), event(61)});
  stage.watch({}, stage.one);
  Watching later(*stage.client, message::Watch{"k", {}, {}}, 60, std::chrono::seconds(5));
  const auto result = run(stage.io, later.next());
  REQUIRE(std::holds_alternative<Watching::Changes>(result));
  CHECK(std::get<Watching::Changes>(result).front().ts == 61);
}

TEST_CASE("watching: nobody there") {
  Stage stage;
  ClientOptions options;
  options.endpoints = {test::closed_address(stage.io)};
  Client client(stage.io, std::move(options));
  Watching watching(client, message::Watch{"k", {}, {}}, 0, std::chrono::seconds(5));
  const auto result = run(stage.io, watching.next());
  REQUIRE(std::holds_alternative<Failure>(result));
  CHECK(std::get<Failure>(result).kind == Failure::Kind::no_server);
}
