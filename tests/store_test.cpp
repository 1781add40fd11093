#include "server/store.hpp"

#include <catch2/catch.hpp>
#include <limits>

using namespace kv;
using command::Command;
using command::Delete;
using command::Put;
using command::Session;

namespace {

Command put(std::string_view key, std::string_view value, std::optional<std::uint64_t> if_ts = {}) {
  return Put{key, value, if_ts, std::nullopt};
}
Command del(std::string_view key, std::optional<std::uint64_t> if_ts = {}) {
  return Delete{key, if_ts, std::nullopt};
}
// The seq-th write of a session that began at position `from`.
Command put_in(std::string_view session, std::uint64_t seq, std::string_view value = "v", std::uint64_t from = 0) {
  return Put{"k", value, std::nullopt, Session{session, seq, from}};
}

Outcome outcome(Store& store, std::uint64_t position, const Command& command) {
  return store.apply(position, command).outcome;
}
bool is_change(const Applied& applied, const std::string& key, std::uint64_t old_ts, std::uint64_t new_ts) {
  return applied.changes.size() == 1 && applied.changes[0].key() == key && applied.changes[0].old_ts == old_ts &&
         applied.changes[0].new_ts == new_ts;
}

}  // namespace

TEST_CASE("store: a write sets the value, and its position is the key's ts") {
  Store store;
  const Applied first = store.apply(5, put("colour", "blue"));
  CHECK(first.outcome == Outcome(Written{5}));
  CHECK(is_change(first, "colour", 0, 5));
  CHECK(is_change(store.apply(9, put("colour", "red")), "colour", 5, 9));
  REQUIRE(store.find("colour"));
  CHECK(store.find("colour")->value() == "red");
  CHECK(store.find("colour")->ts() == 9);
  CHECK_FALSE(store.find("Colour"));
}

TEST_CASE("store: a delete removes the key; of an absent one it changes nothing, yet has a position") {
  Store store;
  store.apply(1, put("k", "v"));
  const Applied gone = store.apply(2, del("k"));
  CHECK(gone.outcome == Outcome(Deleted{2, true}));
  CHECK(is_change(gone, "k", 1, 0));
  CHECK_FALSE(store.find("k"));
  const Applied absent = store.apply(3, del("k"));
  CHECK(absent.outcome == Outcome(Deleted{3, false}));
  CHECK(absent.changes.empty());
}

TEST_CASE("store: if_ts writes only where the key is at that ts") {
  Store store;
  store.apply(4, put("k", "old"));
  const Applied refused = store.apply(5, put("k", "new", 3));
  CHECK(refused.outcome == Outcome(Conflict{4}));
  CHECK(refused.changes.empty());
  CHECK(store.find("k")->value() == "old");
  CHECK(outcome(store, 6, put("k", "new", 4)) == Outcome(Written{6}));
  CHECK(outcome(store, 7, put("k", "newer", 4)) == Outcome(Conflict{6}));
}

TEST_CASE("store: if_ts 0 writes only an absent key") {
  Store store;
  CHECK(outcome(store, 1, put("k", "v", 7)) == Outcome(Conflict{0}));
  CHECK(outcome(store, 2, put("k", "v", 0)) == Outcome(Written{2}));
  CHECK(outcome(store, 3, put("k", "v", 0)) == Outcome(Conflict{2}));
  CHECK(outcome(store, 4, del("k", 0)) == Outcome(Conflict{2}));
  CHECK(outcome(store, 5, del("k", 2)) == Outcome(Deleted{5, true}));
  CHECK(outcome(store, 6, del("k", 0)) == Outcome(Deleted{6, false}));
}

TEST_CASE("store: keys and bytes count what is there now") {
  Store store;
  store.apply(1, put("key", "12345"));
  store.apply(2, put("other", ""));
  CHECK(store.keys() == 2);
  CHECK(store.bytes() == 3 + 5 + 5);
  store.apply(3, put("key", "1"));
  CHECK(store.bytes() == 3 + 1 + 5);
  store.apply(4, put("key", "not written", 1));
  store.apply(5, del("absent"));
  CHECK(store.bytes() == 3 + 1 + 5);
  store.apply(6, del("key"));
  store.apply(7, del("other"));
  CHECK(store.keys() == 0);
  CHECK(store.bytes() == 0);
}

TEST_CASE("store: the first entry names the cluster and its members") {
  Store store;
  CHECK_FALSE(store.members());
  const command::Members members{"c", {{"n1", "i", "p", "a"}}};
  const Applied applied = store.apply(1, members);
  CHECK(applied.outcome == Outcome(MembersNoted{}));
  CHECK(applied.changes.empty());
  CHECK(store.members() == members);
}

