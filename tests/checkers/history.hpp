// What clients saw of a cluster, as the checkers read it: operations with their intervals.
//
// A history is a list of operations. Each began (`invoked`) and, unless its client never heard, ended. The
// outcome is from the client's point of view: ok, done as the answer says; fail, certainly not applied; info,
// not known, so a write may have taken place at any time after it began, or never. Values are unique over the
// whole history. Positions (`ts`, `applied`) are those of the replicated log.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kv::history {

inline constexpr std::uint64_t never = std::numeric_limits<std::uint64_t>::max();

enum class Function { put, del, get };
enum class Consistency { session, linearizable, local };
enum class Outcome { ok, fail, info };

struct Operation {
  std::uint64_t number = 0;  // in the history, from 0, in the order in which the operations began
  std::string session;       // whose memory of timestamps it used; empty: nobody's. Its operations may overlap
  std::string node;          // who answered, where that is known
  Function function = Function::get;
  std::string key;
  // Any clock that all operations share. An operation that ended at the time another began came before it
  // (but two that began and ended at one single time overlap).
  std::uint64_t invoked = 0;
  std::uint64_t ended = never;
  Outcome outcome = Outcome::info;

  std::string value;                               // put: what to write
  std::optional<std::uint64_t> if_ts;              // put, del: the condition; 0: the key must be absent
  Consistency consistency = Consistency::session;  // get
  std::uint64_t asked_ts = 0;                      // get: the position it must not be behind

  // Of an answer.
  std::uint64_t ts = 0;                   // ok: of the write; of the value that was read, 0 if it was absent
  bool found = false;                     // del, ok: the key was there
  std::optional<std::string> read;        // get, ok; nullopt: absent
  std::uint64_t applied = 0;              // get, ok: how far the server was
  std::optional<std::uint64_t> conflict;  // put, del, fail: the condition did not hold; the key's ts then, 0 absent

  bool operator==(const Operation&) const = default;
};

using History = std::vector<Operation>;

// The words of the JSON lines and of the messages.
std::string_view to_string(Function function);
std::string_view to_string(Consistency consistency);
std::string_view to_string(Outcome outcome);

// In quotes, short and on one line, whatever a key or value holds.
std::string quote(std::string_view text);

// One operation in words: `#17 s3 put "k1"="s3-17" [1000, 1900]: ok, ts 902 (n2)`. Control characters are escaped.
std::string spell(const Operation& operation);

}  // namespace kv::history
