// Who is told of which change, in which order, and what becomes of those that cannot take more.
#include "server/watches.hpp"

#include <catch2/catch.hpp>
#include <map>
#include <string>

using namespace kv;

namespace {

constexpr ClientId alice = 1;
constexpr ClientId bob = 2;

message::Watch of_key(std::string key, std::optional<std::uint64_t> from = {}) {
  return {std::move(key), {}, from};
}
message::Watch of_prefix(std::string prefix, std::optional<std::uint64_t> from = {}) {
  return {{}, std::move(prefix), from};
}

std::string describe(const message::Answer& answer) {
  if (const auto* shared = std::get_if<message::SharedEvent>(&answer.body)) {
    const message::Event& event = shared->once->event;
    return event.key + (event.value ? "=" + *event.value : " gone") + "@" + std::to_string(event.ts) +
           (shared->more ? "+" : "");
  }
  if (const auto* error = std::get_if<message::Error>(&answer.body)) {
    return std::string(name_of(error->code)) + (error->oldest ? " oldest " + std::to_string(*error->oldest) : "");
  }
  if (const auto* ok = std::get_if<message::WatchOk>(&answer.body)) return "OK " + std::to_string(ok->applied);
  return "something else";
}

// The watches of a server, and what has been said for each of them.
class Stage {
 public:
  explicit Stage(WatchLimits limits = {}) : watches("n1", limits) {}

  void put(std::uint64_t ts, std::string_view key, std::string_view value = "v") {
    watches.record(ts, {{Item::make(key, value, ts)}}, out_);
    applied_ = ts;
  }
  void erase(std::uint64_t ts, std::string_view key) {
    watches.record(ts, {{Item::make(key, "v", ts - 1), true}}, out_);
    applied_ = ts;
  }
  // Of keys and what they are now; without a value they are deleted.
  void record(std::uint64_t ts, const std::vector<std::pair<std::string, std::optional<std::string>>>& changes) {
    WatchedChanges changed;
    for (const auto& [key, value] : changes) changed.push_back({Item::make(key, value.value_or(""), ts), !value});
    watches.record(ts, std::move(changed), out_);
    applied_ = ts;
  }
  void reset(std::uint64_t position) {
    watches.reset(position, out_);
    applied_ = position;
  }
  void watch(ClientId client, std::uint64_t id, const message::Watch& asked) {
    watches.watch(client, id, asked, applied_, out_);
  }
  void stop() { watches.stop(out_); }
  // What a turn brings; returns how many answers there were.
  std::size_t turn() {
    watches.turn(out_);
    for (const ClientAnswer& answer : out_) {
      std::string& said = said_[{answer.client, answer.answer.id.value()}];
      said += (said.empty() ? "" : ", ") + describe(answer.answer);
    }
    return std::exchange(out_, {}).size();
  }
  void all_turns() {
    turn();
    for (int turns = 0; watches.has_more(); ++turns) {
      REQUIRE(turns < 1000);
      turn();
    }
  }
  // Since it was asked last.
  std::string said(ClientId client, std::uint64_t id) {
    all_turns();
    return std::exchange(said_[{client, id}], {});
  }

  Watches watches;

 private:
  std::uint64_t applied_ = 0;
  std::vector<ClientAnswer> out_;
  std::map<std::pair<ClientId, std::uint64_t>, std::string> said_;
};

// "k1@1, k2@2, …" of puts to one key.
std::string puts(const std::string& key, std::uint64_t from, std::uint64_t to) {
  std::string text;
  for (std::uint64_t ts = from; ts <= to; ++ts)
    text += (text.empty() ? "" : ", ") + key + "=v@" + std::to_string(ts);
  return text;
}

}  // namespace

TEST_CASE("watches: a key's changes, and no other's, after now") {
  Stage stage;
  stage.put(1, "k", "before");
  stage.watch(alice, 7, of_key("k"));
  stage.put(2, "k", "a");
  stage.put(3, "kk");
  stage.erase(4, "k");
  CHECK(stage.said(alice, 7) == "OK 1, k=a@2, k gone@4");
}

TEST_CASE("watches: of a prefix; the empty one is of every key") {
  Stage stage;
  stage.watch(alice, 1, of_prefix("users/"));
  stage.watch(alice, 2, of_prefix(""));
  stage.watch(bob, 1, of_prefix("users/an"));
  stage.put(1, "users/ann");
  stage.put(2, "users/bob");
  stage.put(3, "use");
  CHECK(stage.said(alice, 1) == "OK 0, users/ann=v@1, users/bob=v@2");
  CHECK(stage.said(alice, 2) == "OK 0, users/ann=v@1, users/bob=v@2, use=v@3");
  CHECK(stage.said(bob, 1) == "OK 0, users/ann=v@1");
}

