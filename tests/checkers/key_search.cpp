#include "tests/checkers/key_search.hpp"

#include <algorithm>
#include <cstring>

namespace kv::history {

KeySearch::KeySearch(const Facts& facts, const KeyFacts& key) : facts_(&facts) {
  for (const Index index : key.operations) {
    const Operation& operation = facts[index];
    if (!is_write(operation)) {
      if (is_ok_read(operation) && operation.consistency == Consistency::linearizable) add_step(facts, index);
    } else if (operation.outcome == Outcome::ok || operation.conflict || facts.position_of(index) != 0) {
      add_step(facts, index);
    } else if (operation.outcome == Outcome::info) {
      add_unknown(facts, index);
    }
  }
  link();
}

void KeySearch::add_step(const Facts& facts, Index index) {
  const Operation& operation = facts[index];
  Step step;
  step.operation = index;
  step.begin = facts.begin_of(index);
  // A write of unknown outcome has no end, whenever its client gave up.
  step.end = operation.outcome == Outcome::info ? none : facts.end_of(index);
  if (operation.conflict) {
    step.ts = *operation.conflict;
    step.possible = operation.if_ts && operation.if_ts != operation.conflict;
  } else if (is_write(operation)) {
    step.is_write = true;
    step.ts = facts.position_of(index);
    writes_.push_back(static_cast<Place>(steps_in_order_.size()));
  } else {
    step.ts = operation.ts;
    if (operation.read) step.writer = facts.writer_of(*operation.read);
    step.possible = operation.read ? step.writer != none && operation.ts != 0 : operation.ts == 0;
  }
  if (step.ts == unseen) step.possible = false;
  steps_in_order_.push_back(step);
}

void KeySearch::add_unknown(const Facts& facts, Index index) {
  const Operation& operation = facts[index];
  auto kind = std::find_if(kinds_.begin(), kinds_.end(), [&](const Kind& k) {
    return k.function == operation.function && k.if_ts == operation.if_ts;
  });
  if (kind == kinds_.end()) kind = kinds_.insert(kind, Kind{operation.function, operation.if_ts, {}, 0});
  kind->begins.push_back(facts.begin_of(index));
}

void KeySearch::link() {
  std::sort(writes_.begin(), writes_.end(), [this](Place a, Place b) {
    return std::make_pair(steps_in_order_[a].ts, a) < std::make_pair(steps_in_order_[b].ts, b);
  });
  const auto count = static_cast<Place>(steps_in_order_.size());
  observed_before_.resize(writes_.size());
  for (Place place = 0; place < count; ++place) {
    const Step& step = steps_in_order_[place];
    if (step.is_write || step.ts == absent) continue;
    const auto later =
        std::upper_bound(writes_.begin(), writes_.end(), step.ts,
                         [this](std::uint64_t ts, Place write) { return ts < steps_in_order_[write].ts; });
    if (later != writes_.end())
      observed_before_[static_cast<std::size_t>(later - writes_.begin())].push_back(place);
  }
  removed_.assign(count, false);
  next_.resize(count + 1);
  previous_.resize(count + 1);
  for (Place place = 0; place <= count; ++place) {
    next_[place] = place == count ? 0 : place + 1;
    previous_[place] = place == 0 ? count : place - 1;
  }
}

// A put that is unseen may turn out to have any position from its lowest on.
bool KeySearch::holds(const std::optional<std::uint64_t>& if_ts, const State& state) const {
  if (!if_ts) return true;
  return state.ts == unseen ? *if_ts >= state.lowest && *if_ts != absent : *if_ts == state.ts;
}

bool KeySearch::allows(const Step& write, const State& state) const {
  const Operation& operation = (*facts_)[write.operation];
  if (write.ts <= state.lowest || !holds(operation.if_ts, state)) return false;
  if (state.ts == unseen && operation.if_ts && write.ts <= *operation.if_ts) return false;
  const bool tells_found = operation.function == Function::del;
  return !tells_found || operation.found == (state.ts != absent);
}

bool KeySearch::matches(const Step& step, const State& state) const {
  if (!step.possible || step.ts != state.ts) return false;
  return step.writer == none || step.writer == state.writer;
}

KeySearch::State KeySearch::after(const Step& write) const {
  if ((*facts_)[write.operation].function == Function::del) return {absent, none, write.ts};
  return {write.ts, write.operation, write.ts};
}

KeySearch::State KeySearch::after(const Kind& kind, const State& state) const {
  const bool resolves = state.ts == unseen && kind.if_ts;
  const std::uint64_t lowest = (resolves ? *kind.if_ts : state.lowest) + 1;
  return {kind.function == Function::del ? absent : unseen, none, lowest};
}

// Positions only grow: what was observed of an earlier one must be placed before the next known write, or never can
// be. Without this the search would find out much later, at the observation's end.
bool KeySearch::leaves_nothing_behind(std::size_t write) const {
  const std::vector<Place>& observed = observed_before_[write];
  return std::all_of(observed.begin(), observed.end(), [this](Place place) { return removed_[place]; });
}

// Whatever is not placed and began before any of them ended. Returns that end.
Index KeySearch::find_candidates() {
  const auto list = static_cast<Place>(removed_.size());
  candidates_.clear();
  Index deadline = none;
  for (Place place = next_[list]; place != list && steps_in_order_[place].begin < deadline; place = next_[place]) {
    deadline = std::min(deadline, steps_in_order_[place].end);
    candidates_.push_back(place);
  }
  return deadline;
}

// Places all reads and conflicts that the state explains: sooner is never worse. True: there were some.
bool KeySearch::place_observations() {
  for (bool any = false;; any = true) {
    deadline_ = find_candidates();
    const std::size_t before = placed_;
    for (const Place place : candidates_) {
      if (!steps_in_order_[place].is_write && matches(steps_in_order_[place], state_)) remove(place);
    }
    if (placed_ == before) return any;
  }
}

void KeySearch::remove(Place place) {
  next_[previous_[place]] = next_[place];
  previous_[next_[place]] = previous_[place];
  removed_[place] = true;
  highest_removed_ = std::max(highest_removed_, place);
  if (steps_in_order_[place].is_write) ++next_write_;
  ++placed_;
  trail_.push_back({false, place});
}

void KeySearch::go_back(const Frame& frame) {
  for (; trail_.size() > frame.trail; trail_.pop_back()) {
    const auto [is_kind, place] = trail_.back();
    if (is_kind) {
      --kinds_[place].used;
      continue;
    }
    next_[previous_[place]] = place;
    previous_[next_[place]] = place;
    removed_[place] = false;
    if (steps_in_order_[place].is_write) --next_write_;
    --placed_;
  }
  state_ = frame.state;
  highest_removed_ = frame.highest_removed;
}

void KeySearch::add_options() {
  if (next_write_ < writes_.size()) {
    const Step& write = steps_in_order_[writes_[next_write_]];
    if (write.begin < deadline_ && allows(write, state_) && leaves_nothing_behind(next_write_)) {
      options_.push_back({Option::What::known_write, 0});
    }
  }
  if (state_.ts == unseen) {
    const std::size_t first = options_.size();
    for (const Place place : candidates_) {
      const Step& step = steps_in_order_[place];
      const bool told = !step.is_write && step.possible && step.writer == none && step.ts >= state_.lowest;
      const auto same = [&](const Option& option) { return option.argument == step.ts; };
      if (told && step.ts != absent &&
          std::none_of(options_.begin() + static_cast<long>(first), options_.end(), same)) {
        options_.push_back({Option::What::resolve, step.ts});
      }
    }
  }
  for (std::size_t i = 0; i < kinds_.size(); ++i) {
    const Kind& kind = kinds_[i];
    if (kind.used < kind.begins.size() && kind.begins[kind.used] < deadline_ && holds(kind.if_ts, state_)) {
      options_.push_back({Option::What::unknown_write, i});
    }
  }
}

// Whether the state lets anything follow that it did not let follow before the write of unknown position: else
// leaving that write out, or applying it later, is as good.
bool KeySearch::is_of_use(const State& before) {
  const State now = state_;
  if (place_observations()) return true;
  if (next_write_ < writes_.size()) {
    const Step& write = steps_in_order_[writes_[next_write_]];
    if (write.begin < deadline_ && allows(write, now) && !allows(write, before)) return true;
  }
  for (const Kind& kind : kinds_) {
    const bool there = kind.used < kind.begins.size() && kind.begins[kind.used] < deadline_;
    if (there && holds(kind.if_ts, now) && !holds(kind.if_ts, before)) return true;
  }
  return now.ts == unseen && std::any_of(candidates_.begin(), candidates_.end(), [&](Place place) {
           const Step& step = steps_in_order_[place];
           return !step.is_write && step.possible && step.writer == none && step.ts != absent &&
                  step.ts >= now.lowest;
         });
}

// False: it leads nowhere.
bool KeySearch::apply(const Option& option) {
  switch (option.what) {
    case Option::What::known_write: {
      const Place place = writes_[next_write_];
      state_ = after(steps_in_order_[place]);
      remove(place);
      break;
    }
    case Option::What::unknown_write: {
      const State before = state_;
      Kind& kind = kinds_[option.argument];
      state_ = after(kind, before);
      ++kind.used;
      trail_.push_back({true, static_cast<Place>(option.argument)});
      if (!is_of_use(before)) return false;
      break;
    }
    case Option::What::resolve:
      state_ = {option.argument, none, option.argument};
      break;
  }
  place_observations();
  return dead_.empty() || !dead_.contains(configuration());
}

// All that the rest of the search depends on.
std::string KeySearch::configuration() const {
  std::string out;
  const auto append = [&out](auto number) {
    char bytes[sizeof number];
    std::memcpy(bytes, &number, sizeof number);
    out.append(bytes, sizeof number);
  };
  const Place first = next_[removed_.size()];
  append(state_.ts);
  append(state_.lowest);
  append(static_cast<Place>(next_write_));
  append(first);
  for (const Kind& kind : kinds_) append(static_cast<Place>(kind.used));
  // Which writes are placed follows from next_write_.
  for (Place place = first; place < highest_removed_ + 1 && place < removed_.size(); ++place) {
    if (removed_[place] && !steps_in_order_[place].is_write) append(place);
  }
  return out;
}

void KeySearch::note_blocked() {
  if (placed_ < most_placed_ || (placed_ == most_placed_ && blocked_.next != none)) return;
  most_placed_ = placed_;
  blocked_ = {};
  find_candidates();
  Place next = candidates_.front();
  for (const Place place : candidates_) {
    if (steps_in_order_[place].end < steps_in_order_[next].end) next = place;
  }
  if (next_write_ < writes_.size()) {
    const std::vector<Place>& observed = observed_before_[next_write_];
    const auto left =
        std::find_if(observed.begin(), observed.end(), [this](Place place) { return !removed_[place]; });
    if (left != observed.end()) next = *left;
  }
  blocked_.next = steps_in_order_[next].operation;
  if (next_write_ > 0) blocked_.last_write = steps_in_order_[writes_[next_write_ - 1]].operation;
  if (next_write_ < writes_.size()) blocked_.next_write = steps_in_order_[writes_[next_write_]].operation;
  for (const Place place : candidates_) {
    const Index other = steps_in_order_[place].operation;
    if (other != blocked_.next && other != blocked_.next_write) blocked_.others.push_back(other);
  }
}

// Goes back to the last configuration that has a choice left and takes it. False: there is none, or no more steps.
bool KeySearch::try_next_option() {
  while (!frames_.empty()) {
    Frame& frame = frames_.back();
    go_back(frame);
    if (frame.next == frame.end) {
      note_blocked();
      dead_.insert(configuration());
      options_.resize(frame.options);
      frames_.pop_back();
      continue;
    }
    if (steps_ == most_steps_) return false;
    ++steps_;
    const Option option = options_[frame.next++];
    if (apply(option)) return true;
  }
  return false;
}

KeySearch::Result KeySearch::run(std::uint64_t most_steps) {
  most_steps_ = most_steps;
  place_observations();
  while (placed_ < removed_.size()) {
    const std::size_t first = options_.size();
    add_options();
    frames_.push_back({trail_.size(), state_, highest_removed_, first, first, options_.size()});
    if (!try_next_option()) return frames_.empty() ? Result::not_linearizable : Result::undecided;
  }
  return Result::linearizable;
}

}  // namespace kv::history
