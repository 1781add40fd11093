// Which servers a client knows, and which of them it asks: addresses and leaders change while it runs.
#include <asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <chrono>
#include <functional>
#include <memory>
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

// Until it holds; the bound is for the case that it never will.
bool ask_until(World& world, Client& client, const std::function<bool()>& holds) {
  const auto give_up_at = Clock::now() + 20s;
  while (!holds() && Clock::now() < give_up_at) request(world, client, get_of("a"));
  return holds();
}

std::size_t gets(const FakeServer& server) {
  return server.received<message::Get>().size();
}

}  // namespace

TEST_CASE("servers: a new leader is noticed after a server has said NO_LEADER") {
  World world;
  FakeServer first(world.io, "n1");
  FakeServer second(world.io, "n2");
  first.hello.members.push_back({"n2", second.address().text()});
  second.hello = first.hello;
  second.hello.node = "n2";
  const auto client = world.client_of({first.address()});
  REQUIRE(ask_until(world, *client, [&] { return gets(first) > 0 && gets(second) > 0; }));
  CHECK(client->leader() == "n1");

  first.hello.leader = second.hello.leader = "n2";
  first.on_request = [](const FakeServer::Peer& peer, const message::Request& asked) {
    peer.refuse(asked, message::Code::no_leader);
  };
  CHECK(ask_until(world, *client, [&] { return client->leader() == "n2"; }));
}

TEST_CASE("servers: a member that comes back at another address is found there") {
  World world;
  FakeServer first(world.io, "n1");
  auto second = std::make_unique<FakeServer>(world.io, "n2");
  first.hello.members.push_back({"n2", second->address().text()});
  second->hello.members = first.hello.members;
  const auto client = world.client_of({first.address()});
  REQUIRE(ask_until(world, *client, [&] { return gets(*second) > 0; }));

  second.reset();
  FakeServer moved(world.io, "n2");
  first.hello.applied = 11;
  first.hello.members[1].address = moved.address().text();
  moved.hello.applied = 11;
  moved.hello.members = first.hello.members;
  CHECK(ask_until(world, *client, [&] { return gets(moved) > 0; }));
  CHECK(client->server_count() == 2);
  CHECK(client->servers().servers().size() == 2);
}

TEST_CASE("servers: one that was given and has moved is found, too") {
  World world;
  auto first = std::make_unique<FakeServer>(world.io, "n1");
  FakeServer second(world.io, "n2");
  first->hello.members.push_back({"n2", second.address().text()});
  second.hello.members = first->hello.members;
  const auto client = world.client_of({first->address(), second.address()});
  REQUIRE(ask_until(world, *client, [&] { return gets(*first) > 0 && gets(second) > 0; }));

  first.reset();
  FakeServer moved(world.io, "n1");
  second.hello.applied = moved.hello.applied = 11;
  second.hello.members[0].address = moved.address().text();
  moved.hello.members = second.hello.members;
  CHECK(ask_until(world, *client, [&] { return gets(moved) > 0; }));
}

TEST_CASE("servers: what a server that is behind says of the members does not undo what is known") {
  World world;
  FakeServer first(world.io, "n1");
  FakeServer second(world.io, "n2");
  const Address old = closed_address(world.io);
  first.hello.applied = 20;
  first.hello.members.push_back({"n2", second.address().text()});
  first.hello.members.push_back({"n3", "127.0.0.1:7"});
  second.hello.applied = 12;
  second.hello.members = first.hello.members;
  second.hello.members[2].address = old.text();
  const auto client = world.client_of({first.address()});
  REQUIRE(ask_until(world, *client, [&] { return gets(first) > 0 && gets(second) > 0; }));
  for (const ServerPool::ServerPtr& server : client->servers().servers()) {
    if (server->node == "n3") CHECK(server->address.text() == "127.0.0.1:7");
  }
}

TEST_CASE("servers: a member that is none any more is forgotten") {
  World world;
  FakeServer first(world.io, "n1");
  first.hello.members.push_back({"n2", closed_address(world.io).text()});
  const auto client = world.client_of({first.address()});
  REQUIRE(ask_until(world, *client, [&] { return client->servers().servers().size() == 2; }));
  first.hello.members.pop_back();
  // The connection to the one that is down fails, and so the members are asked for again.
  CHECK(ask_until(world, *client, [&] { return client->servers().servers().size() == 1; }));
  CHECK(client->server_count() == 1);
}

TEST_CASE("servers: without trouble INIT is said once on a connection") {
  World world;
  FakeServer server(world.io, "n1");
  const auto client = world.client_of({server.address()});
  for (int i = 0; i < 32; ++i) request(world, *client, get_of("a"));
  CHECK(server.received<message::Init>().size() == 1);
}

TEST_CASE("servers: a read that must see a position goes rather to those that have it, and not to one alone") {
  World world;
  FakeServer fresh(world.io, "n1");
  FakeServer other(world.io, "n2");
  FakeServer late(world.io, "n3");
  fresh.hello.applied = 60;
  late.hello.applied = 41;
  for (FakeServer* server : {&other, &late}) {
    fresh.hello.members.push_back({server->hello.node, server->address().text()});
  }
  other.hello.members = late.hello.members = fresh.hello.members;
  // As far as INIT_OK says it is behind, but no longer so.
  other.hello.applied = 50;
  other.on_request = [](const FakeServer::Peer& peer, const message::Request& asked) {
    message::GetOk ok;
    ok.key = std::get<message::Get>(asked.body).key;
    ok.applied = 60;
    peer.answer(asked, ok);
  };
  late.on_request = [](const FakeServer::Peer& peer, const message::Request& asked) {
    message::WaitForResponse wait;
    wait.ts = 57;
    wait.applied = 41;
    peer.answer(asked, wait);
  };
  ClientOptions options;
  options.endpoints = {fresh.address(), other.address(), late.address()};
  options.seed = 7;
  options.server_times.behind = 1h;
  options.hedge_times = {0ms, 1h};
  Client client(world.io, std::move(options));
  constexpr int reads = 200;
  for (int i = 0; i < reads; ++i) request(world, client, get_of("a", 57));
  CHECK(gets(late) <= 1);  // once it has said that it is behind, it is the last to be asked
  CHECK(gets(fresh) > reads / 4);
  CHECK(gets(other) > reads / 4);
}

TEST_CASE("servers: reads of what was just written are not all sent to the leader") {
  World world;
  FakeServer leader(world.io, "n1");
  FakeServer other(world.io, "n2");
  leader.hello.members.push_back({"n2", other.address().text()});
  other.hello.members = leader.hello.members;
  other.hello.leader = "n1";
  std::uint64_t ts = 100;
  const auto serve = [&](const FakeServer::Peer& peer, const message::Request& asked) {
    if (std::holds_alternative<message::Put>(asked.body)) return peer.answer(asked, put_ok(asked, ++ts));
    message::GetOk ok;
    ok.key = "a";
    ok.value = "1";
    ok.ts = ok.applied = ts;
    peer.answer(asked, ok);
  };
  leader.on_request = other.on_request = serve;
  const auto client = world.client_of({leader.address(), other.address()});
  for (int i = 0; i < 100; ++i) {
    request(world, *client, put_of("a", "1"));
    request(world, *client, get_of("a", ts));
  }
  CHECK(gets(leader) > 50);
  CHECK(gets(other) > 10);
}
