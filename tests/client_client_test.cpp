// The client library against servers that misbehave in every way that it has to cope with.
#include "client/client.hpp"

#include <algorithm>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <asio/post.hpp>
#include <asio/write.hpp>
#include <catch2/catch.hpp>
#include <chrono>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "client/run.hpp"
#include "tests/client_fake_server.hpp"
#include "tests/client_world.hpp"

using namespace kv;
using namespace kv::client;
using namespace kv::client::test;
using namespace std::chrono_literals;

TEST_CASE("client: a put is answered, and its connection is used again") {
  World world;
  FakeServer server(world.io, "n1");
  const auto client = world.client_of({server.address()});
  const Outcome first = request(world, *client, put_of("colour", "blue"));
  CHECK(answer_of<message::PutOk>(first).ts == 11);
  CHECK(std::get<Reply>(first).node == "n1");
  CHECK(std::get<Reply>(first).cluster == cluster_a);
  CHECK(answer_of<message::GetOk>(request(world, *client, get_of("colour"))).value == "blue");
  CHECK(server.received<message::Init>().size() == 1);
}

TEST_CASE("client: a server that refuses the connection is passed over at once") {
  World world;
  FakeServer server(world.io, "n1");
  const auto start = Clock::now();
  for (std::uint64_t seed = 0; seed < 8; ++seed) {
    const auto client =
        world.client_of({closed_address(world.io), server.address(), closed_address(world.io)}, seed);
    CHECK(std::holds_alternative<Reply>(request(world, *client, put_of("a", "1"))));
  }
  CHECK(Clock::now() - start < 1s);
}

TEST_CASE("client: a server that does not answer INIT is passed over after a moment") {
  World world;
  FakeServer mute(world.io, "n1");
  mute.answers_init = false;
  FakeServer server(world.io, "n2");
  const auto start = Clock::now();
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    const auto client = world.client_of({mute.address(), server.address()}, seed);
    CHECK(std::get<Reply>(request(world, *client, put_of("a", "1"))).node == "n2");
  }
  CHECK(Clock::now() - start < 2s);
}

TEST_CASE("client: with no server at all nothing is sent, and that is said at once") {
  World world;
  const Address nobody = closed_address(world.io);
  const auto client = world.client_of({nobody});
  const auto start = Clock::now();
  const Outcome outcome = request(world, *client, put_of("a", "1"));
  CHECK(Clock::now() - start < 1s);
  CHECK(failure_of(outcome).kind == Failure::Kind::no_server);
  CHECK(failure_of(outcome).attempts == std::vector<std::string>{nobody.text() + ": connection refused"});
  CHECK(exit_of(failure_of(outcome)) == Exit::no_server);
}

TEST_CASE("client: a write is not sent to a server that has not answered INIT") {
  World world;
  FakeServer mute(world.io, "n1");
  mute.answers_init = false;
  const auto client = world.client_of({mute.address()});
  const Outcome outcome = request(world, *client, put_of("a", "1"), 100ms);
  CHECK(failure_of(outcome).kind == Failure::Kind::no_server);
  CHECK(mute.received<message::Put>().empty());
}

TEST_CASE("client: members are learned from INIT_OK, and requests are spread over all of them") {
  World world;
  FakeServer first(world.io, "n1");
  FakeServer second(world.io, "n2");
  first.hello.members.push_back({"n2", second.address().text()});
  second.hello.members = first.hello.members;
  const auto client = world.client_of({first.address()});
  const auto connected = run(world.io, client->connect(client->new_call(plenty)));
  CHECK(std::holds_alternative<Reply>(connected));
  CHECK(client->server_count() == 2);
  CHECK(client->leader() == "n1");
  for (int i = 0; i < 32; ++i) request(world, *client, put_of("a", "1"));
  CHECK(first.received<message::Put>().size() + second.received<message::Put>().size() == 32);
  CHECK(first.received<message::Put>().size() > 4);
  CHECK(second.received<message::Put>().size() > 4);
}

TEST_CASE("client: a server known by two addresses is one member") {
  World world;
  FakeServer server(world.io, "n1");
  server.hello.members = {{"n1", "server-one.example:7401"}};
  const auto client = world.client_of({server.address()});
  run(world.io, client->connect(client->new_call(plenty)));
  CHECK(client->server_count() == 1);
}

