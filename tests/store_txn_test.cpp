// Transactions: all or nothing at one position, each operation seeing those before it; and their answers again for
// a retry.
#include <catch2/catch.hpp>
#include <utility>

#include "server/store.hpp"

using namespace kv;
using command::Command;
using command::Condition;
using command::Operation;
using command::Session;
using command::Txn;

namespace {

Operation put(std::string_view key, std::string_view value) {
  return {Operation::What::put, key, value};
}
Operation erase(std::string_view key) {
  return {Operation::What::erase, key, {}};
}
Operation get(std::string_view key) {
  return {Operation::What::get, key, {}};
}

TxnDone done(Store& store, std::uint64_t position, Txn txn) {
  const Outcome outcome = store.apply(position, std::move(txn)).outcome;
  REQUIRE(std::holds_alternative<TxnDone>(outcome));
  return std::get<TxnDone>(outcome);
}
std::string value_of(const Store& store, std::string_view key) {
  const Item* item = store.find(key);
  return item ? std::string(item->value()) + "@" + std::to_string(item->ts()) : "absent";
}
std::string describe(const Applied& applied) {
  std::string text;
  for (const Change& change : applied.changes) {
    text += (text.empty() ? "" : ", ") + std::string(change.key()) + " " + std::to_string(change.old_ts) + "->" +
            std::to_string(change.new_ts);
  }
  return text;
}

}  // namespace

TEST_CASE("store: a transaction whose conditions hold does the first list, at one position") {
  Store store;
  store.apply(1, command::Put{"a", "old", {}, {}});
  const TxnDone ok = done(store, 5, {{{"a", 1}, {"b", 0}}, {put("a", "new"), put("b", "made")}, {erase("a")}, {}});
  CHECK(ok.ts == 5);
  CHECK(ok.succeeded);
  REQUIRE(ok.results.size() == 2);
  CHECK(ok.results[0] == TxnResult{Operation::What::put, "a", {}, 5, false});
  CHECK(value_of(store, "a") == "new@5");
  CHECK(value_of(store, "b") == "made@5");
}

TEST_CASE("store: one condition that does not hold leads to the other list") {
  Store store;
  store.apply(1, command::Put{"a", "old", {}, {}});
  const TxnDone no = done(store, 2, {{{"a", 1}, {"b", 7}}, {put("a", "new")}, {get("a"), get("b")}, {}});
  CHECK_FALSE(no.succeeded);
  REQUIRE(no.results.size() == 2);
  CHECK(no.results[0] == TxnResult{Operation::What::get, "a", "old", 1, false});
  CHECK(no.results[1] == TxnResult{Operation::What::get, "b", {}, 0, false});
  CHECK(value_of(store, "a") == "old@1");
}

TEST_CASE("store: without conditions a transaction succeeds, and empty lists are allowed") {
  Store store;
  CHECK(done(store, 1, {{}, {}, {}, {}}).succeeded);
  CHECK(store.position() == 1);
}

TEST_CASE("store: each operation of a transaction sees those before it, and a key changes once") {
  Store store;
  store.apply(1, command::Put{"a", "old", {}, {}});
  Store other;
  const Txn txn{
      {},
      {erase("a"), get("a"), put("a", "x"), put("a", "y"), get("a"), erase("b"), put("c", "z"), erase("c")},
      {},
      {}};
  const Applied applied = store.apply(4, txn);
  const auto& results = std::get<TxnDone>(applied.outcome).results;
  REQUIRE(results.size() == 8);
  CHECK(results[0].found);
  CHECK(results[1].value == std::nullopt);
  CHECK(results[4].value == "y");
  CHECK(results[4].ts == 4);
  CHECK_FALSE(results[5].found);
  CHECK(results[7].found);
  CHECK(describe(applied) == "a 1->4");
  CHECK(value_of(store, "a") == "y@4");
  CHECK(value_of(store, "c") == "absent");
}

