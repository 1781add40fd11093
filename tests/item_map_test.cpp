// The map of items, held against std::map whatever is done to it in whatever order.
#include "server/item_map.hpp"

#include <catch2/catch.hpp>
#include <iterator>
#include <map>
#include <random>
#include <string>
#include <string_view>
#include <vector>

using namespace kv;

namespace {

std::string text_of(const Item& item) {
  return std::string(item.key()) + "=" + std::string(item.value()) + "@" + std::to_string(item.ts());
}

// A map and what should be in it.
class Pair {
 public:
  void put(const std::string& key) {
    const std::uint64_t ts = ++ts_;
    const Item::Ref old = map.put(Item::make(key, "v" + std::to_string(ts), ts));
    CHECK(told(old) == known(key));
    model[key] = text_of(*map.find(key));
  }
  void remove(const std::string& key) {
    CHECK(told(map.remove(key)) == known(key));
    model.erase(key);
  }
  void erase_until(const std::string& key) {
    map.erase_until(map.lower_bound(key));
    model.erase(model.begin(), model.lower_bound(key));
  }

  void check() const {
    CHECK(map.size() == model.size());
    std::vector<std::string> all;
    for (const Item& item : map) all.push_back(text_of(item));
    std::vector<std::string> expected;
    for (const auto& [key, text] : model) expected.push_back(text);
    CHECK(all == expected);
    CHECK((map.last() ? text_of(*map.last()) : "") == (model.empty() ? "" : model.rbegin()->second));
  }
  void check(const std::string& key) const {
    CHECK((map.find(key) ? text_of(*map.find(key)) : "") == known(key));
    CHECK(told(map.lower_bound(key)) == told(model.lower_bound(key)));
    CHECK(told(map.upper_bound(key)) == told(model.upper_bound(key)));
  }

  ItemMap map;
  std::map<std::string, std::string> model;

 private:
  std::string known(const std::string& key) const { return model.contains(key) ? model.at(key) : ""; }
  static std::string told(const Item::Ref& item) { return item ? text_of(*item) : ""; }
  std::string told(ItemMap::const_iterator item) const { return item == map.end() ? "end" : text_of(*item); }
  std::string told(std::map<std::string, std::string>::const_iterator item) const {
    return item == model.end() ? "end" : item->second;
  }

  std::uint64_t ts_ = 0;
};

std::string numbered(std::uint64_t number) {
  std::string digits = std::to_string(number);
  return std::string(6 - digits.size(), '0') + digits;
}

}  // namespace

TEST_CASE("item map: an empty one has nothing") {
  Pair pair;
  pair.check();
  pair.check("a");
  pair.remove("a");
  pair.erase_until("a");
  pair.check();
}

TEST_CASE("item map: keys in rising, falling and mixed order are all found, in order") {
  const std::uint64_t count = 1000;
  const auto step = GENERATE(1, 999, 389);
  Pair pair;
  for (std::uint64_t i = 1; i <= count; ++i) {
    pair.put(numbered(i * static_cast<std::uint64_t>(step) % 1001));
    if (i % 97 == 0) pair.check();
  }
  pair.check();
  for (std::uint64_t i = 0; i <= count + 1; ++i) pair.check(numbered(i));
}

TEST_CASE("item map: whatever is put and removed, it is as std::map has it") {
  const auto seed = GENERATE(range(1, 9));
  std::mt19937_64 random(static_cast<std::uint64_t>(seed));
  const auto below = [&random](std::uint64_t bound) { return random() % bound; };
  const std::uint64_t keys = seed % 2 == 0 ? 3000 : 100;
  Pair pair;
  for (int phase = 0; phase < 6; ++phase) {
    const std::uint64_t puts = 1 + below(9);  // of ten; the others remove
    const std::uint64_t from = below(keys);
    for (int i = 0; i < 1500; ++i) {
      const std::string key =
          numbered(phase % 3 == 0 ? (from + static_cast<std::uint64_t>(i)) % keys : below(keys));
      if (below(10) < puts) {
        pair.put(key);
      } else {
        pair.remove(key);
      }
      pair.check(numbered(below(keys)));
    }
    pair.check();
    if (phase % 2 == 1) pair.erase_until(numbered(below(keys)));
    pair.check();
  }
  while (!pair.model.empty())
    pair.remove(std::next(pair.model.begin(), static_cast<int>(below(pair.model.size())))->first);
  pair.check();
}

TEST_CASE("item map: what is fetched is there or not, and stays as it is") {
  Pair pair;
  std::vector<std::string> keys;
  for (std::uint64_t i = 0; i < 200; ++i) keys.push_back(numbered(i));
  const std::vector<std::string_view> asked(keys.begin(), keys.end());
  pair.map.fetch_to_find(asked);
  for (std::uint64_t i = 0; i < 100; ++i) pair.put(numbered(2 * i));
  pair.map.fetch_to_find(asked);
  pair.map.fetch_to_change(asked);
  pair.map.fetch_to_change({});
  pair.check();
}

TEST_CASE("item map: one that was filled in order is as good as another") {
  const std::uint64_t count = GENERATE(0, 1, 63, 64, 65, 500);
  Pair pair;
  for (std::uint64_t i = 0; i < count; ++i) {
    pair.map.append(Item::make(numbered(3 * i), "v", i + 1));
    pair.model[numbered(3 * i)] = numbered(3 * i) + "=v@" + std::to_string(i + 1);
  }
  pair.map.index_appended();
  pair.check();
  for (std::uint64_t i = 0; i < 3 * count; ++i) pair.put(numbered(i));
  pair.check();
  pair.erase_until("999999");
  pair.check();
}

TEST_CASE("item map: an item goes from one map to another") {
  ItemMap from;
  ItemMap to;
  for (std::uint64_t i = 1; i <= 200; ++i) from.put(Item::make(numbered(i), "v", i));
  for (std::uint64_t i = 1; i <= 200; i += 2) to.put(from.put(Item::make(numbered(i), "w", 1000 + i)));
  for (std::uint64_t i = 2; i <= 200; i += 2) to.put(from.remove(numbered(i)));
  CHECK(from.size() == 100);
  CHECK(to.size() == 200);
  for (std::uint64_t i = 1; i <= 200; ++i) CHECK(to.find(numbered(i))->ts() == i);
  for (const Item& item : from) CHECK(item.value() == "w");
}
