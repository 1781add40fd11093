// A walk gives the store as it was when the walk began, whatever is applied meanwhile; restore() takes it back.
#include <array>
#include <catch2/catch.hpp>
#include <deque>
#include <random>

#include "server/store.hpp"

using namespace kv;
using Catch::Matchers::Contains;
using command::Command;
using command::Delete;
using command::Members;
using command::Put;
using command::Session;

namespace {

constexpr std::size_t max_sessions = 6;

// Commands of all kinds on few keys and few sessions, so that they meet.
class Commands {
 public:
  // Of few sessions answers are dropped, of more than max_sessions sessions are.
  explicit Commands(std::uint64_t seed, std::uint64_t sessions = 9) : random_(seed), sessions_(sessions) {}

  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }

  Command next(std::uint64_t position) {
    const std::uint64_t what = below(20);
    if (what == 0) return Members{"c" + std::to_string(below(3)), {{"n1", "i", "p", "a"}}};
    if (what < 6) return Delete{key(), if_ts(position), session(position)};
    if (what < 9) return txn(position);
    return Put{key(), kept(std::string(below(4) == 0 ? below(3000) : below(30), 'v')), if_ts(position),
               session(position)};
  }

  // From 1 byte to 64 KiB, small ones as often as big ones.
  std::size_t slice() { return 1 + below(std::size_t{1} << below(17)); }

 private:
  // For the commands, which show texts that are kept elsewhere.
  std::string_view kept(std::string text) { return texts_.emplace_back(std::move(text)); }
  std::string_view key() {
    const std::uint64_t number = below(60);
    return kept(std::string(number % 7, 'k') + std::to_string(number));
  }
  command::Txn txn(std::uint64_t position) {
    command::Txn txn;
    if (below(2) == 0) txn.conditions.push_back({key(), below(3) == 0 ? 0 : below(position)});
    for (std::uint64_t left = below(4); left > 0; --left) {
      using What = command::Operation::What;
      const What what = std::array{What::put, What::erase, What::get}[below(3)];
      txn.then.push_back({what, key(), what == What::put ? kept(std::string(below(100), 'w')) : ""});
    }
    txn.otherwise.push_back({command::Operation::What::get, key(), {}});
    txn.session = session(position);
    return txn;
  }
  std::optional<std::uint64_t> if_ts(std::uint64_t position) {
    if (below(8) != 0) return std::nullopt;
    return below(2) == 0 ? 0 : below(position);
  }
  std::optional<Session> session(std::uint64_t position) {
    if (below(2) == 0) return std::nullopt;
    // Some seqs come again, some too late.
    const std::uint64_t from = below(3) == 0 ? below(position) : position - 1;
    return Session{kept("s" + std::to_string(below(sessions_))), 1 + below(400), from};
  }

  std::mt19937_64 random_;
  std::uint64_t sessions_;
  std::deque<std::string> texts_;
};

// A store and what was applied to it.
struct Replayed {
  Store store{max_sessions};
  std::vector<Command> commands;

  Applied apply(const Command& command) {
    commands.push_back(command);
    return store.apply(commands.size(), command);
  }
  Replayed again() const {
    Replayed other;
    for (const Command& command : commands) other.apply(command);
    return other;
  }
  void apply_some(Commands& from, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) apply(from.next(commands.size() + 1));
  }
};

using Pieces = std::vector<std::string>;

Pieces walk(Store& store, std::size_t bytes) {
  Pieces pieces;
  store.begin_walk();
  while (store.walk(bytes, pieces.emplace_back())) continue;
  store.end_walk();
  return pieces;
}

std::string joined(const Pieces& pieces) {
  std::string all;
  for (const std::string& piece : pieces) all += piece;
  return all;
}

Store restored(const Pieces& pieces) {
  Store store(max_sessions);
  for (const std::string& piece : pieces) REQUIRE_FALSE(store.restore(piece));
  return store;
}

void check_equal(const Store& a, const Store& b) {
  CHECK(a.digest() == b.digest());
  CHECK(a.content_digest() == b.content_digest());
  CHECK(a.keys() == b.keys());
  CHECK(a.bytes() == b.bytes());
  CHECK(a.members() == b.members());
  CHECK(a.sessions() == b.sessions());
  CHECK(a.forgotten_through() == b.forgotten_through());
}

bool alike(const Applied& a, const Applied& b) {
  const auto same = [](const Change& x, const Change& y) {
    return x.key() == y.key() && x.old_ts == y.old_ts && x.new_ts == y.new_ts;
  };
  return a.outcome == b.outcome &&
         std::equal(a.changes.begin(), a.changes.end(), b.changes.begin(), b.changes.end(), same);
}

