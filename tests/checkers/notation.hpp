// Small histories drawn as text, for the checkers' own tests: a line per operation, time goes to the right.
//
//   s1 k [put a @5]
//   s2 k      [lin a@5 at 6]       session s2 read key k while s1 wrote it
//   s3 k            [del ?...>     never heard again
//
// The column of `[` is when the operation began and that of `]` when it ended; `>` instead: it never did. A
// session named - is nobody's. Inside, in words (dots are only there to make the interval longer):
//
//   put VALUE, del, get (a session read), lin (a linearizable one), local
//   if N       a write's condition                 from N   the position that a read asked for
//   @N         a write's position: it was ok       found    the deleted key was there
//   VALUE@N    what was read, and its position     none     the key was absent (none@N: and yet a position)
//   at N       `applied` of a read's answer; if it is not told, the value's position
//   ?          outcome unknown                     !        failed                     !N  ... by a conflict: N
#pragma once

#include <algorithm>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/checkers/check.hpp"

namespace kv::history::notation {

class Words {
 public:
  explicit Words(std::string text) : in_(std::move(text)) {}
  bool next(std::string& word) { return static_cast<bool>(in_ >> word); }
  std::string need() {
    std::string word;
    if (!next(word)) throw std::invalid_argument("a word is missing: " + in_.str());
    return word;
  }
  std::uint64_t number() { return std::stoull(need()); }

 private:
  std::istringstream in_;
};

inline void take_function(Words& words, Operation& operation) {
  const std::string function = words.need();
  if (function == "put") {
    operation.function = Function::put;
    operation.value = words.need();
  } else if (function == "del") {
    operation.function = Function::del;
  } else if (function == "lin") {
    operation.consistency = Consistency::linearizable;
  } else if (function == "local") {
    operation.consistency = Consistency::local;
  } else if (function != "get") {
    throw std::invalid_argument("no such function: " + function);
  }
}

inline void take_answer(const std::string& word, Operation& operation) {
  const std::size_t at = word.find('@');
  if (word == "?") {
    operation.outcome = Outcome::info;
  } else if (word[0] == '!') {
    operation.outcome = Outcome::fail;
    if (word.size() > 1) operation.conflict = std::stoull(word.substr(1));
  } else if (word.starts_with("none")) {
    operation.outcome = Outcome::ok;
    if (at != std::string::npos) operation.ts = std::stoull(word.substr(at + 1));
  } else if (at != std::string::npos) {
    operation.outcome = Outcome::ok;
    operation.ts = std::stoull(word.substr(at + 1));
    if (operation.function == Function::get) operation.read = word.substr(0, at);
    if (operation.function == Function::get) operation.applied = std::max(operation.applied, operation.ts);
  } else {
    throw std::invalid_argument("no such word: " + word);
  }
}

inline Operation operation_of(const std::string& line, std::size_t open, std::size_t close) {
  Operation operation;
  operation.invoked = open;
  operation.ended = line[close] == '>' ? never : close;
  Words front(line.substr(0, open));
  operation.session = front.need();
  if (operation.session == "-") operation.session.clear();
  operation.key = front.need();
  std::string inside = line.substr(open + 1, close - open - 1);
  std::replace(inside.begin(), inside.end(), '.', ' ');
  Words words(inside);
  take_function(words, operation);
  for (std::string word; words.next(word);) {
    if (word == "if") {
      operation.if_ts = words.number();
    } else if (word == "from") {
      operation.asked_ts = words.number();
    } else if (word == "at") {
      operation.applied = words.number();
    } else if (word == "found") {
      operation.found = true;
    } else {
      take_answer(word, operation);
    }
  }
  return operation;
}

// The operations in the order in which they began. Throws std::invalid_argument.
inline History history_of(const std::string& text) {
  History history;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.find_first_not_of(' ') == std::string::npos) continue;
    const std::size_t open = line.find('[');
    const std::size_t close = line.find_first_of("]>");
    if (open == std::string::npos || close == std::string::npos)
      throw std::invalid_argument("no interval: " + line);
    Operation operation = operation_of(line, open, close);
    const auto later = [](const Operation& a, const Operation& b) { return a.invoked < b.invoked; };
    history.insert(std::upper_bound(history.begin(), history.end(), operation, later), std::move(operation));
  }
  for (std::size_t i = 0; i < history.size(); ++i) history[i].number = i;
  return history;
}

// The names of the rules that are broken, each once: "positions, linearizability".
inline std::string rules_of(const std::vector<Violation>& violations) {
  std::string names;
  for (std::size_t i = 0; i < violations.size(); ++i) {
    if (i > 0 && violations[i - 1].rule == violations[i].rule) continue;
    names += (names.empty() ? "" : ", ") + std::string(to_string(violations[i].rule));
  }
  return names;
}

inline std::string broken_rules(const std::string& text) {
  return rules_of(check(history_of(text)));
}

}  // namespace kv::history::notation