TEST_CASE("client: each write carries the session, the next seq, and where the session began") {
  World world;
  FakeServer server(world.io, "n1");
  server.hello.applied = 57;
  const auto client = world.client_of({server.address()});
  request(world, *client, put_of("a", "1"));
  request(world, *client, put_of("b", "2"));
  const auto puts = server.received<message::Put>();
  REQUIRE(puts.size() == 2);
  CHECK(puts[0].session->seq == 1);
  CHECK(puts[1].session->seq == 2);
  CHECK(puts[0].session->session_from == 57);
  CHECK(puts[0].session->session == puts[1].session->session);
}

TEST_CASE("client: a write whose connection dies is sent again with the same session and seq") {
  World world;
  FakeServer server(world.io, "n1");
  server.on_request = [&](const FakeServer::Peer& peer, const message::Request& asked) {
    if (server.received<message::Put>().size() == 1) return peer.hang_up();
    peer.answer(asked, put_ok(asked, 58));
  };
  const auto client = world.client_of({server.address()});
  CHECK(answer_of<message::PutOk>(request(world, *client, put_of("a", "1"))).ts == 58);
  const auto puts = server.received<message::Put>();
  REQUIRE(puts.size() == 2);
  CHECK(puts[0].session == puts[1].session);
}

TEST_CASE("client: UNKNOWN_OUTCOME is tried again, too, and the first answer is what counts") {
  World world;
  FakeServer server(world.io, "n1");
  server.on_request = [&](const FakeServer::Peer& peer, const message::Request& asked) {
    if (server.received<message::Put>().size() <= 2) return peer.refuse(asked, message::Code::unknown_outcome);
    peer.answer(asked, put_ok(asked, 58));
  };
  const auto client = world.client_of({server.address()});
  CHECK(answer_of<message::PutOk>(request(world, *client, put_of("a", "1"))).ts == 58);
}

TEST_CASE("client: a write that is never answered has an unknown outcome at the deadline") {
  World world;
  FakeServer server(world.io, "n1");
  server.on_request = [](const FakeServer::Peer&, const message::Request&) {};
  const auto client = world.client_of({server.address()});
  const Outcome outcome = request(world, *client, put_of("a", "1"), 80ms);
  CHECK(failure_of(outcome).kind == Failure::Kind::unknown_outcome);
  CHECK(exit_of(failure_of(outcome)) == Exit::unknown_outcome);
}

TEST_CASE("client: a write whose server dies for good has an unknown outcome, not an unreached server") {
  World world;
  auto server = std::make_unique<FakeServer>(world.io, "n1");
  server->on_request = [&](const FakeServer::Peer&, const message::Request&) {
    asio::post(world.io, [&server] { server.reset(); });
  };
  const auto client = world.client_of({server->address()});
  const Outcome outcome = request(world, *client, put_of("a", "1"), 150ms);
  CHECK(failure_of(outcome).kind == Failure::Kind::unknown_outcome);
}

TEST_CASE("client: a refusal after a lost answer does not pretend that nothing was applied") {
  World world;
  FakeServer server(world.io, "n1");
  message::Code code = message::Code::no_space;
  server.on_request = [&](const FakeServer::Peer& peer, const message::Request& asked) {
    if (server.received<message::Put>().size() == 1) return peer.hang_up();
    peer.refuse(asked, code);
  };
  const auto client = world.client_of({server.address()});
  SECTION("NO_SPACE speaks of the second attempt alone") {
    const Outcome outcome = request(world, *client, put_of("a", "1"));
    CHECK(failure_of(outcome).kind == Failure::Kind::unknown_outcome);
  }
  SECTION("CONFLICT is the first answer, repeated") {
    code = message::Code::conflict;
    const Outcome outcome = request(world, *client, put_of("a", "1"));
    CHECK(failure_of(outcome).kind == Failure::Kind::refused);
    CHECK(exit_of(failure_of(outcome)) == Exit::negative);
  }
}

TEST_CASE("client: codes that say 'not applied, try another' are tried elsewhere") {
  const message::Code code =
      GENERATE(message::Code::no_leader, message::Code::shutting_down, message::Code::overloaded);
  World world;
  FakeServer unwilling(world.io, "n1");
  FakeServer willing(world.io, "n2");
  unwilling.on_request = [code](const FakeServer::Peer& peer, const message::Request& asked) {
    peer.refuse(asked, code);
  };
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    const auto client = world.client_of({unwilling.address(), willing.address()}, seed);
    CHECK(std::holds_alternative<Reply>(request(world, *client, put_of("a", "1"))));
    CHECK(std::holds_alternative<Reply>(request(world, *client, get_of("a"))));
  }
}

