// The client library as other programs see it: <kvd/async_client.hpp>.
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <catch2/catch.hpp>
#include <chrono>
#include <kvd/async_client.hpp>
#include <kvd/client.hpp>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "client/run.hpp"
#include "common/text.hpp"
#include "tests/client_fake_server.hpp"

using kv::client::run;
using kv::client::test::closed_address;
using kv::client::test::cluster_a;
using kv::client::test::cluster_b;
using kv::client::test::FakeServer;
using namespace std::chrono_literals;
namespace message = kv::message;

namespace {

struct Program {
  asio::io_context io{1};
  FakeServer server{io, "n1"};

  kvd::AsyncClient client_of(const std::string& endpoint) {
    kvd::Options options;
    options.endpoints = {endpoint};
    options.name = "the test";
    return kvd::AsyncClient(io, options);
  }
  kvd::AsyncClient client{client_of(server.address().text())};

  std::uint64_t last_asked_position() { return server.received<message::Get>().back().ts; }
};

}  // namespace

TEST_CASE("library: put, get and del") {
  Program program;
  const auto put = run(program.io, program.client.put("colour", "blue"));
  REQUIRE(put);
  CHECK(put->ts == 11);
  const auto get = run(program.io, program.client.get("colour"));
  REQUIRE(get);
  CHECK(get->value == "blue");
  CHECK(get->ts == 11);
  CHECK(get->node == "n1");
  const auto del = run(program.io, program.client.del("colour"));
  REQUIRE(del);
  CHECK(del->found);
  CHECK(del->ts == 12);
  CHECK(run(program.io, program.client.get("colour")).value().value == std::nullopt);
  CHECK(program.server.received<message::Init>().front().client ==
        std::string("the test (libkvd ") + kv::version + ")");
}

TEST_CASE("library: connect tells about the cluster") {
  Program program;
  const auto info = run(program.io, program.client.connect());
  REQUIRE(info);
  CHECK(info->cluster == cluster_a);
  CHECK(info->leader == "n1");
  CHECK(info->servers == 1);
}

TEST_CASE("library: a read asks for what was seen of its key, of writes and of reads") {
  Program program;
  REQUIRE(run(program.io, program.client.get("a")));
  CHECK(program.last_asked_position() == 0);
  program.server.hello.applied = 20;
  REQUIRE(run(program.io, program.client.put("a", "1")));
  REQUIRE(run(program.io, program.client.get("a")));
  CHECK(program.last_asked_position() == 21);
  REQUIRE(run(program.io, program.client.get("b")));
  CHECK(program.last_asked_position() == 0);
  REQUIRE(run(program.io, program.client.get("b")));
  CHECK(program.last_asked_position() == 21);  // where it was absent
  REQUIRE(run(program.io, program.client.del("b")));
  REQUIRE(run(program.io, program.client.get("b")));
  CHECK(program.last_asked_position() == 22);
  CHECK(program.client.last_seen() == 22);

  SECTION("and for what the caller wants to see") {
    kvd::ReadOptions options;
    options.at_least = 30;
    REQUIRE(run(program.io, program.client.get("a", options)));
    CHECK(program.last_asked_position() == 30);
  }
  SECTION("but not if it wants what is there, or the latest") {
    for (const kvd::Consistency consistency : {kvd::Consistency::local, kvd::Consistency::linearizable}) {
      kvd::ReadOptions options;
      options.consistency = consistency;
      REQUIRE(run(program.io, program.client.get("a", options)));
      CHECK(program.last_asked_position() == 0);
    }
    CHECK(program.server.received<message::Get>().back().consistency == message::Consistency::linearizable);
  }
}

TEST_CASE("library: conditions and waiting for the next version reach the server") {
  Program program;
  kvd::WriteOptions absent;
  absent.if_ts = 0;
  REQUIRE(run(program.io, program.client.put("a", "1", absent)));
  CHECK(program.server.received<message::Put>().back().if_ts == 0u);
  REQUIRE(run(program.io, program.client.del("a", absent)));
  CHECK(program.server.received<message::Delete>().back().if_ts == 0u);
  kvd::ReadOptions next;
  next.newer_than = 7;
  REQUIRE(run(program.io, program.client.get("a", next)));
  CHECK(program.server.received<message::Get>().back().newer_than == 7u);
}

