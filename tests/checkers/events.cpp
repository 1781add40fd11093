#include "tests/checkers/events.hpp"

#include <algorithm>
#include <map>
#include <tuple>
#include <utility>

#include "tests/checkers/facts.hpp"

namespace kv::history {
namespace {

std::string spell(const Event& event) {
  return "event " + std::to_string(event.index) + ", " + std::string(to_string(event.type)) + " of process " +
         std::to_string(event.process) + "'s operation " + std::to_string(event.op) + ", " +
         std::string(to_string(event.operation.function)) + " " + quote(event.operation.key);
}

bool asks_the_same(const Operation& a, const Operation& b) {
  const auto asked = [](const Operation& o) {
    return std::tie(o.session, o.function, o.key, o.value, o.if_ts, o.consistency, o.asked_ts);
  };
  return asked(a) == asked(b);
}

class EventCheck {
 public:
  void see(const Event& event) {
    if (last_ && event.index <= last_->index) add(event, "its index does not grow", last_);
    if (last_ && event.time < last_->time) add(event, "the time goes back", last_);
    last_ = &event;
    Seen& seen = seen_[{event.process, event.op}];
    if (event.type == EventType::invoke) {
      if (seen.begin) return add(event, "the operation began already", seen.begin);
      if (seen.end) add(event, "the operation has ended already", seen.end);
      seen.begin = &event;
      return;
    }
    if (!seen.begin) add(event, "an answer to what never began");
    if (seen.end) return add(event, "a second answer", seen.end);
    if (seen.begin && !asks_the_same(event.operation, seen.begin->operation)) {
      add(event, "an answer to something else", seen.begin);
    }
    seen.end = &event;
  }

  void finish() {
    for (const auto& [name, seen] : seen_) {
      if (!seen.end) add(*seen.begin, "no answer, not even that its outcome is not known");
    }
  }

  std::vector<Violation> take(std::size_t limit) {
    std::vector<Violation> first;
    for (auto at = violations_.begin(); at != violations_.end() && first.size() < limit; ++at) {
      first.push_back(std::move(at->second));
    }
    return first;
  }

 private:
  struct Seen {
    const Event* begin = nullptr;
    const Event* end = nullptr;
  };

  void add(const Event& event, std::string_view problem, const Event* other = nullptr) {
    Violation violation{Rule::answers, {event.index}, std::string(problem) + ": " + spell(event)};
    if (other) {
      violation.operations.push_back(other->index);
      violation.message += "; " + spell(*other);
    }
    violations_.emplace(event.index, std::move(violation));
  }

  const Event* last_ = nullptr;
  std::map<std::pair<std::uint64_t, std::uint64_t>, Seen> seen_;
  std::multimap<std::uint64_t, Violation> violations_;  // by the event; those of one as they were found
};

Outcome outcome_of(EventType type) {
  return type == EventType::ok ? Outcome::ok : type == EventType::fail ? Outcome::fail : Outcome::info;
}

EventType type_of(Outcome outcome) {
  return outcome == Outcome::ok ? EventType::ok : outcome == Outcome::fail ? EventType::fail : EventType::info;
}

Event event_of(const Operation& operation, EventType type, std::uint64_t time) {
  Event event{0, time, 0, operation.number, type, operation};
  event.operation.invoked = 0;
  event.operation.ended = never;
  event.operation.number = 0;
  event.operation.outcome = Outcome::info;
  return event;
}

Event invocation_of(const Operation& operation) {
  Event event = event_of(operation, EventType::invoke, operation.invoked);
  Operation& asked = event.operation;
  asked.ts = asked.applied = 0;
  asked.found = false;
  asked.read.reset();
  asked.conflict.reset();
  return event;
}

}  // namespace

std::string_view to_string(EventType type) {
  return type == EventType::invoke ? "invoke" : to_string(outcome_of(type));
}

std::vector<Violation> check_events(const std::vector<Event>& events, const Limits& limits) {
  EventCheck check;
  for (const Event& event : events) check.see(event);
  check.finish();
  return check.take(limits.violations_per_rule);
}

History to_history(const std::vector<Event>& events) {
  History history;
  std::map<std::pair<std::uint64_t, std::uint64_t>, std::size_t> places;
  for (const Event& event : events) {
    if (event.type == EventType::invoke) {
      places[{event.process, event.op}] = history.size();
      history.push_back(event.operation);
      history.back().number = history.size() - 1;
      history.back().invoked = event.index;
      history.back().ended = never;
      continue;
    }
    Operation& begun = history[places.at({event.process, event.op})];
    Operation answered = event.operation;
    answered.number = begun.number;
    answered.invoked = begun.invoked;
    answered.ended = event.index;
    answered.outcome = outcome_of(event.type);
    if (answered.node.empty()) answered.node = begun.node;
    begun = std::move(answered);
  }
  return history;
}

std::vector<Event> to_events(const History& history) {
  const Facts facts(history);
  std::vector<std::pair<Index, Event>> placed;
  std::uint64_t last = 0;
  for (const Operation& operation : history) {
    last = std::max(last, operation.ended == never ? operation.invoked : operation.ended);
  }
  for (Index index = 0; index < history.size(); ++index) {
    const Operation& operation = history[index];
    placed.emplace_back(facts.begin_of(index), invocation_of(operation));
    const std::uint64_t end = operation.ended == never ? last : operation.ended;
    placed.emplace_back(facts.end_of(index), event_of(operation, type_of(operation.outcome), end));
  }
  std::sort(placed.begin(), placed.end(), [](const auto& a, const auto& b) {
    return std::tie(a.first, a.second.op) < std::tie(b.first, b.second.op);
  });
  std::vector<Event> events;
  for (auto& [place, event] : placed) {
    event.index = events.size();
    events.push_back(std::move(event));
  }
  return events;
}

std::vector<Violation> check(const std::vector<Event>& events, const Limits& limits) {
  std::vector<Violation> violations = check_events(events, limits);
  return violations.empty() ? check(to_history(events), limits) : violations;
}

}  // namespace kv::history
