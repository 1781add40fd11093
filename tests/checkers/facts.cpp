#include "tests/checkers/facts.hpp"

#include <algorithm>
#include <map>
#include <tuple>

namespace kv::history {
namespace {

// Events that are at one time stand in this order.
enum class Turn : std::uint8_t { end, begin_of_instant, end_of_instant, begin };

struct Moment {
  std::uint64_t time;
  Turn turn;
  Index index;
  bool operator<(const Moment& other) const {
    return std::tie(time, turn, index) < std::tie(other.time, other.turn, other.index);
  }
};

// The position that the operation's answer told.
std::uint64_t told(const Operation& operation) {
  if (operation.conflict) return *operation.conflict;
  return operation.outcome == Outcome::ok ? std::max(operation.ts, operation.applied) : 0;
}

}  // namespace

const Change* KeyFacts::last_change(std::uint64_t position) const {
  const auto after = std::upper_bound(changes.begin(), changes.end(), position,
                                      [](std::uint64_t p, const Change& change) { return p < change.ts; });
  return after == changes.begin() ? nullptr : &*(after - 1);
}

Facts::Facts(const History& history)
    : history_(&history),
      begin_(history.size()),
      end_(history.size(), none),
      position_(history.size()),
      shown_by_(history.size(), none),
      known_before_(history.size()),
      known_by_(history.size(), none) {
  order_events();
  find_positions();
  collect_keys();
}

void Facts::order_events() {
  std::vector<Moment> events;
  events.reserve(2 * history_->size());
  for (Index index = 0; index < history_->size(); ++index) {
    const Operation& operation = (*history_)[index];
    const bool instant = operation.invoked == operation.ended;
    events.push_back({operation.invoked, instant ? Turn::begin_of_instant : Turn::begin, index});
    if (operation.ended != never) {
      events.push_back({operation.ended, instant ? Turn::end_of_instant : Turn::end, index});
    }
  }
  std::sort(events.begin(), events.end());

  std::uint64_t known = 0;
  Index by = none;
  by_begin_.reserve(history_->size());
  for (Index place = 0; place < events.size(); ++place) {
    const auto [time, turn, index] = events[place];
    if (turn == Turn::begin || turn == Turn::begin_of_instant) {
      begin_[index] = place;
      known_before_[index] = known;
      known_by_[index] = by;
      by_begin_.push_back(index);
      continue;
    }
    end_[index] = place;
    if (const std::uint64_t position = told((*history_)[index]); position > known) {
      known = position;
      by = index;
    }
  }
}

Index Facts::writer_of(std::string_view value) const {
  const auto found = puts_.find(value);
  return found == puts_.end() ? none : found->second;
}

void Facts::find_positions() {
  puts_.reserve(history_->size());
  for (const Index index : by_begin_) {
    const Operation& operation = (*history_)[index];
    if (operation.function == Function::put) puts_.emplace(operation.value, index);
    if (is_write(operation) && operation.outcome == Outcome::ok) {
      position_[index] = operation.ts;
      shown_by_[index] = index;
    }
  }
  for (const Index index : by_begin_) {
    const Operation& operation = (*history_)[index];
    if (!is_ok_read(operation) || !operation.read) continue;
    const Index writer = writer_of(*operation.read);
    if (writer == none || position_[writer] != 0) continue;
    const Operation& put = (*history_)[writer];
    if (put.outcome != Outcome::info || put.key != operation.key) continue;
    position_[writer] = operation.ts;
    shown_by_[writer] = index;
  }
}

void Facts::add_changes(KeyFacts& key, Index index) const {
  const Operation& operation = (*history_)[index];
  if (is_write(operation)) {
    if (position_[index] != 0) {
      key.changes.push_back({position_[index], operation.function == Function::del, index, shown_by_[index]});
    }
    if (operation.outcome == Outcome::ok && operation.if_ts.value_or(0) != 0) {
      key.changes.push_back({*operation.if_ts, false, none, index});
    }
    if (operation.conflict.value_or(0) != 0) key.changes.push_back({*operation.conflict, false, none, index});
  } else if (is_ok_read(operation) && operation.read && operation.ts != 0) {
    key.changes.push_back({operation.ts, false, none, index});
  }
}

void Facts::collect_keys() {
  std::map<std::string_view, std::vector<Index>> operations;
  for (const Index index : by_begin_) operations[(*history_)[index].key].push_back(index);
  for (auto& [name, list] : operations) {
    KeyFacts key{name, std::move(list), {}};
    for (const Index index : key.operations) add_changes(key, index);
    // Who wrote it before who only heard of it.
    const auto rank = [this](const Change& change) {
      return std::make_tuple(change.ts, change.writer == none, begin_[change.shown_by]);
    };
    std::sort(key.changes.begin(), key.changes.end(),
              [&](const Change& a, const Change& b) { return rank(a) < rank(b); });
    const auto same = [](const Change& a, const Change& b) { return a.ts == b.ts; };
    key.changes.erase(std::unique(key.changes.begin(), key.changes.end(), same), key.changes.end());
    for (const Change& change : key.changes) taken_.push_back(change.ts);
    keys_.push_back(std::move(key));
  }
  std::sort(taken_.begin(), taken_.end());
  taken_.erase(std::unique(taken_.begin(), taken_.end()), taken_.end());
}

}  // namespace kv::history