TEST_CASE("library: failures are values that say what happened") {
  Program program;
  message::Error said;
  program.server.on_request = [&](const FakeServer::Peer& peer, const message::Request& asked) {
    peer.answer(asked, said);
  };
  SECTION("a conflict") {
    said = message::make_error(message::Code::conflict, "no");
    said.ts = 7;
    const auto put = run(program.io, program.client.put("a", "1"));
    REQUIRE_FALSE(put);
    CHECK(put.error().kind == kvd::Error::Kind::conflict);
    CHECK(put.error().code == "CONFLICT");
    CHECK(put.error().current_ts == 7u);
    CHECK(put.error().text == "put \"a\": conflict: the key's ts is 7");
    CHECK_THROWS_AS(put.value(), kvd::Failed);
  }
  SECTION("a refusal") {
    said = message::make_error(message::Code::no_space, "full");
    const auto put = run(program.io, program.client.put("a", "1"));
    CHECK(put.error().kind == kvd::Error::Kind::refused);
    CHECK_FALSE(put.error().maybe_applied);
    CHECK_THAT(put.error().text, Catch::Contains("NO_SPACE: full") && !Catch::Contains("--"));
  }
  SECTION("a read that is not answered in time") {
    said = message::make_error(message::Code::timeout, "late");
    said.applied = 41;
    said.ts = 57;
    said.leader = "n2";
    kvd::ReadOptions options;
    options.timeout = 60ms;
    const auto get = run(program.io, program.client.get("a", options));
    CHECK(get.error().kind == kvd::Error::Kind::timeout);
    CHECK(get.error().node == "n1");
    CHECK(get.error().leader == "n2");
    CHECK(get.error().applied == 41u);
    CHECK(get.error().asked == 57u);
    CHECK_THAT(get.error().text, Catch::Contains("n1 has applied 41, you asked for 57; the leader is n2"));
  }
  SECTION("a write of which nobody knows") {
    said = message::make_error(message::Code::unknown_outcome, "lost");
    kvd::WriteOptions options;
    options.timeout = 60ms;
    const auto del = run(program.io, program.client.del("a", options));
    CHECK(del.error().kind == kvd::Error::Kind::unknown_outcome);
    CHECK(del.error().maybe_applied);
  }
}

TEST_CASE("library: no server") {
  Program program;
  kvd::AsyncClient client = program.client_of(closed_address(program.io).text());
  const auto get = run(program.io, client.get("a"));
  CHECK(get.error().kind == kvd::Error::Kind::no_server);
  CHECK_THAT(get.error().text, Catch::Contains("connection refused"));
}

TEST_CASE("library: another cluster than the one that was named is not used") {
  Program program;
  kvd::Options options;
  options.endpoints = {program.server.address().text()};
  options.cluster = cluster_b;
  kvd::AsyncClient client(program.io, options);
  const auto put = run(program.io, client.put("a", "1"));
  CHECK(put.error().code == "CLUSTER_MISMATCH");
  CHECK(program.server.received<message::Put>().empty());
}

TEST_CASE("library: cancel() ends what is under way, and says of a write that it may have been applied") {
  Program program;
  program.server.on_request = [&](const FakeServer::Peer&, const message::Request&) { program.client.cancel(); };
  const auto put = run(program.io, program.client.put("a", "1"));
  CHECK(put.error().kind == kvd::Error::Kind::cancelled);
  CHECK(put.error().maybe_applied);
  const auto get = run(program.io, program.client.get("a"));
  CHECK(get.error().kind == kvd::Error::Kind::cancelled);
  CHECK_FALSE(get.error().maybe_applied);
}

TEST_CASE("library: what no server would take is not sent") {
  Program program;
  CHECK(run(program.io, program.client.put("", "1")).error().code == "BAD_REQUEST");
  CHECK(run(program.io, program.client.get("\xff")).error().code == "BAD_REQUEST");
  CHECK(run(program.io, program.client.del(std::string(4097, 'k'))).error().code == "TOO_LARGE");
  CHECK(run(program.io, program.client.put("a", std::string((1 << 20) + 1, 'v'))).error().code == "TOO_LARGE");
  CHECK(program.server.requests.empty());
}

TEST_CASE("library: endpoints that are none are a mistake of the program") {
  asio::io_context io(1);
  kvd::Options options;
  options.endpoints = {"nonsense"};
  CHECK_THROWS_AS(kvd::AsyncClient(io, options), std::invalid_argument);
  options.endpoints.clear();
  CHECK_THROWS_AS(kvd::Client(options), std::invalid_argument);
}

TEST_CASE("library: a list is a page of one moment, and what is read later is not older") {
  Program program;
  program.server.on_request = [](const FakeServer::Peer& peer, const message::Request& asked) {
    if (!std::holds_alternative<message::List>(asked.body)) return peer.refuse(asked, message::Code::no_space);
    message::ListOk ok;
    ok.items.push_back({"users/ann", "admin", 7});
    ok.more = true;
    ok.applied = 30;
    ok.node = "n1";
    peer.answer(asked, ok);
  };
  kvd::ListOptions options;
  options.after = "users/a";
  options.limit = 5;
  options.at_least = 12;
  const kvd::List list = run(program.io, program.client.list("users/", options)).value();
  REQUIRE(list.items.size() == 1);
  CHECK(list.items.front().key == "users/ann");
  CHECK(list.items.front().value == "admin");
  CHECK(list.items.front().ts == 7);
  CHECK(list.more);
  CHECK(list.applied == 30);
  const message::List asked = program.server.received<message::List>().back();
  CHECK(asked.prefix == "users/");
  CHECK(asked.after == "users/a");
  CHECK(asked.limit == 5u);
  CHECK(asked.ts == 12);
  REQUIRE_FALSE(run(program.io, program.client.get("any")));
  CHECK(program.last_asked_position() == 30);
}

