// Rule `positions`: of which write a position is, of which position a value, and what must come after what.
#include <algorithm>
#include <tuple>

#include "tests/checkers/facts.hpp"

namespace kv::history {
namespace {

// What an answer says of a position: who wrote there, and what.
struct Claim {
  std::uint64_t ts = 0;
  int weakness = 0;  // 0: the write's own answer; 1: a read of the value; 2: a condition or a conflict
  Index by = none;
};

std::vector<Claim> claims_of(const Facts& facts) {
  std::vector<Claim> claims;
  for (const Index index : facts.by_begin()) {
    const Operation& operation = facts[index];
    const bool ok = operation.outcome == Outcome::ok;
    if (is_write(operation)) {
      if (ok) claims.push_back({operation.ts, 0, index});
      if (ok && operation.if_ts.value_or(0) != 0) claims.push_back({*operation.if_ts, 2, index});
      if (operation.conflict.value_or(0) != 0) claims.push_back({*operation.conflict, 2, index});
    } else if (ok && operation.read) {
      claims.push_back({operation.ts, 1, index});
    }
  }
  return claims;
}

const std::string& value_of(const Operation& operation) {
  return operation.read ? *operation.read : operation.value;
}

// Why both can't be right of one position; nullptr: they can. `a` is not weaker than `b`.
const char* contradiction(const Claim& a, const Claim& b, const Facts& facts) {
  const Operation& one = facts[a.by];
  const Operation& other = facts[b.by];
  if (a.weakness == 0 && b.weakness == 0) return "two writes at one position";
  if (one.key != other.key) return "one position for writes of two keys";
  if (a.weakness == 0 && one.function == Function::del) return "the position of a delete taken for that of a value";
  if (b.weakness < 2 && value_of(one) != value_of(other)) return "two values at one position";
  return nullptr;
}

void one_write_per_position(const Facts& facts, Report& report) {
  std::vector<Claim> claims = claims_of(facts);
  const auto rank = [&facts](const Claim& claim) {
    return std::make_tuple(claim.ts, claim.weakness, facts.begin_of(claim.by));
  };
  std::sort(claims.begin(), claims.end(), [&](const Claim& a, const Claim& b) { return rank(a) < rank(b); });
  for (std::size_t first = 0, i = 1; i < claims.size(); ++i) {
    if (claims[i].ts != claims[first].ts) {
      first = i;
    } else if (claims[i].ts != 0) {
      const char* problem = contradiction(claims[first], claims[i], facts);
      if (problem) report.add(Rule::positions, {claims[i].by, claims[first].by}, problem);
    }
  }
}

void check_read_value(const Facts& facts, Index read, Report& report) {
  const Operation& operation = facts[read];
  const Index writer = facts.writer_of(*operation.read);
  if (writer == none) {
    report.add(Rule::positions, {read}, "a value that nobody wrote");
    return;
  }
  const Operation& put = facts[writer];
  if (put.key != operation.key) {
    report.add(Rule::positions, {read, writer}, "a value that was written to another key");
    return;
  }
  if (put.outcome == Outcome::fail) {
    report.add(Rule::positions, {read, writer}, "the value of a write that failed");
    return;
  }
  if (facts.before(read, writer)) report.add(Rule::positions, {read, writer}, "read before it was written");
  if (const std::uint64_t ts = facts.position_of(writer); ts != operation.ts) {
    std::vector<Index> operations{read, writer};
    if (const Index by = facts.position_shown_by(writer); by != writer && by != read) operations.push_back(by);
    report.add(Rule::positions, std::move(operations),
               "one value at two positions, " + std::to_string(ts) + " and " + std::to_string(operation.ts) +
                   ", as if applied twice");
  }
}

void check_read(const Facts& facts, Index read, Report& report) {
  const Operation& operation = facts[read];
  if (operation.read) {
    check_read_value(facts, read, report);
    if (operation.ts == 0) report.add(Rule::positions, {read}, "a value without a position");
    if (operation.ts > operation.applied) {
      report.add(Rule::positions, {read}, "a value from beyond what the server had applied");
    }
  } else if (operation.ts != 0) {
    report.add(Rule::positions, {read}, "an absent key with a position");
  }
  if (operation.consistency == Consistency::linearizable && operation.applied < facts.known_before(read)) {
    report.add(Rule::positions, {read, facts.known_by(read)},
               "a linearizable read of a server that was behind position " +
                   std::to_string(facts.known_before(read)) + ", known before");
  }
}

// What was known before includes what told of the write itself too early: a read, a conflict.
void check_write(const Facts& facts, Index write, Report& report) {
  const Operation& operation = facts[write];
  if (operation.outcome == Outcome::ok && operation.ts == 0) {
    report.add(Rule::positions, {write}, "a write without a position");
    return;
  }
  const std::uint64_t ts = facts.position_of(write);
  if (ts == 0 || ts > facts.known_before(write)) return;
  std::vector<Index> operations{write, facts.known_by(write)};
  if (const Index by = facts.position_shown_by(write); by != write) operations.push_back(by);
  report.add(Rule::positions, std::move(operations),
             "written at position " + std::to_string(ts) + ", though position " +
                 std::to_string(facts.known_before(write)) + " was known before it began");
}

}  // namespace

void check_positions(const Facts& facts, Report& report) {
  one_write_per_position(facts, report);
  for (const Index index : facts.by_begin()) {
    if (is_write(facts[index])) {
      check_write(facts, index, report);
    } else if (is_ok_read(facts[index])) {
      check_read(facts, index, report);
    }
  }
}

}  // namespace kv::history