// What the walk of `walked` gives in slices of random size while commands are applied in between, and the sizes.
struct Disturbed {
  Pieces pieces;
  std::vector<std::size_t> sizes;
  snapshot::Totals totals;
};

Disturbed walk_disturbed(Replayed& walked, Commands& commands) {
  Disturbed result;
  walked.store.begin_walk();
  const std::uint64_t writes = 1 + commands.below(40);
  bool more = true;
  while (more) {
    walked.apply_some(commands, commands.below(writes));
    result.sizes.push_back(commands.below(3) == 0 ? commands.slice() : 1 + commands.below(2000));
    more = walked.store.walk(result.sizes.back(), result.pieces.emplace_back());
  }
  walked.apply_some(commands, commands.below(writes));
  result.totals = walked.store.walk_totals();
  walked.store.end_walk();
  return result;
}

void check_later_applies(Store& a, Store& b, std::uint64_t position, Commands& commands) {
  for (int i = 0; i < 200; ++i) {
    const Command command = commands.next(++position);
    if (!alike(a.apply(position, command), b.apply(position, command))) FAIL("position " << position);
  }
  check_equal(a, b);
}

// ---- Records that no store writes -----------------------------------------------------------------------

std::string state(std::string_view members = {}, std::uint64_t forgotten_through = 0) {
  std::string out;
  append_record(out, snapshot::State{members, forgotten_through});
  return out;
}
std::string item(std::string_view key, std::uint64_t ts = 1) {
  std::string out;
  append_record(out, snapshot::Item{ts, key, "v"});
  return out;
}
std::string session(std::string_view id, std::uint64_t last_position, const std::vector<std::uint64_t>& seqs = {},
                    std::uint64_t dropped_through = 0) {
  snapshot::Session session{id, last_position, dropped_through, {}};
  for (const std::uint64_t seq : seqs) session.answers.push_back({seq, snapshot::Kind::written, 1});
  std::string out;
  append_record(out, session);
  return out;
}

std::string deletions_floor(std::uint64_t position = 0) {
  std::string out;
  append_record(out, snapshot::DeletionsFloor{position});
  return out;
}
std::string deletion(std::string_view key, std::uint64_t ts) {
  std::string out;
  append_record(out, snapshot::Deletion{ts, key});
  return out;
}

std::string refused(const std::string& records) {
  Store store(max_sessions);
  return store.restore(records).value_or("taken");
}

}  // namespace

TEST_CASE("store walk: gives what was there when it began, whatever is applied meanwhile") {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    INFO("seed " << seed);
    const bool few = seed % 10 == 0;
    Commands commands(seed, few ? 2 : 9);
    Replayed walked;
    walked.apply_some(commands, commands.below(few ? 3000 : 600));
    Replayed reference = walked.again();
    const std::size_t position = walked.commands.size();

    const Disturbed disturbed = walk_disturbed(walked, commands);
    Store back = restored(disturbed.pieces);
    check_equal(back, reference.store);
    CHECK_FALSE(back.check_totals(disturbed.totals));
    CHECK(disturbed.totals == reference.store.totals());
    check_equal(walked.store, walked.again().store);  // the walk changed nothing
    CHECK(joined(walk(back, 1000)) == joined(disturbed.pieces));
    check_later_applies(back, reference.store, position, commands);
  }
}

TEST_CASE("store walk: each piece depends on the state and the size asked for, and on no write since") {
  for (std::uint64_t seed = 0; seed < 100; ++seed) {
    INFO("seed " << seed);
    Commands commands(seed);
    Replayed walked;
    walked.apply_some(commands, commands.below(600));
    Replayed quiet = walked.again();
    const Disturbed disturbed = walk_disturbed(walked, commands);

    quiet.store.begin_walk();
    for (std::size_t i = 0; i < disturbed.pieces.size(); ++i) {
      std::string piece;
      const bool more = quiet.store.walk(disturbed.sizes[i], piece);
      CHECK(more == (i + 1 < disturbed.pieces.size()));
      CHECK(piece == disturbed.pieces[i]);
      CHECK_FALSE(piece.empty());
      if (more) CHECK(piece.size() >= disturbed.sizes[i]);
    }
  }
}

