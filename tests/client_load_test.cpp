// `load`: many writes at once, and each of them once, whatever servers and connections do; and what is no item.
#include <asio/steady_timer.hpp>
#include <catch2/catch.hpp>
#include <map>
#include <set>

#include "client/timestamps.hpp"
#include "tests/client_backups.hpp"
#include "tests/client_stage.hpp"

using namespace kv;
using namespace kv::client;
using namespace kv::client::test;
using Catch::Matchers::Contains;

namespace {

using Stamp = std::pair<std::string, std::uint64_t>;

Stamp stamp_of(const message::Put& put) {
  return {put.session->session, put.session->seq};
}

std::string lines_of(int count) {
  std::string lines;
  for (int i = 0; i < count; ++i) {
    lines += "{\"key\":\"k" + std::to_string(i) + "\",\"value\":\"v" + std::to_string(i) + "\"}\n";
  }
  return lines;
}

// Two servers of one cluster, which apply a write once, as real ones do.
struct LoadStage : Stage {
  FakeServer second{io, "n2"};
  TemporaryFolder folder;
  std::map<std::string, std::string> applied;
  std::map<Stamp, std::uint64_t> answers;
  std::uint64_t position = 100;
  int twice = 0;  // writes that came again after they had been applied

  LoadStage() {
    server.hello.members.push_back({"n2", second.address().text()});
    second.hello.members = server.hello.members;
    server.hello.applied = second.hello.applied = position;
  }

  void on_put(FakeServer::Handler handler) { server.on_request = second.on_request = std::move(handler); }
  void serve_puts() {
    on_put([this](const FakeServer::Peer& peer, const message::Request& asked) { answer(peer, asked); });
  }
  std::uint64_t apply(const message::Request& asked) {
    const auto& put = std::get<message::Put>(asked.body);
    const auto [place, is_new] = answers.emplace(stamp_of(put), position + 1);
    if (is_new) {
      ++position;
      applied[put.key] = put.value;
    } else {
      ++twice;
    }
    return place->second;
  }
  void answer(const FakeServer::Peer& peer, const message::Request& asked) {
    message::PutOk ok;
    ok.key = std::get<message::Put>(asked.body).key;
    ok.ts = apply(asked);
    peer.answer(asked, ok);
  }
  std::vector<message::Put> puts() const {
    auto all = server.received<message::Put>();
    for (const message::Put& one : second.received<message::Put>()) all.push_back(one);
    return all;
  }
  Exit load(const std::string& lines, std::vector<std::string> more = {}) {
    std::vector<std::string> words = {"load", folder.write("lines", lines), "--timeout", "900ms"};
    words.insert(words.end(), more.begin(), more.end());
    return one_shot(words);
  }
};

}  // namespace

TEST_CASE("load: every line is written, and how many is told") {
  LoadStage stage;
  stage.serve_puts();
  CHECK(stage.load("{\"key\":\"a\",\"value\":\"1\"}\n\n{\"key\":\"b\",\"value_base64\":\"/w==\",\"ts\":7}") ==
        Exit::done);
  CHECK(stage.applied == std::map<std::string, std::string>{{"a", "1"}, {"b", "\xff"}});
  CHECK(stage.out.str() == "loaded 2 items\n");
  CHECK(stage.err.str().empty());
  CHECK(stage.load("", {"-o", "json"}) == Exit::done);
  CHECK(stage.out.str() ==
        "{\"loaded\":0,\"filtered\":0,\"bad\":0,\"refused\":0,\"unknown\":0,\"not_sent\":0,\"whole\":true}\n");
}

TEST_CASE("load: --prefix leaves out the others") {
  LoadStage stage;
  stage.serve_puts();
  CHECK(stage.load(lines_of(20), {"--prefix", "k1"}) == Exit::done);
  CHECK(stage.applied.size() == 11);
  CHECK(stage.out.str() == "loaded 11 items, 9 with another prefix\n");
}

TEST_CASE("load: later reads see what was loaded") {
  LoadStage stage;
  stage.serve_puts();
  stage.load(lines_of(5));
  CHECK(stage.session.position_of("k0") == 105);
  CHECK(stage.session.highest_position() == 105);
}

