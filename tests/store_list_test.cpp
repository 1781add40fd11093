// Pages of keys in their order, and the deletions that are remembered.
#include <catch2/catch.hpp>
#include <utility>

#include "server/store.hpp"

using namespace kv;

namespace {

constexpr std::size_t plenty = 1 << 20;

std::string page_of(const Store& store, std::string_view prefix, std::string_view after, std::size_t limit = 1000,
                    std::size_t max_bytes = plenty) {
  const Store::Page page = store.list(prefix, after, limit, max_bytes, false);
  std::string text;
  for (const Item* item : page.items) text += std::string(item->key()) + " ";
  return text + (page.more ? "and more" : "end");
}

Store with_keys(std::initializer_list<std::string> keys) {
  Store store;
  std::uint64_t position = 0;
  for (const std::string& key : keys) store.apply(++position, command::Put{key, "v", {}, {}});
  return store;
}

}  // namespace

TEST_CASE("store: a list has the keys with the prefix in the order of their bytes") {
  const Store store = with_keys({"b", "a/2", "a/10", "a", "a/1", "a0", "\xc3\xa4", "z"});
  CHECK(page_of(store, "", "") == "a a/1 a/10 a/2 a0 b z \xc3\xa4 end");
  CHECK(page_of(store, "a/", "") == "a/1 a/10 a/2 end");
  CHECK(page_of(store, "a", "") == "a a/1 a/10 a/2 a0 end");
  CHECK(page_of(store, "c", "") == "end");
  CHECK(page_of(Store(), "", "") == "end");
}

TEST_CASE("store: a list goes on behind a key, whether it is there or not, and wherever it lies") {
  const Store store = with_keys({"a", "b/1", "b/3", "c"});
  CHECK(page_of(store, "b/", "b/1") == "b/3 end");
  CHECK(page_of(store, "b/", "b/2") == "b/3 end");
  CHECK(page_of(store, "b/", "a") == "b/1 b/3 end");
  CHECK(page_of(store, "b/", "b/3") == "end");
  CHECK(page_of(store, "b/", "z") == "end");
  CHECK(page_of(store, "", "b/1") == "b/3 c end");
}

TEST_CASE("store: a list says whether there is more behind its limit") {
  const Store store = with_keys({"a1", "a2", "a3", "b"});
  CHECK(page_of(store, "a", "", 2) == "a1 a2 and more");
  CHECK(page_of(store, "a", "", 3) == "a1 a2 a3 end");
  CHECK(page_of(store, "", "", 3) == "a1 a2 a3 and more");
  CHECK(page_of(store, "a", "", 0) == "and more");
  CHECK(page_of(store, "x", "", 0) == "end");
}

TEST_CASE("store: a list ends before what would not fit, but has one item at least") {
  Store store;
  for (std::uint64_t i = 1; i <= 3; ++i) {
    store.apply(i, command::Put{"k" + std::to_string(i), std::string(1000, 'x'), {}, {}});
  }
  CHECK(page_of(store, "", "", 10, 2500) == "k1 k2 and more");
  CHECK(page_of(store, "", "", 10, 10) == "k1 and more");
  CHECK(store.list("", "", 10, 2500, true).items.size() == 3);
}

TEST_CASE("store: a deletion is remembered until the key is there again") {
  Store store = with_keys({"a", "b"});
  CHECK(store.deleted_at("a") == 0);
  store.apply(3, command::Delete{"a", {}, {}});
  CHECK(store.deleted_at("a") == 3);
  store.apply(4, command::Delete{"a", {}, {}});  // it changes nothing
  CHECK(store.deleted_at("a") == 3);
  store.apply(5, command::Put{"a", "v", {}, {}});
  CHECK(store.deleted_at("a") == 0);
  store.apply(6, command::Delete{"a", {}, {}});
  CHECK(store.deleted_at("a") == 6);
  CHECK(store.deletions_floor() == 0);
}

TEST_CASE("store: the deletions of the last 100,000 positions are remembered, and where that begins") {
  Store store = with_keys({"a", "b"});
  store.apply(3, command::Delete{"a", {}, {}});
  store.apply(4, command::Delete{"b", {}, {}});
  store.apply(100'003, command::Put{"c", "v", {}, {}});
  CHECK(store.deleted_at("a") == 0);
  CHECK(store.deleted_at("b") == 4);
  CHECK(store.deletions_floor() == 3);
  store.apply(200'004, command::Put{"c", "v", {}, {}});
  CHECK(store.deleted_at("b") == 0);
  CHECK(store.deletions_floor() == 100'004);
}