TEST_CASE("watches: from a position on, what is known comes first, and what follows behind it") {
  Stage stage;
  for (std::uint64_t ts = 1; ts <= 5; ++ts) stage.put(ts, "k");
  stage.watch(alice, 1, of_key("k", 2));
  stage.put(6, "k");
  CHECK(stage.said(alice, 1) == "OK 5, " + puts("k", 3, 6));
}

TEST_CASE("watches: from a position that is still to come, only what is after it") {
  Stage stage;
  stage.put(1, "k");
  stage.watch(alice, 1, of_key("k", 3));
  for (std::uint64_t ts = 2; ts <= 5; ++ts) stage.put(ts, "k");
  CHECK(stage.said(alice, 1) == "OK 1, " + puts("k", 4, 5));
}

TEST_CASE("watches: the changes of one command say of all but the last that another follows") {
  Stage stage;
  stage.watch(alice, 1, of_prefix(""));
  stage.watch(bob, 1, of_prefix("a"));
  stage.record(9, {{"a1", "x"}, {"b", {}}, {"a2", "y"}, {"c", "z"}});
  CHECK(stage.said(alice, 1) == "OK 0, a1=x@9+, b gone@9+, a2=y@9+, c=z@9");
  CHECK(stage.said(bob, 1) == "OK 0, a1=x@9+, a2=y@9");
  stage.watch(alice, 2, of_prefix("a", 0));
  CHECK(stage.said(alice, 2) == "OK 9, a1=x@9+, a2=y@9");
}

TEST_CASE("watches: what the ring no longer holds is COMPACTED, with the oldest position that it has") {
  Stage stage({.changes = 3});
  for (std::uint64_t ts = 1; ts <= 5; ++ts) stage.put(ts * 10, "k");
  stage.watch(alice, 1, of_key("k", 19));
  stage.watch(alice, 2, of_key("k", 20));
  CHECK(stage.said(alice, 1) == "COMPACTED oldest 21");
  CHECK(stage.said(alice, 2) == "OK 50, k=v@30, k=v@40, k=v@50");
  CHECK(stage.watches.size() == 1);
}

TEST_CASE("watches: big values bound the ring by their bytes, and one command's changes stay together") {
  Stage stage({.change_bytes = 1000});
  stage.put(1, "k", std::string(600, 'x'));
  stage.put(2, "k", std::string(600, 'x'));
  stage.watch(alice, 1, of_key("k", 0));
  CHECK(stage.said(alice, 1) == "COMPACTED oldest 2");
  stage.record(3, {{"a", std::string(600, 'x')}, {"b", std::string(600, 'x')}});
  stage.watch(alice, 2, of_prefix("", 2));
  const std::string both = stage.said(alice, 2);
  CHECK(both.starts_with("OK 3, a="));
  CHECK(both.find("b=") != std::string::npos);
}

TEST_CASE("watches: a client without room gets the rest when it has room again, in order and once each") {
  Stage stage;
  stage.watch(alice, 1, of_prefix("k"));
  stage.watch(bob, 1, of_prefix("k"));
  stage.put(1, "k");
  stage.all_turns();
  stage.watches.client_has_room(alice, false);
  for (std::uint64_t ts = 2; ts <= 50; ++ts) stage.put(ts, "k");
  CHECK(stage.said(alice, 1) == "OK 0, k=v@1");
  CHECK(stage.said(bob, 1) == "OK 0, " + puts("k", 1, 50));
  stage.watches.client_has_room(alice, true);
  stage.put(51, "k");
  CHECK(stage.said(alice, 1) == puts("k", 2, 51));
}

TEST_CASE("watches: one that reads too slowly ends with OVERLOADED, and says where it could go on") {
  Stage stage({.changes = 10});
  stage.watch(alice, 1, of_key("k"));
  stage.watch(bob, 1, of_key("k"));
  stage.watches.client_has_room(alice, false);
  for (std::uint64_t ts = 1; ts <= 30; ++ts) stage.put(ts, "k");
  CHECK(stage.said(alice, 1) == "OK 0");
  stage.watches.client_has_room(alice, true);
  CHECK(stage.said(alice, 1) == "OVERLOADED oldest 21");
  CHECK(stage.said(bob, 1) == "OK 0, " + puts("k", 1, 30));
  CHECK(stage.watches.size() == 1);
}

TEST_CASE("watches: a turn gives a client no more than its share, and the next ones the rest") {
  Stage stage({.client_bytes_a_turn = 1000});
  for (std::uint64_t ts = 1; ts <= 100; ++ts) stage.put(ts, "k");
  stage.watch(alice, 1, of_key("k", 0));
  CHECK(stage.turn() < 20);
  CHECK(stage.watches.has_more());
  CHECK(stage.said(alice, 1) == "OK 100, " + puts("k", 1, 100));
}

