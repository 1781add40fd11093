// A history as it is recorded: events, one when an operation begins and one when it ends.
//
// Rule `answers` is about these: it is where an operation with two answers, or with none, can be seen. Only a
// list of events that passes it can be turned into a History.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "tests/checkers/check.hpp"
#include "tests/checkers/history.hpp"

namespace kv::history {

enum class EventType { invoke, ok, fail, info };
std::string_view to_string(EventType type);

struct Event {
  std::uint64_t index = 0;    // grows from event to event
  std::uint64_t time = 0;     // any clock; does not go back
  std::uint64_t process = 0;  // who asked; (process, op) names the operation
  std::uint64_t op = 0;
  EventType type = EventType::invoke;
  // What is asked, in each event of the operation; what was answered, in its last one. Not used: number,
  // invoked, ended, outcome.
  Operation operation;
};

// The violations of rule `answers`; `operations` are the events' indexes.
std::vector<Violation> check_events(const std::vector<Event>& events, const Limits& limits = {});

// The operations in the order in which they began. Their clock is the order of the events (`invoked` and `ended`
// are the events' indexes), which tells what came first where the clock of `time` is too coarse to.
// For events without violations.
History to_history(const std::vector<Event>& events);

// The opposite: an operation's process is 0 and its op its number. One that never ended gets an `info` at the end.
std::vector<Event> to_events(const History& history);

// check_events(), and if that finds nothing, check() of the history.
std::vector<Violation> check(const std::vector<Event>& events, const Limits& limits = {});

}  // namespace kv::history