TEST_CASE("client: NO_LEADER until the deadline is a refusal") {
  World world;
  FakeServer server(world.io, "n1");
  server.on_request = [](const FakeServer::Peer& peer, const message::Request& asked) {
    peer.refuse(asked, message::Code::no_leader);
  };
  const auto client = world.client_of({server.address()});
  const Outcome outcome = request(world, *client, put_of("a", "1"), 120ms);
  CHECK(failure_of(outcome).kind == Failure::Kind::refused);
  CHECK(failure_of(outcome).error->code == message::Code::no_leader);
  CHECK(server.received<message::Put>().size() > 1);
}

TEST_CASE("client: final refusals are not tried again") {
  const message::Code code = GENERATE(message::Code::bad_request, message::Code::too_large, message::Code::conflict,
                                      message::Code::no_space, message::Code::cluster_mismatch);
  World world;
  FakeServer server(world.io, "n1");
  server.on_request = [code](const FakeServer::Peer& peer, const message::Request& asked) {
    peer.refuse(asked, code);
  };
  const auto client = world.client_of({server.address()});
  const Outcome outcome = request(world, *client, put_of("a", "1"));
  CHECK(failure_of(outcome).kind == Failure::Kind::refused);
  CHECK(server.received<message::Put>().size() == 1);
  CHECK(exit_of(failure_of(outcome)) == (code == message::Code::conflict ? Exit::negative : Exit::refused));
}

TEST_CASE("client: an expired session is begun anew, as long as nothing can have been applied") {
  World world;
  FakeServer server(world.io, "n1");
  server.on_request = [&](const FakeServer::Peer& peer, const message::Request& asked) {
    server.hello.applied = 99;
    if (server.received<message::Put>().size() == 1) return peer.refuse(asked, message::Code::session_expired);
    peer.answer(asked, put_ok(asked, 100));
  };
  const auto client = world.client_of({server.address()});
  CHECK(answer_of<message::PutOk>(request(world, *client, put_of("a", "1"))).ts == 100);
  const auto puts = server.received<message::Put>();
  REQUIRE(puts.size() == 2);
  CHECK(puts[0].session->session != puts[1].session->session);
  CHECK(puts[1].session->seq == 1);
  CHECK(puts[1].session->session_from == 99);
}

TEST_CASE("client: a session that expires after a lost answer leaves the outcome unknown") {
  World world;
  FakeServer server(world.io, "n1");
  server.on_request = [&](const FakeServer::Peer& peer, const message::Request& asked) {
    if (server.received<message::Put>().size() == 1) return peer.hang_up();
    peer.refuse(asked, message::Code::session_expired);
  };
  const auto client = world.client_of({server.address()});
  CHECK(failure_of(request(world, *client, put_of("a", "1"))).kind == Failure::Kind::unknown_outcome);
}

TEST_CASE("client: WAIT_FOR_RESPONSE is told, and then the value comes") {
  World world;
  FakeServer server(world.io, "n3");
  server.on_request = [&](const FakeServer::Peer& peer, const message::Request& asked) {
    message::WaitForResponse wait;
    wait.key = "colour";
    wait.ts = std::get<message::Get>(asked.body).ts;
    wait.applied = 41;
    wait.node = "n3";
    peer.answer(asked, wait);
    message::GetOk ok;
    ok.key = "colour";
    ok.value = "blue";
    ok.ts = 57;
    peer.answer(asked, ok);
  };
  const auto client = world.client_of({server.address()});
  std::vector<message::WaitForResponse> waits;
  const Outcome outcome = request(world, *client, get_of("colour", 57), plenty,
                                  [&](const message::WaitForResponse& wait) { waits.push_back(wait); });
  CHECK(answer_of<message::GetOk>(outcome).value == "blue");
  REQUIRE(waits.size() == 1);
  CHECK(waits[0].ts == 57);
  CHECK(waits[0].applied == 41);
}

TEST_CASE("client: WAIT_FOR_RESPONSE does not put off the deadline") {
  World world;
  FakeServer server(world.io, "n3");
  server.on_request = [&](const FakeServer::Peer& peer, const message::Request& asked) {
    message::WaitForResponse wait;
    wait.key = "colour";
    peer.answer(asked, wait);
  };
  const auto client = world.client_of({server.address()});
  const auto start = Clock::now();
  const Outcome outcome = request(world, *client, get_of("colour", 57), 80ms);
  CHECK(failure_of(outcome).kind == Failure::Kind::no_answer);
  CHECK(exit_of(failure_of(outcome)) == Exit::refused);
  CHECK(Clock::now() - start < 1s);
}