TEST_CASE("load: many are under way at once, and of no session more than the servers remember") {
  LoadStage stage;
  std::vector<std::pair<FakeServer::Peer, message::Request>> held;
  std::map<std::string, std::set<std::uint64_t>> open;
  std::size_t most = 0;
  asio::steady_timer timer(stage.io);
  stage.on_put([&](const FakeServer::Peer& peer, const message::Request& asked) {
    held.emplace_back(peer, asked);
    const Stamp stamp = stamp_of(std::get<message::Put>(asked.body));
    std::set<std::uint64_t>& seqs = open[stamp.first];
    seqs.insert(stamp.second);
    CHECK(*seqs.rbegin() - *seqs.begin() < 256);
    most = std::max(most, held.size());
    timer.expires_after(std::chrono::milliseconds(20));  // when no more come
    timer.async_wait([&](std::error_code error) {
      if (error) return;
      for (std::size_t i = 0; i < held.size(); i += 2) {
        stage.answer(held[i].first, held[i].second);
        const Stamp done = stamp_of(std::get<message::Put>(held[i].second.body));
        open[done.first].erase(done.second);
      }
      std::vector<std::pair<FakeServer::Peer, message::Request>> rest;
      for (std::size_t i = 1; i < held.size(); i += 2) rest.push_back(std::move(held[i]));
      held = std::move(rest);
      for (auto& [other, request] : held) stage.answer(other, request);
      for (auto& [other, request] : held) {
        const Stamp done = stamp_of(std::get<message::Put>(request.body));
        open[done.first].erase(done.second);
      }
      held.clear();
    });
  });
  CHECK(stage.load(lines_of(5000)) == Exit::done);
  CHECK(stage.applied.size() == 5000);
  CHECK(most >= 1000);
  CHECK(stage.twice == 0);
}

TEST_CASE("load: connections that break lose nothing and write nothing twice") {
  LoadStage stage;
  int count = 0;
  const bool applied_first = GENERATE(true, false);
  stage.on_put([&](const FakeServer::Peer& peer, const message::Request& asked) {
    if (++count % 700 != 0) return stage.answer(peer, asked);
    if (applied_first) stage.apply(asked);
    peer.hang_up();
  });
  CHECK(stage.load(lines_of(3000), {"--timeout", "5s"}) == Exit::done);
  CHECK(stage.applied.size() == 3000);
  CHECK(stage.position == 3100);
  std::map<Stamp, std::string> keys;
  for (const message::Put& put : stage.puts()) {
    CHECK(keys.emplace(stamp_of(put), put.key).first->second == put.key);
  }
  CHECK(keys.size() == 3000);
  if (applied_first) CHECK(stage.twice > 0);
}

TEST_CASE("load: a server that hangs is left for another") {
  LoadStage stage;
  std::string hanging;
  stage.on_put([&](const FakeServer::Peer& peer, const message::Request& asked) {
    const std::string& node = stage.server.owns(peer) ? stage.server.hello.node : stage.second.hello.node;
    if (hanging.empty()) hanging = node;
    if (node != hanging) stage.answer(peer, asked);
  });
  CHECK(stage.load(lines_of(50), {"--timeout", "3s"}) == Exit::done);
  CHECK(stage.applied.size() == 50);
}

TEST_CASE("load: what a server refuses for now is written by another") {
  LoadStage stage;
  const auto code = GENERATE(message::Code::no_leader, message::Code::overloaded, message::Code::shutting_down);
  stage.on_put([&](const FakeServer::Peer& peer, const message::Request& asked) {
    if (stage.server.owns(peer)) return peer.refuse(asked, code);
    stage.answer(peer, asked);
  });
  CHECK(stage.load(lines_of(600), {"--timeout", "5s"}) == Exit::done);
  CHECK(stage.applied.size() == 600);
}

TEST_CASE("load: two lines of one key are never under way together, and the later one stays") {
  LoadStage stage;
  std::multiset<std::string> under_way;
  int count = 0;
  stage.on_put([&](const FakeServer::Peer& peer, const message::Request& asked) {
    const std::string key = std::get<message::Put>(asked.body).key;
    CHECK(under_way.count(key) == 0);
    if (++count % 7 == 0) return peer.refuse(asked, message::Code::unknown_outcome);
    under_way.insert(key);
    auto timer = std::make_shared<asio::steady_timer>(stage.io, std::chrono::milliseconds(1));
    timer->async_wait([&, timer, peer, asked, key](std::error_code) {
      under_way.erase(key);
      stage.answer(peer, asked);
    });
  });
  std::string lines;
  for (int i = 0; i < 30; ++i) {
    lines += "{\"key\":\"k" + std::to_string(i % 3) + "\",\"value\":\"" + std::to_string(i) + "\"}\n";
  }
  CHECK(stage.load(lines, {"--timeout", "5s"}) == Exit::done);
  CHECK(stage.applied == std::map<std::string, std::string>{{"k0", "27"}, {"k1", "28"}, {"k2", "29"}});
}