TEST_CASE("store: a repeated (session, seq) gets the first answer again and is not applied again") {
  Store store;
  CHECK(outcome(store, 1, put_in("s", 1, "first")) == Outcome(Written{1}));
  store.apply(2, put("k", "by another"));
  const Applied again = store.apply(3, put_in("s", 1, "first"));
  CHECK(again.outcome == Outcome(Written{1}));
  CHECK(again.changes.empty());
  CHECK(store.find("k")->value() == "by another");
  CHECK(store.find("k")->ts() == 2);
}

TEST_CASE("store: a conflict and a delete of nothing are answers to repeat, too") {
  Store store;
  const Session second{"s", 2, 0};
  CHECK(outcome(store, 1, Put{"k", "v", 9, Session{"s", 1, 0}}) == Outcome(Conflict{0}));
  CHECK(outcome(store, 2, Delete{"k", std::nullopt, second}) == Outcome(Deleted{2, false}));
  store.apply(9, put("k", "v"));  // now both would do something
  CHECK(outcome(store, 10, Put{"k", "v", 9, Session{"s", 1, 0}}) == Outcome(Conflict{0}));
  CHECK(outcome(store, 11, Delete{"k", std::nullopt, second}) == Outcome(Deleted{2, false}));
  CHECK(store.find("k"));
}

TEST_CASE("store: writes of a session that overtake each other are each applied once") {
  Store store;
  CHECK(outcome(store, 1, put_in("s", 3)) == Outcome(Written{1}));
  CHECK(outcome(store, 2, put_in("s", 1)) == Outcome(Written{2}));
  CHECK(outcome(store, 3, put_in("s", 2)) == Outcome(Written{3}));
  CHECK(outcome(store, 4, put_in("s", 1)) == Outcome(Written{2}));
  CHECK(outcome(store, 5, put_in("s", 2)) == Outcome(Written{3}));
  CHECK(outcome(store, 6, put_in("s", 3)) == Outcome(Written{1}));
}

TEST_CASE("store: the same seq of two sessions are two writes") {
  Store store;
  CHECK(outcome(store, 1, put_in("a", 1)) == Outcome(Written{1}));
  CHECK(outcome(store, 2, put_in("b", 1)) == Outcome(Written{2}));
}

TEST_CASE("store: the 257th answer of a session drops the one with the lowest seq") {
  Store store;
  for (std::uint64_t seq = 1; seq <= answers_kept_per_session; ++seq) store.apply(seq, put_in("s", seq));
  CHECK(outcome(store, 301, put_in("s", 1)) == Outcome(Written{1}));  // 256 are kept
  CHECK(outcome(store, 302, put_in("s", answers_kept_per_session + 1)) == Outcome(Written{302}));
  const Applied late = store.apply(303, put_in("s", 1));
  CHECK(late.outcome == Outcome(SessionExpired{}));
  CHECK(late.changes.empty());
  CHECK(store.find("k")->ts() == 302);
  CHECK(outcome(store, 304, put_in("s", 2)) == Outcome(Written{2}));
  CHECK(outcome(store, 305, put_in("s", answers_kept_per_session + 1)) == Outcome(Written{302}));
}

TEST_CASE("store: a seq below a dropped answer is expired even if it never came: it might have") {
  Store store;
  for (std::uint64_t seq = 2; seq <= answers_kept_per_session + 2; ++seq) store.apply(seq, put_in("s", seq));
  CHECK(outcome(store, 400, put_in("s", 1)) == Outcome(SessionExpired{}));
  CHECK(store.find("k")->ts() == answers_kept_per_session + 2);
}

TEST_CASE("store: a late low seq of a full session is never applied twice") {
  Store store;
  for (std::uint64_t i = 0; i < answers_kept_per_session; ++i) store.apply(i + 1, put_in("s", 10 + i));
  CHECK(outcome(store, 400, put_in("s", 5)) == Outcome(Written{400}));
  CHECK(outcome(store, 401, put_in("s", 5)) == Outcome(SessionExpired{}));
  CHECK(store.find("k")->ts() == 400);
  CHECK(outcome(store, 402, put_in("s", 10)) == Outcome(Written{1}));
}

TEST_CASE("store: one session too many forgets the one idle for longest, by log positions") {
  Store store(2);
  store.apply(1, put_in("a", 1));
  store.apply(2, put_in("b", 1));
  store.apply(3, put_in("a", 1));  // a repeated write is use, too
  store.apply(4, put_in("c", 1));
  CHECK(store.sessions() == 2);
  CHECK(store.forgotten_through() == 2);
  CHECK(outcome(store, 5, put_in("a", 1)) == Outcome(Written{1}));
  CHECK(outcome(store, 6, put_in("c", 1)) == Outcome(Written{4}));
}