TEST_CASE("client: a request carries the time that is left") {
  World world;
  FakeServer server(world.io, "n1");
  const auto client = world.client_of({server.address()});
  request(world, *client, get_of("a"), 1234ms);
  REQUIRE(server.requests.size() == 2);
  for (const message::Request& asked : server.requests) {
    REQUIRE(asked.timeout_ms.has_value());
    CHECK(*asked.timeout_ms <= 1234);
    CHECK(*asked.timeout_ms > 500);
  }
}

TEST_CASE("client: the server's TIMEOUT says how far it is and who leads") {
  World world;
  FakeServer server(world.io, "n2");
  server.on_request = [&](const FakeServer::Peer& peer, const message::Request& asked) {
    message::Error error;
    error.code = message::Code::timeout;
    error.message = "too slow";
    error.applied = 41;
    error.ts = 57;
    error.leader = "n1";
    peer.answer(asked, error);
  };
  const auto client = world.client_of({server.address()});
  const Outcome outcome = request(world, *client, get_of("colour", 57), 100ms);
  const Failure& failure = failure_of(outcome);
  CHECK(exit_of(failure) == Exit::refused);
  const std::string text = describe("get \"colour\"", failure);
  CHECK_THAT(text, Catch::Contains("n2 has applied 41, you asked for 57; the leader is n1"));
  CHECK_THAT(text, Catch::Contains("n2"));
}

TEST_CASE("client: a read whose connection dies is asked of another server") {
  World world;
  FakeServer dying(world.io, "n1");
  dying.on_request = [](const FakeServer::Peer& peer, const message::Request&) { peer.hang_up(); };
  FakeServer healthy(world.io, "n2");
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    const auto client = world.client_of({dying.address(), healthy.address()}, seed);
    CHECK(std::holds_alternative<Reply>(request(world, *client, get_of("a"))));
  }
}

TEST_CASE("client: a remembered cluster is sent with INIT, and another cluster's servers are not used") {
  World world;
  FakeServer server(world.io, "n1");
  const auto client = world.client_of({server.address()}, 1, cluster_b);
  SECTION("the server says so") {
    server.on_init = [](const FakeServer::Peer& peer, const message::Request& asked) {
      peer.refuse(asked, asked.cluster == cluster_b ? message::Code::cluster_mismatch : message::Code::bad_request);
    };
  }
  SECTION("the server does not mind, the client does") {}
  const Outcome outcome = request(world, *client, put_of("a", "1"));
  CHECK(server.requests.front().cluster == cluster_b);
  CHECK(failure_of(outcome).kind == Failure::Kind::refused);
  CHECK(failure_of(outcome).error->code == message::Code::cluster_mismatch);
  CHECK(server.received<message::Put>().empty());
}

TEST_CASE("client: the cluster that answered first is the one of all later connections") {
  World world;
  FakeServer ours(world.io, "n1");
  FakeServer foreign(world.io, "x1");
  foreign.hello.cluster = cluster_b;
  ours.hello.members.push_back({"x1", foreign.address().text()});
  const auto client = world.client_of({ours.address()});
  for (int i = 0; i < 8; ++i)
    CHECK(std::get<Reply>(request(world, *client, put_of("a", "1"))).cluster == cluster_a);
  CHECK(foreign.received<message::Init>().size() > 0);
  CHECK(foreign.received<message::Put>().empty());
  // Until other servers are named.
  client->restart({foreign.address()});
  CHECK(std::get<Reply>(request(world, *client, put_of("a", "1"))).cluster == cluster_b);
}

TEST_CASE("client: INIT refused for now is tried until the deadline") {
  World world;
  FakeServer server(world.io, "n1");
  server.on_init = [&](const FakeServer::Peer& peer, const message::Request& asked) {
    if (server.requests.size() < 3) return peer.refuse(asked, message::Code::no_leader);
    peer.answer(asked, server.hello);
  };
  const auto client = world.client_of({server.address()});
  CHECK(std::holds_alternative<Reply>(request(world, *client, put_of("a", "1"))));
}

TEST_CASE("client: Ctrl-C ends a request, and says whether a write is under way") {
  World world;
  FakeServer server(world.io, "n1");
  const auto client = world.client_of({server.address()});
  server.on_request = [&](const FakeServer::Peer&, const message::Request&) { client->interrupt(); };
  const Outcome outcome = request(world, *client, put_of("a", "1"));
  CHECK(failure_of(outcome).kind == Failure::Kind::interrupted);
  CHECK(failure_of(outcome).maybe_applied);
  CHECK(exit_of(failure_of(outcome)) == Exit::interrupted);
  server.on_request = {};
  CHECK(std::holds_alternative<Reply>(request(world, *client, get_of("a"))));  // the client goes on
}