TEST_CASE("store: deletions of a transaction are remembered as others are") {
  Store store;
  store.apply(1, command::Put{"a", "v", {}, {}});
  const Applied applied = store.apply(2, Txn{{}, {erase("a"), erase("b")}, {}, {}});
  CHECK(describe(applied) == "a 1->0");
  CHECK(store.deleted_at("a") == 2);
  CHECK(store.deleted_at("b") == 0);
}

TEST_CASE("store: a transaction whose answer fits no frame changes nothing") {
  Store store;
  const std::string big(1 << 20, 'x');
  for (std::uint64_t i = 1; i <= 5; ++i) store.apply(i, command::Put{"k" + std::to_string(i), big, {}, {}});
  const std::uint64_t before = store.content_digest();
  const Txn txn{{}, {put("new", "v"), get("k1"), get("k2"), get("k3"), get("k4"), get("k5")}, {}, {}};
  const Applied applied = store.apply(6, txn);
  CHECK(std::holds_alternative<TxnTooLarge>(applied.outcome));
  CHECK(applied.changes.empty());
  CHECK(store.content_digest() == before);
  CHECK(done(store, 7, {{}, {get("k1"), get("k2"), get("k3")}, {}, {}}).results.size() == 3);
}

TEST_CASE("store: a repeated transaction gets its first answer again, values and all, and is not applied again") {
  Store store;
  const Session session{"s", 1, 0};
  const Txn txn{{{"a", 0}}, {put("a", "1"), get("a")}, {get("a")}, session};
  const Outcome first = store.apply(1, txn).outcome;
  store.apply(2, command::Put{"a", "2", {}, {}});
  const Applied again = store.apply(3, txn);
  CHECK(again.outcome == first);
  CHECK(std::get<TxnDone>(first).results[1].value == "1");
  CHECK(again.changes.empty());
  CHECK(value_of(store, "a") == "2@2");
}

TEST_CASE("store: an answer that was too long is so again for a retry") {
  Store store;
  const std::string big(1 << 20, 'x');
  store.apply(1, command::Put{"k", big, {}, {}});
  const Txn txn{{}, {get("k"), get("k"), get("k"), get("k"), get("k")}, {}, Session{"s", 1, 0}};
  CHECK(store.apply(2, txn).outcome == Outcome(TxnTooLarge{}));
  store.apply(3, command::Delete{"k", {}, {}});
  CHECK(store.apply(4, txn).outcome == Outcome(TxnTooLarge{}));
}

TEST_CASE("store: a session keeps at most 8 MiB of transactions' answers, and its last one always") {
  Store store;
  store.apply(1, command::Put{"k", std::string(1 << 20, 'x'), {}, {}});
  const auto read_in = [](std::uint64_t seq) {
    return Txn{{}, {get("k"), get("k"), get("k")}, {}, Session{"s", seq, 0}};
  };
  for (std::uint64_t seq = 1; seq <= 4; ++seq) store.apply(10 + seq, read_in(seq));
  CHECK(store.apply(20, read_in(4)).outcome.index() == Outcome(TxnDone{}).index());
  CHECK(store.apply(21, read_in(3)).outcome.index() == Outcome(TxnDone{}).index());
  CHECK(store.apply(22, read_in(1)).outcome == Outcome(SessionExpired{}));
}

TEST_CASE("store: all sessions keep at most 128 MiB of transactions' answers: the idlest are forgotten") {
  Store store;
  store.apply(1, command::Put{"k", std::string(1 << 20, 'x'), {}, {}});
  std::uint64_t position = 10;
  for (int i = 0; i < 60; ++i) {
    store.apply(++position, Txn{{}, {get("k"), get("k"), get("k")}, {}, Session{"s" + std::to_string(i), 1, 0}});
  }
  CHECK(store.sessions() < 45);
  CHECK(store.sessions() > 35);
  CHECK(store.forgotten_through() > 10);
}