TEST_CASE("load: it stops at the first line that is none, and says which") {
  LoadStage stage;
  stage.serve_puts();
  const std::string lines = lines_of(3) + "{\"key\":7}\n" + "{\"key\":\"later\",\"value\":\"\"}\nnonsense\n";
  CHECK(stage.load(lines) == Exit::usage);
  CHECK(stage.applied.size() == 3);
  CHECK(stage.out.str() == "loaded 3 items, 1 bad\n");
  CHECK_THAT(stage.err.str(), Contains(", line 4: \"key\" must be a string") && Contains("--keep-going"));
  CHECK(stage.load(lines, {"--keep-going"}) == Exit::usage);
  CHECK(stage.applied.size() == 4);
  CHECK(stage.out.str() == "loaded 4 items, 2 bad\n");
  CHECK_THAT(stage.err.str(), Contains(", line 6: it is not JSON"));
}

TEST_CASE("load: of many bad lines some are told") {
  LoadStage stage;
  std::string lines;
  for (int i = 0; i < 50; ++i) lines += "x\n";
  CHECK(stage.load(lines, {"--keep-going"}) == Exit::usage);
  CHECK(stage.out.str() == "loaded 0 items, 50 bad\n");
  CHECK_THAT(stage.err.str(), Contains("line 20: ") && Contains("only counted") && !Contains("line 21: "));
}

TEST_CASE("load: a line that a server refuses") {
  LoadStage stage;
  stage.on_put([&](const FakeServer::Peer& peer, const message::Request& asked) {
    if (std::get<message::Put>(asked.body).key == "k1") return peer.refuse(asked, message::Code::too_large);
    stage.answer(peer, asked);
  });
  CHECK(stage.load(lines_of(3)) == Exit::refused);
  CHECK_THAT(stage.err.str(), Contains(", line 2: put \"k1\": n") && Contains("TOO_LARGE"));
  CHECK(stage.load(lines_of(3), {"--keep-going"}) == Exit::refused);
  CHECK(stage.applied.size() == 2);
  CHECK(stage.out.str() == "loaded 2 items, 1 refused\n");
}

TEST_CASE("load: writes that are never answered are of unknown outcome, exit 5") {
  LoadStage stage;
  stage.on_put([&](const FakeServer::Peer& peer, const message::Request& asked) {
    if (std::get<message::Put>(asked.body).key == "k0") stage.answer(peer, asked);
  });
  CHECK(stage.load(lines_of(3), {"--timeout", "300ms"}) == Exit::unknown_outcome);
  CHECK(stage.out.str() == "loaded 1 item, 2 not known\n");
  CHECK_THAT(stage.err.str(), Contains("line 2: put \"k1\": the outcome is not known") && Contains("given up"));
}

TEST_CASE("load: a session that has expired is followed by another, unless the write may have been applied") {
  LoadStage stage;
  SECTION("it was not sent before") {
    std::set<std::string> expired;
    stage.on_put([&](const FakeServer::Peer& peer, const message::Request& asked) {
      const std::string session = std::get<message::Put>(asked.body).session->session;
      if (expired.size() < 3) expired.insert(session);
      if (expired.contains(session)) return peer.refuse(asked, message::Code::session_expired);
      stage.answer(peer, asked);
    });
    CHECK(stage.load(lines_of(20), {"--timeout", "5s"}) == Exit::done);
    CHECK(stage.applied.size() == 20);
  }
  SECTION("it was") {
    bool first = true;
    stage.on_put([&](const FakeServer::Peer& peer, const message::Request& asked) {
      if (std::exchange(first, false)) return peer.hang_up();
      peer.refuse(asked, message::Code::session_expired);
    });
    CHECK(stage.load(lines_of(1), {"--timeout", "5s"}) == Exit::unknown_outcome);
    CHECK(stage.out.str() == "loaded 0 items, 1 not known\n");
  }
}

TEST_CASE("load: no server, no file, and in the shell no standard input") {
  LoadStage stage;
  CHECK(stage.one_shot({"load", stage.folder.file("nothing")}) == Exit::usage);
  CHECK_THAT(stage.err.str(), Contains("No such file"));
  CHECK(stage.one_shot({"load", stage.folder.file("")}) == Exit::usage);
  stage.connect_to({closed_address(stage.io)});
  CHECK(stage.load(lines_of(1)) == Exit::no_server);
  CHECK(stage.script("load\n") == Exit::usage);
  CHECK_THAT(stage.err.str(), Contains("FILE is missing"));
}

TEST_CASE("timestamps: a position for all keys") {
  Timestamps timestamps;
  timestamps.learn("a", 7);
  timestamps.learn("b", 12);
  CHECK(timestamps.highest() == 12);
  CHECK(timestamps.learn_for_all(9));
  CHECK_FALSE(timestamps.learn_for_all(9));
  CHECK(timestamps.position_of("a") == 9);
  CHECK(timestamps.position_of("b") == 12);
  CHECK(timestamps.position_of("c") == 9);
  CHECK(timestamps.size() == 1);
}