TEST_CASE("client: what answers but is no kvd is named") {
  World world;
  asio::ip::tcp::acceptor acceptor(world.io, {asio::ip::make_address("127.0.0.1"), 0});
  acceptor.async_accept([](std::error_code, asio::ip::tcp::socket socket) {
    asio::write(socket, asio::buffer(std::string("HTTP/1.1 400 Bad Request\r\n\r\n")));
  });
  const auto client = world.client_of({Address{"127.0.0.1", acceptor.local_endpoint().port()}});
  const Outcome outcome = request(world, *client, put_of("a", "1"));
  CHECK(failure_of(outcome).kind == Failure::Kind::no_server);
  CHECK_THAT(failure_of(outcome).attempts.at(0), Catch::Contains("not a kvd"));
}

TEST_CASE("client: status asks every member and shows those that are down") {
  World world;
  FakeServer first(world.io, "n1");
  FakeServer second(world.io, "n2");
  const Address down = closed_address(world.io);
  first.hello.members.push_back({"n2", second.address().text()});
  first.hello.members.push_back({"n3", down.text()});
  second.hello.members = first.hello.members;
  const auto client = world.client_of({first.address()});
  const std::vector<NodeStatus> rows = run(world.io, client->status(client->new_call(plenty)));
  REQUIRE(rows.size() == 3);
  CHECK(std::get<message::StatusOk>(rows[0].result).node == "n1");
  CHECK(std::get<message::StatusOk>(rows[1].result).node == "n2");
  CHECK(rows[2].node == "n3");
  CHECK(std::get<std::string>(rows[2].result) == "connection refused");
}

TEST_CASE("client: a write that a server sits on is taken to another one, in the same session and seq") {
  World world;
  FakeServer sitting(world.io, "n1");
  FakeServer working(world.io, "n2");
  sitting.on_request = [](const FakeServer::Peer&, const message::Request&) {};
  working.on_request = [](const FakeServer::Peer& peer, const message::Request& asked) {
    peer.answer(asked, put_ok(asked, 58));
  };
  bool was_first = false;
  for (std::uint64_t seed = 0; seed < 16 && !was_first; ++seed) {
    const auto client = world.client_of({sitting.address(), working.address()}, seed);
    CHECK(answer_of<message::PutOk>(request(world, *client, put_of("a", "1"), 1500ms)).ts == 58);
    was_first = !sitting.received<message::Put>().empty();
  }
  REQUIRE(was_first);
  CHECK(sitting.received<message::Put>().back() == working.received<message::Put>().back());
  const auto is_put = [](const message::Request& asked) {
    return std::holds_alternative<message::Put>(asked.body);
  };
  const auto put = std::find_if(sitting.requests.begin(), sitting.requests.end(), is_put);
  CHECK(put->timeout_ms <= 750u);  // it was not given all the time
}

TEST_CASE("client: many writes at the same time never leave one without its kept answer") {
  World world;
  FakeServer server(world.io, "n1");
  std::vector<std::pair<FakeServer::Peer, message::Request>> held;
  server.on_request = [&](const FakeServer::Peer& peer, const message::Request& asked) {
    held.emplace_back(peer, asked);
    if (held.size() < 600) return;
    std::uint64_t ts = 100;
    for (const auto& [whose, write] : held) whose.answer(write, put_ok(write, ++ts));
  };
  const auto client = world.client_of({server.address()});
  std::size_t done = 0;
  for (int i = 0; i < 600; ++i) {
    Client::Body body = put_of("k" + std::to_string(i), "1");
    asio::co_spawn(
        world.io, client->request(client->new_call(plenty), std::move(body)),
        [&](std::exception_ptr, const Outcome& outcome) { done += std::holds_alternative<Reply>(outcome); });
  }
  while (done < 600 && world.io.run_one() > 0) continue;
  REQUIRE(done == 600);
  std::map<std::string, std::uint64_t> highest;
  for (const auto& put : server.received<message::Put>()) {
    highest[put.session->session] = std::max(highest[put.session->session], put.session->seq);
  }
  CHECK(highest.size() == 3);
  for (const auto& [session, seq] : highest) CHECK(seq <= 256);
}