TEST_CASE("store walk: a piece ends as soon as it is long enough") {
  Store store;
  store.apply(1, Put{"a", "v", {}, {}});
  store.apply(2, Put{"b", "v", {}, Session{"s", 1, 0}});
  std::string records;
  store.begin_walk();
  CHECK(store.walk(state().size(), records));
  CHECK(records == state());
  CHECK(store.walk(item("a").size(), records));
  CHECK(records == state() + item("a"));
  CHECK(store.walk(1, records));
  CHECK(records == state() + item("a") + item("b", 2));
  CHECK_FALSE(store.walk(1, records));  // and there is no empty one to follow
}

TEST_CASE("store walk: a walk that was given up leaves nothing behind, and the next gives what is there then") {
  Commands commands(1);
  Replayed walked;
  walked.apply_some(commands, 300);
  std::string records;
  for (int i = 0; i < 20; ++i) {
    walked.store.begin_walk();
    CHECK(walked.store.is_walking());
    walked.store.walk(commands.slice() % 1000, records);
    walked.apply_some(commands, 50);
    walked.store.end_walk();
    CHECK_FALSE(walked.store.is_walking());
  }
  check_equal(restored(walk(walked.store, 100)), walked.store);
}

TEST_CASE("store walk: of an empty store there are the records that begin its parts") {
  Store store;
  const Pieces pieces = walk(store, 1);
  REQUIRE(pieces.size() == 1);
  CHECK(pieces[0] == state() + deletions_floor());
  Store back;
  CHECK_FALSE(back.restore(pieces[0]));
  CHECK_FALSE(back.check_totals({}));
  CHECK(back.digest() == store.digest());
}

TEST_CASE("store walk: what comes into an empty store during the walk is not in it") {
  Store store;
  store.begin_walk();
  store.apply(1, Put{"k", "v", std::nullopt, Session{"s", 1, 0}});
  std::string records;
  CHECK_FALSE(store.walk(1000, records));
  CHECK(records == state() + deletions_floor());
  CHECK_FALSE(store.walk(1000, records));  // still nothing
  CHECK(records == state() + deletions_floor());
  CHECK(store.walk_totals() == snapshot::Totals{});
}

TEST_CASE("store walk: a key that is deleted and comes again keeps its old value for the walk") {
  Store store;
  store.apply(1, Put{"a", "old", {}, {}});
  store.apply(2, Put{"b", "old", {}, {}});
  store.begin_walk();
  store.apply(3, Delete{"b", {}, {}});
  store.apply(4, Put{"b", "new", {}, {}});
  store.apply(5, Put{"b", "newer", {}, {}});
  store.apply(6, Put{"a", "new", {}, {}});
  store.apply(7, Delete{"a", {}, {}});
  std::string records;
  CHECK_FALSE(store.walk(1000, records));
  Store back;
  REQUIRE_FALSE(back.restore(records));
  REQUIRE(back.find("a"));
  REQUIRE(back.find("b"));
  CHECK(back.find("a")->value() == "old");
  CHECK(back.find("b")->value() == "old");
  CHECK(back.find("b")->ts() == 2);
}

TEST_CASE("store walk: goes on in a store that was moved") {
  Commands commands(2);
  Replayed walked;
  walked.apply_some(commands, 300);
  Replayed reference = walked.again();
  Pieces pieces(2);
  walked.store.begin_walk();
  CHECK(walked.store.walk(500, pieces[0]));
  walked.apply_some(commands, 100);
  auto moved = std::make_unique<Store>(std::move(walked.store));
  walked.store = std::move(*moved);
  walked.apply_some(commands, 100);
  CHECK_FALSE(walked.store.walk(10'000'000, pieces[1]));
  check_equal(restored(pieces), reference.store);
  walked.store.end_walk();
  check_equal(walked.store, walked.again().store);
}

TEST_CASE("store restore: takes keys, sessions and members in order, in any blocks") {
  const std::string members = command::encode(Members{"c", {{"n1", "i", "p", "a"}}});
  Store store;
  CHECK_FALSE(store.restore(state(members, 3)));
  CHECK_FALSE(store.restore(item("a", 5) + item("b", 4)));
  CHECK_FALSE(store.restore(item("c", 9) + session("s", 8, {3, 7}, 2)));
  CHECK_FALSE(store.restore(session("t", 6)));
  REQUIRE(store.members());
  CHECK(store.members()->cluster == "c");
  CHECK(store.keys() == 3);
  CHECK(store.sessions() == 2);
  CHECK(store.forgotten_through() == 3);
  CHECK(store.position() == 9);
}

