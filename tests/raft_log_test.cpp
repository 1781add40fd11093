#include "server/raft/log.hpp"
#include "tests/raft_fixture.hpp"

using namespace kv::raft_test;

namespace {

Log log_of(const Terms& terms) {
  return Log({}, entries(terms));
}

// Positions 11 and 12 on a snapshot that ends at position 10 of term 3.
Log compacted() {
  return Log({Index(10), Term(3)}, entries({3, 4}, 11));
}

std::size_t slice_size(const Log& log, std::uint64_t first, std::uint64_t last, std::size_t max_bytes) {
  return log.slice(Index(first), Index(last), max_bytes).size();
}

}  // namespace

TEST_CASE("log: an empty one ends at position 0 of term 0, and matches there alone") {
  const Log log({}, {});
  CHECK(log.last_index() == Index{});
  CHECK(log.last_term() == Term{});
  CHECK(log.first_index() == Index(1));
  CHECK(log.matches({}));
  CHECK_FALSE(log.matches({Index(0), Term(1)}));
  CHECK_FALSE(log.matches({Index(1), Term(0)}));
}

TEST_CASE("log: it matches where an entry has the same position and term") {
  const Log log = log_of({1, 1, 2});
  CHECK(log.matches({Index(0), Term(0)}));
  CHECK(log.matches({Index(2), Term(1)}));
  CHECK(log.matches({Index(3), Term(2)}));
  CHECK_FALSE(log.matches({Index(3), Term(1)}));
  CHECK_FALSE(log.matches({Index(4), Term(2)}));
  CHECK_FALSE(log.matches({Index(UINT64_MAX), Term(2)}));
}

TEST_CASE("log: another is up to date by the later last term, then by the greater length") {
  const Log log = log_of({1, 2, 2});
  CHECK(log.is_up_to_date({Index(3), Term(2)}));
  CHECK(log.is_up_to_date({Index(4), Term(2)}));
  CHECK(log.is_up_to_date({Index(1), Term(3)}));
  CHECK_FALSE(log.is_up_to_date({Index(2), Term(2)}));
  CHECK_FALSE(log.is_up_to_date({Index(9), Term(1)}));
  CHECK(log_of({}).is_up_to_date({}));
}

TEST_CASE("log: what is behind the base is known by its last position only") {
  const Log log = compacted();
  CHECK(log.base_index() == Index(10));
  CHECK(log.first_index() == Index(11));
  CHECK(log.last_index() == Index(12));
  CHECK(log.last_term() == Term(4));
  CHECK(log.term_at(Index(10)) == Term(3));
  CHECK_FALSE(log.term_at(Index(9)));
  CHECK_FALSE(log.term_at(Index(13)));
  CHECK(log.matches({Index(10), Term(3)}));
  CHECK_FALSE(log.matches({Index(9), Term(3)}));
}

TEST_CASE("log: an emptied one still knows the position and term of its base") {
  Log log = compacted();
  log.truncate_from(Index(11));
  CHECK(log.last_index() == Index(10));
  CHECK(log.last_term() == Term(3));
  CHECK(log.is_up_to_date({Index(10), Term(3)}));
  CHECK_FALSE(log.is_up_to_date({Index(9), Term(3)}));
}

TEST_CASE("log: the last place where two logs may agree has no later term than the other's") {
  const Log log = log_of({1, 1, 2, 2, 4});
  const auto last = [&](std::uint64_t index, std::uint64_t term) {
    const Position position = log.last_at_most({Index(index), Term(term)});
    return std::pair{position.index.value, position.term.value};
  };
  using Found = std::pair<std::uint64_t, std::uint64_t>;
  CHECK(last(5, 4) == Found{5, 4});
  CHECK(last(5, 3) == Found{4, 2});
  CHECK(last(4, 3) == Found{4, 2});
  CHECK(last(4, 1) == Found{2, 1});
  CHECK(last(9, 9) == Found{5, 4});
  CHECK(last(2, 0) == Found{0, 0});
  CHECK(last(UINT64_MAX, UINT64_MAX) == Found{5, 4});
}

TEST_CASE("log: on a base the place where two logs may agree is the base at the earliest") {
  const Log log = compacted();
  CHECK(log.last_at_most({Index(12), Term(1)}) == Position{Index(10), Term(3)});
  CHECK(log.last_at_most({Index(12), Term(3)}) == Position{Index(11), Term(3)});
  CHECK(log.last_at_most({Index(5), Term(9)}) == Position{});
}

TEST_CASE("log: a slice ends where it is told, at its bytes or at the log's end") {
  const Log log({}, {Entry{Term(1), Index(1), text("1234")}, Entry{Term(1), Index(2), text("1234")},
                     Entry{Term(1), Index(3), nullptr}, Entry{Term(1), Index(4), text("1234")}});
  CHECK(slice_size(log, 1, 4, 100) == 4);
  CHECK(slice_size(log, 2, 3, 100) == 2);
  CHECK(slice_size(log, 2, 9, 100) == 3);
  CHECK(slice_size(log, 1, 4, 8) == 3);  // one without a command takes nothing
  CHECK(slice_size(log, 1, 4, 7) == 1);
  CHECK(slice_size(log, 5, 4, 100) == 0);
}

TEST_CASE("log: a slice has one entry at least, however big it is") {
  const Log log({}, {Entry{Term(1), Index(1), text("1234")}, Entry{Term(1), Index(2), text("1234")}});
  CHECK(slice_size(log, 1, 2, 0) == 1);
  CHECK(slice_size(log, 2, 2, 3) == 1);
}

TEST_CASE("log: truncation drops the position and everything behind it") {
  Log log = log_of({1, 1, 2, 3});
  log.truncate_from(Index(3));
  CHECK(terms_of(log) == Terms{1, 1});
  log.append(entry(4, 3));
  CHECK(terms_of(log) == Terms{1, 1, 4});
  log.truncate_from(Index(9));
  CHECK(log.last_index() == Index(3));
}