TEST_CASE("store: an unknown session that began before the last one forgotten is expired, whatever its seq") {
  Store store(1);
  store.apply(1, put_in("old", 1));
  store.apply(5, put_in("forgotten", 1));  // forgets "old"
  store.apply(6, put_in("c", 1, "v", 5));  // forgets "forgotten", whose last write is at 5
  CHECK(store.forgotten_through() == 5);
  for (const std::uint64_t seq : {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{1'000'000}}) {
    const Applied refused = store.apply(6 + seq, put_in("forgotten", seq, "twice?", 4));
    CHECK(refused.outcome == Outcome(SessionExpired{}));
    CHECK(refused.changes.empty());
  }
  CHECK(store.find("k")->ts() == 6);
  CHECK(outcome(store, 2'000'000, put_in("c", 1, "v", 5)) == Outcome(Written{6}));  // refusals forget nobody
}

TEST_CASE("store: an unknown session that began at or after the last one forgotten is new") {
  Store store(1);
  store.apply(1, put_in("a", 1));
  store.apply(5, put_in("b", 1, "v", 1));
  store.apply(6, put_in("c", 1, "v", 5));
  CHECK(store.forgotten_through() == 5);
  CHECK(outcome(store, 7, put_in("d", 1, "v", 5)) == Outcome(Written{7}));
}

TEST_CASE("store: forgotten_through never falls") {
  Store store(1);
  std::uint64_t before = 0;
  for (std::uint64_t position = 1; position < 50; ++position) {
    store.apply(position, put_in("s" + std::to_string(position), 1, "v", position - 1));
    CHECK(store.forgotten_through() >= before);
    before = store.forgotten_through();
  }
  CHECK(before == 48);
}

TEST_CASE("store: writes without a session leave the sessions alone") {
  Store store(1);
  store.apply(1, put_in("a", 1));
  for (std::uint64_t position = 2; position < 100; ++position) store.apply(position, put("x", "y"));
  CHECK(store.sessions() == 1);
  CHECK(outcome(store, 100, put_in("a", 1)) == Outcome(Written{1}));
}

TEST_CASE("store: the 10,001st session forgets one") {
  Store store;
  for (std::uint64_t n = 1; n <= sessions_kept; ++n) store.apply(n, put_in("s" + std::to_string(n), 1));
  CHECK(store.sessions() == 10'000);
  CHECK(store.forgotten_through() == 0);
  store.apply(sessions_kept + 1, put_in("one more", 1));
  CHECK(store.sessions() == 10'000);
  CHECK(store.forgotten_through() == 1);
}

TEST_CASE("store: a key and a value are bytes, in byte order, with zeros in them") {
  Store store;
  const std::string zeros("a\0b", 3);
  store.apply(1, put(zeros, zeros));
  CHECK(store.find(zeros)->value() == zeros);
  CHECK_FALSE(store.find("a"));
  CHECK(outcome(store, std::numeric_limits<std::uint64_t>::max() - 1, put(zeros, "", 1)) ==
        Outcome(Written{std::numeric_limits<std::uint64_t>::max() - 1}));
}

TEST_CASE("store: the content digest is the sum of the items', whatever way they came") {
  Store store;
  CHECK(store.content_digest() == 0);
  store.apply(1, put("a", "1"));
  store.apply(2, put("b", "2"));
  CHECK(store.content_digest() == snapshot::item_digest("a", "1", 1) + snapshot::item_digest("b", "2", 2));
  store.apply(3, put("a", "3"));
  store.apply(4, put("b", "not written", 9));
  store.apply(5, del("absent"));
  CHECK(store.content_digest() == snapshot::item_digest("a", "3", 3) + snapshot::item_digest("b", "2", 2));
  store.apply(6, del("b"));
  CHECK(store.content_digest() == snapshot::item_digest("a", "3", 3));
  CHECK(store.totals() == snapshot::Totals{1, 2, store.content_digest()});
  store.apply(7, del("a"));
  CHECK(store.content_digest() == 0);
}

TEST_CASE("store: the content digest does not see sessions and members, the digest does") {
  Store store;
  store.apply(1, put_in("s", 1));
  const std::uint64_t content = store.content_digest();
  std::uint64_t all = store.digest();
  store.apply(2, put_in("s", 1));  // repeated: the session was used, the key is as it was
  CHECK(store.content_digest() == content);
  CHECK(store.digest() != all);
  all = store.digest();
  store.apply(3, command::Members{"c", {}});
  CHECK(store.content_digest() == content);
  CHECK(store.digest() != all);
}
