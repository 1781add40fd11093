// Random histories of a store that is right, and ways to spoil them, for the checkers' own tests.
//
// The model executes operations one after the other, each at a moment of its own, and draws the interval around
// that moment. So what it makes is a history that must be accepted. Own random numbers: equal everywhere.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "tests/checkers/history.hpp"

namespace kv::history {

class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t next() {  // splitmix64
    std::uint64_t z = (state_ += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  std::uint64_t below(std::uint64_t limit) { return next() % limit; }
  bool percent(std::uint64_t chance) { return below(100) < chance; }

 private:
  std::uint64_t state_;
};

struct Shape {
  std::size_t operations = 100;
  std::size_t keys = 1;
  std::size_t sessions = 3;
  std::uint64_t overlap = 3;  // so many operations run at a time, about
  std::uint64_t info_percent = 5;
  std::uint64_t delete_percent = 15;
  std::uint64_t condition_percent = 25;
  std::uint64_t gap_percent = 10;  // positions that are of no write
  bool linearizable_only = false;  // no session and local reads
};

class Model {
 public:
  Model(Random& random, const Shape& shape) : random_(random), shape_(shape) {}

  History run() {
    for (std::size_t i = 0; i < shape_.operations; ++i) add(i);
    const auto place = [](const Operation& operation) {
      return std::tie(operation.invoked, operation.ended, operation.number);
    };
    std::sort(history_.begin(), history_.end(),
              [&](const Operation& a, const Operation& b) { return place(a) < place(b); });
    for (std::size_t i = 0; i < history_.size(); ++i) history_[i].number = i;
    return std::move(history_);
  }

 private:
  struct Value {
    std::string value;
    std::uint64_t ts = 0;
  };
  using Version = std::pair<std::uint64_t, std::optional<Value>>;  // from this position on

  // Operation i takes effect at the moment 10 * (i + overlap), somewhere in its interval.
  void add(std::size_t i) {
    const std::uint64_t moment = 10 * (i + shape_.overlap);
    Operation operation;
    operation.number = i;
    operation.session = "s" + std::to_string(random_.below(shape_.sessions));
    operation.key = "k" + std::to_string(random_.below(shape_.keys));
    operation.invoked = moment - random_.below(5 * shape_.overlap);
    operation.ended = moment + 1 + random_.below(5 * shape_.overlap);
    if (random_.percent(shape_.gap_percent)) ++last_position_;
    if (random_.percent(45)) {
      read(operation);
    } else {
      write(operation, i);
    }
    if (operation.outcome == Outcome::info && random_.percent(50)) operation.ended = never;
    // The client gave up before, or it heard of it long after.
    if (operation.outcome == Outcome::info && random_.percent(20)) operation.ended = operation.invoked + 1;
    history_.push_back(std::move(operation));
  }

  const std::optional<Value>& state_at(const std::string& key, std::uint64_t position) {
    static const std::optional<Value> absent;
    const std::vector<Version>& versions = versions_[key];
    for (auto version = versions.rbegin(); version != versions.rend(); ++version) {
      if (version->first <= position) return version->second;
    }
    return absent;
  }

  // What the session knows of the key when the operation begins.
  std::uint64_t remembered(const Operation& operation) const {
    std::uint64_t ts = 0;
    for (const Operation& other : history_) {
      const bool known = other.session == operation.session && other.key == operation.key &&
                         other.ended <= operation.invoked && other.outcome == Outcome::ok;
      if (known) ts = std::max(ts, other.function != Function::get || other.read ? other.ts : other.applied);
    }
    return ts;
  }

  void read(Operation& operation) {
    operation.function = Function::get;
    const std::uint64_t kind = shape_.linearizable_only ? 0 : random_.below(3);
    operation.consistency = kind == 0   ? Consistency::linearizable
                            : kind == 1 ? Consistency::session
                                        : Consistency::local;
    operation.outcome = random_.percent(shape_.info_percent) ? Outcome::info : Outcome::ok;
    if (operation.consistency == Consistency::session) operation.asked_ts = remembered(operation);
    if (operation.outcome == Outcome::info) return;
    const std::uint64_t least =
        operation.consistency == Consistency::linearizable ? last_position_ : operation.asked_ts;
    operation.applied = least + random_.below(last_position_ - least + 1);
    const std::optional<Value>& state = state_at(operation.key, operation.applied);
    if (!state) return;
    operation.read = state->value;
    operation.ts = state->ts;
  }

  void write(Operation& operation, std::size_t i) {
    operation.function = random_.percent(shape_.delete_percent) ? Function::del : Function::put;
    if (operation.function == Function::put) operation.value = "v" + std::to_string(i);
    const std::optional<Value> state = state_at(operation.key, last_position_);
    const std::uint64_t ts = state ? state->ts : 0;
    if (random_.percent(shape_.condition_percent)) {
      // The right one, or one that holds no more or does not hold yet.
      operation.if_ts = random_.percent(60) ? ts : random_.below(last_position_ + 2);
    }
    const bool is_unknown = random_.percent(shape_.info_percent);
    if (!is_unknown && random_.percent(3)) {
      operation.outcome = Outcome::fail;
      return;
    }
    if (is_unknown && random_.percent(50)) return;  // never applied
    const bool holds = operation.if_ts.value_or(ts) == ts;
    if (!is_unknown) operation.outcome = holds ? Outcome::ok : Outcome::fail;
    if (!holds) {
      if (!is_unknown) operation.conflict = ts;
      return;
    }
    ++last_position_;
    std::optional<Value> after;
    if (operation.function == Function::put) after = Value{operation.value, last_position_};
    versions_[operation.key].emplace_back(last_position_, std::move(after));
    if (is_unknown) return;
    operation.ts = last_position_;
    operation.found = operation.function == Function::del && state.has_value();
  }

  Random& random_;
  const Shape& shape_;
  History history_;
  std::map<std::string, std::vector<Version>> versions_;
  std::uint64_t last_position_ = 0;
};

inline History generate(Random& random, const Shape& shape) {
  return Model(random, shape).run();
}

// Changes one thing of one operation, so that it still is an operation that a client could have seen. What comes
// out may be right or wrong.
inline void spoil(History& history, Random& random) {
  Operation& operation = history[random.below(history.size())];
  const Operation other = history[random.below(history.size())];
  const bool get = operation.function == Function::get;
  const bool ok = operation.outcome == Outcome::ok;
  const std::uint64_t near_ts = operation.ts + random.below(5);
  switch (random.below(7)) {
    case 0:
      operation.invoked = std::min(other.invoked, operation.ended);
      break;
    case 1:
      if (operation.ended != never) operation.ended = std::max(other.invoked, operation.invoked);
      break;
    case 2:
      if (ok && near_ts > 2 && (!get || operation.read)) operation.ts = near_ts - 2;
      break;
    case 3:
      if (ok && get && other.function == Function::put) operation.read = other.value;
      if (ok && get && other.function == Function::put) operation.ts = std::max<std::uint64_t>(other.ts, 1);
      if (ok && get && other.function == Function::del) operation.read.reset();
      if (ok && get && other.function == Function::del) operation.ts = 0;
      break;
    case 4:
      if (ok && operation.function == Function::del) operation.found = !operation.found;
      break;
    case 5:
      if (operation.if_ts && ok) operation.if_ts = random.below(8);
      if (operation.conflict) operation.conflict = random.below(8);
      break;
    default:
      if (!get && ok) {
        operation.outcome = Outcome::info;
        operation.ts = 0;
        operation.found = false;
      }
      break;
  }
}

}  // namespace kv::history