TEST_CASE("watches: all clients together get no more than a turn's share, and each has its own") {
  Stage stage({.bytes_a_turn = 2000});
  for (std::uint64_t ts = 1; ts <= 20; ++ts) stage.put(ts, "k");
  for (std::uint64_t client = 1; client <= 50; ++client) stage.watch(client, 1, of_key("k", 0));
  CHECK(stage.turn() < 100);
  stage.put(21, "k");
  for (std::uint64_t client = 1; client <= 50; ++client) {
    INFO(client);
    CHECK(stage.said(client, 1) == "OK 20, " + puts("k", 1, 21));
  }
}

TEST_CASE("watches: a share that ends within a command's changes goes on within them") {
  Stage stage({.client_bytes_a_turn = 150, .looked_at_a_turn = 2});
  stage.watch(alice, 1, of_prefix(""));
  stage.record(1, {{"a", "1"}, {"b", "2"}, {"c", "3"}, {"d", "4"}, {"e", "5"}});
  stage.put(2, "f");
  CHECK(stage.said(alice, 1) == "OK 0, a=1@1+, b=2@1+, c=3@1+, d=4@1+, e=5@1, f=v@2");
}

TEST_CASE("watches: a state that was taken over ends those that have not seen what led there") {
  Stage stage;
  stage.put(1, "k");
  stage.watch(alice, 1, of_key("k"));
  stage.watch(alice, 2, of_key("k", 100));
  stage.reset(100);
  CHECK(stage.said(alice, 1) == "OK 1, COMPACTED oldest 101");
  stage.put(101, "k");
  CHECK(stage.said(alice, 2) == "OK 1, k=v@101");
}

TEST_CASE("watches: cancelled, gone and stopped ones get nothing more") {
  Stage stage;
  stage.watch(alice, 1, of_key("k"));
  stage.watch(alice, 2, of_key("k"));
  stage.watch(bob, 1, of_key("k"));
  stage.watch(bob, 2, of_prefix("k"));
  stage.all_turns();
  CHECK(stage.watches.cancel(alice, 1));
  CHECK_FALSE(stage.watches.cancel(alice, 1));
  CHECK_FALSE(stage.watches.cancel(alice, 3));
  stage.watches.client_gone(bob);
  stage.watches.client_gone(bob);
  stage.put(1, "k");
  CHECK(stage.said(alice, 1) == "OK 0");
  CHECK(stage.said(alice, 2) == "OK 0, k=v@1");
  CHECK(stage.said(bob, 1) == "OK 0");
  stage.stop();
  CHECK(stage.said(alice, 2) == "SHUTTING_DOWN");
  CHECK(stage.watches.size() == 0);
}

TEST_CASE("watches: one that waits for room, or reads, can be cancelled or lose its client") {
  Stage stage({.client_bytes_a_turn = 100});
  for (std::uint64_t ts = 1; ts <= 10; ++ts) stage.put(ts, "k");
  stage.watch(alice, 1, of_key("k", 0));
  stage.watch(alice, 2, of_key("k", 0));
  stage.watch(bob, 1, of_key("k", 0));
  stage.turn();
  CHECK(stage.watches.cancel(alice, 1));
  stage.watches.client_has_room(alice, false);
  stage.turn();
  CHECK(stage.watches.cancel(alice, 2));
  stage.watches.client_has_room(alice, true);
  stage.watches.client_gone(bob);
  stage.all_turns();
  CHECK_FALSE(stage.watches.has_more());
  CHECK(stage.watches.size() == 0);
}

TEST_CASE("watches: a client without room has none for its next watch either") {
  Stage stage;
  for (std::uint64_t ts = 1; ts <= 5; ++ts) stage.put(ts, "k");
  SECTION("when it has cancelled the one before") {
    stage.watch(alice, 1, of_key("k"));
    stage.watches.client_has_room(alice, false);
    stage.watches.cancel(alice, 1);
  }
  SECTION("when the one before has ended by itself") {
    stage.watches.client_has_room(alice, false);
  }
  stage.watch(alice, 2, of_key("k", 0));
  CHECK(stage.said(alice, 2) == "OK 5");
  stage.watches.client_has_room(alice, true);
  CHECK(stage.said(alice, 2) == puts("k", 1, 5));
}

TEST_CASE("watches: an id that the connection uses already is refused, and so are too many") {
  Stage stage({.watches = 2});
  stage.watch(alice, 1, of_key("a"));
  stage.watch(alice, 1, of_key("b"));
  stage.watch(bob, 1, of_key("a"));
  stage.watch(bob, 2, of_key("a"));
  CHECK(stage.said(alice, 1) == "OK 0, BAD_REQUEST");
  CHECK(stage.said(bob, 2) == "OVERLOADED");
  stage.put(1, "a");
  CHECK(stage.said(alice, 1) == "a=v@1");
}