TEST_CASE("library: a transaction's steps are told, and its keys are remembered") {
  Program program;
  program.server.on_request = [](const FakeServer::Peer& peer, const message::Request& asked) {
    if (!std::holds_alternative<message::Txn>(asked.body)) return peer.refuse(asked, message::Code::no_space);
    message::TxnOk ok;
    ok.ts = 62;
    ok.succeeded = true;
    ok.results.push_back({message::Operation::erase, "a", {}, 62, true});
    ok.results.push_back({message::Operation::get, "b", "2", 9, false});
    peer.answer(asked, ok);
  };
  kvd::Txn txn;
  txn.conditions.push_back({"a", 3});
  txn.then = {kvd::Operation::del("a"), kvd::Operation::get("b")};
  txn.otherwise = {kvd::Operation::put("a", "1")};
  const kvd::TxnDone done = run(program.io, program.client.txn(txn)).value();
  CHECK(done.succeeded);
  CHECK(done.ts == 62);
  REQUIRE(done.steps.size() == 2);
  CHECK(done.steps[0].kind == kvd::Operation::Kind::del);
  CHECK(done.steps[0].found);
  CHECK(done.steps[1].value == "2");
  const message::Txn asked = program.server.received<message::Txn>().back();
  CHECK(asked.conditions == std::vector<message::TxnCondition>{{"a", 3}});
  CHECK(asked.otherwise == std::vector<message::TxnOperation>{{message::Operation::put, "a", "1"}});
  REQUIRE(asked.session);
  REQUIRE_FALSE(run(program.io, program.client.get("b")));
  CHECK(program.last_asked_position() == 62);

  SECTION("one that does not fit into a frame is not sent") {
    kvd::Txn large;
    for (int i = 0; i < 5; ++i) {
      large.then.push_back(kvd::Operation::put("k" + std::to_string(i), std::string(1 << 20, 'v')));
    }
    const auto refused = run(program.io, program.client.txn(large));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == "TOO_LARGE");
    CHECK(program.server.received<message::Txn>().size() == 1);
  }
}

namespace {

// Tells two changes of one position, and then one more; what is asked later has to wait.
FakeServer::Handler two_positions() {
  return [](const FakeServer::Peer& peer, const message::Request& asked) {
    if (!std::holds_alternative<message::Watch>(asked.body)) return;
    message::WatchOk ok;
    ok.applied = 50;
    peer.answer(asked, ok);
    message::Event event;
    event.key = "a";
    event.value = "1";
    event.ts = 60;
    event.more = true;
    peer.answer(asked, event);
    event.key = "b";
    event.op = message::Operation::erase;
    event.value.reset();
    event.more = false;
    peer.answer(asked, event);
    event.ts = 61;
    peer.answer(asked, event);
  };
}

}  // namespace

TEST_CASE("library: a watch gives the changes of each position together") {
  Program program;
  program.server.on_request = two_positions();
  kvd::WatchOptions options;
  options.from = 40;
  kvd::AsyncWatch watch = program.client.watch_prefix("", options);
  const kvd::Changes first = run(program.io, watch.next()).value();
  REQUIRE(first.size() == 2);
  CHECK(first[0].key == "a");
  CHECK(first[0].value == "1");
  CHECK(first[0].ts == 60);
  CHECK(first[1].key == "b");
  CHECK(first[1].value == std::nullopt);
  CHECK(watch.position() == 60u);
  CHECK(run(program.io, watch.next()).value().size() == 1);
  CHECK(program.server.received<message::Watch>().back().from_ts == 40u);
  CHECK(program.server.received<message::Watch>().back().prefix == "");
  watch.cancel();
  CHECK(run(program.io, watch.next()).error().kind == kvd::Error::Kind::cancelled);

  SECTION("of a key that can be none there is nothing") {
    kvd::AsyncWatch none = program.client.watch("");
    CHECK(run(program.io, none.next()).error().code == "BAD_REQUEST");
  }
}

TEST_CASE("library: the client that blocks waits for changes only as long as it is told to") {
  // Its server runs on another thread, as it would in another program.
  asio::io_context io(1);
  FakeServer server(io, "n1");
  server.on_request = two_positions();
  std::thread thread([&io] { io.run(); });
  {
    kvd::Options options;
    options.endpoints = {server.address().text()};
    kvd::Client client(options);
    kvd::Watch watch = client.watch_prefix("");
    CHECK(watch.next().value().size() == 2);
    kvd::Watch moved = std::move(watch);
    CHECK(moved.next(5s).value().value().size() == 1);
    CHECK_FALSE(moved.next(10ms).has_value());
    CHECK_FALSE(moved.next(10ms).has_value());
    CHECK(moved.position() == 61u);
  }
  asio::post(io, [&io] { io.stop(); });
  thread.join();
}