TEST_CASE("store restore: refuses what is out of order") {
  CHECK_THAT(refused(item("a")), Contains("before the state"));
  CHECK_THAT(refused(session("s", 1)), Contains("before the state"));
  CHECK_THAT(refused(state() + state()), Contains("the state comes twice"));
  CHECK_THAT(refused(state() + item("b") + item("a")), Contains("the items are out of order"));
  CHECK_THAT(refused(state() + item("a") + item("a")), Contains("the items are out of order"));
  CHECK_THAT(refused(state() + item(std::string(Item::max_key_bytes + 1, 'k'))),
             Contains("longer than one can be"));
  CHECK_THAT(refused(state() + session("s", 1) + item("a")), Contains("behind a session"));
  CHECK_THAT(refused(state() + session("t", 1) + session("s", 2)), Contains("the sessions are out of order"));
  CHECK_THAT(refused(state() + session("s", 1) + session("s", 2)), Contains("the sessions are out of order"));
  CHECK_THAT(refused(deletions_floor()), Contains("where none can be"));
  CHECK_THAT(refused(state() + deletions_floor() + deletions_floor()), Contains("where none can be"));
  CHECK_THAT(refused(state() + deletion("a", 1)), Contains("before the beginning of the deletions"));
  CHECK_THAT(refused(state() + deletions_floor() + item("a")), Contains("behind a session or a deletion"));
  CHECK_THAT(refused(state() + deletions_floor() + session("s", 1)), Contains("behind the deletions"));
  CHECK_THAT(refused(state() + deletions_floor(4) + deletion("a", 4)), Contains("the deletions are out of order"));
  CHECK_THAT(refused(state() + deletions_floor() + deletion("a", 2) + deletion("b", 1)),
             Contains("the deletions are out of order"));
  CHECK_THAT(refused(state() + session("s", 1, {2, 1})), Contains("answers of a session are out of order"));
  CHECK_THAT(refused(state() + session("s", 1, {1, 1})), Contains("answers of a session are out of order"));
  CHECK_THAT(refused(state() + session("s", 1, {3}, 3)), Contains("answers of a session are out of order"));
}

TEST_CASE("store restore: refuses order that is broken between blocks") {
  Store store;
  REQUIRE_FALSE(store.restore(state() + item("b")));
  CHECK(store.restore(item("b")));
  Store other;
  REQUIRE_FALSE(other.restore(state() + session("s", 1)));
  CHECK(other.restore(item("z")));
}

TEST_CASE("store restore: refuses what no store holds") {
  CHECK_THAT(refused(state() + "\x9"), Contains("unknown type 9: written by a newer kvd"));
  CHECK_THAT(refused(state() + item("a").substr(0, 9)), Contains("longer than its block"));
  CHECK_THAT(refused(state("no command")), Contains("members cannot be read"));
  CHECK_THAT(refused(state(command::encode(Put{"k", "v", {}, {}}))), Contains("members cannot be read"));
  CHECK_THAT(refused(state() + item("a", 0)), Contains("an item has no position"));
  CHECK_THAT(refused(state() + session("s", 0)), Contains("a session has no position"));
  CHECK_THAT(refused(state() + session("s", 1) + session("t", 1)), Contains("the same position"));
  std::vector<std::uint64_t> seqs;
  for (std::uint64_t seq = 1; seq <= answers_kept_per_session + 1; ++seq) seqs.push_back(seq);
  CHECK_THAT(refused(state() + session("s", 1, seqs)), Contains("more answers than are kept"));
  std::string many = state();
  for (std::size_t i = 0; i <= max_sessions; ++i) many += session("s" + std::to_string(i), i + 1);
  CHECK_THAT(refused(many), Contains("more sessions than are kept"));
}

TEST_CASE("store restore: the totals of the end must be those of what came") {
  Store store;
  CHECK_THAT(store.check_totals({}).value_or("right"), Contains("there are no records"));
  REQUIRE_FALSE(store.restore(state() + item("a") + item("b")));
  const snapshot::Totals right = store.totals();
  CHECK_THAT(store.check_totals(right).value_or("right"), Contains("the records of deletions are missing"));
  REQUIRE_FALSE(store.restore(deletions_floor()));
  CHECK_FALSE(store.check_totals(right));
  CHECK_THAT(*store.check_totals({3, right.bytes, right.digest}), Contains("2 keys where the end says 3"));
  CHECK_THAT(*store.check_totals({2, 5, right.digest}),
             Contains("4 bytes of keys and values where the end says 5"));
  CHECK_THAT(*store.check_totals({2, right.bytes, right.digest + 1}), Contains("others than the end says"));
}
