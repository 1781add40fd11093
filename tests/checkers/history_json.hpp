// Histories as JSON lines: one event a line, in the order in which they happened. Blank lines are skipped.
//
//   {"index":0,"time":1000,"process":3,"session":"s3","op":17,"node":"n2","type":"invoke","f":"put","key":"k1",
//    "value":"s3-17"}
//   {"index":1,"time":1900,"process":3,"session":"s3","op":17,"node":"n2","type":"ok","f":"put","key":"k1",
//    "value":"s3-17","ts":902}                                              (a line each; broken here to be read)
//
// | member        | in                       | what                                                              |
// | index         | all                      | grows from line to line                                           |
// | time          | all                      | any clock, in any unit; does not go back                          |
// | process, op   | all                      | which operation: unique in the file                               |
// | type          | all                      | "invoke", "ok", "fail", "info"                                    |
// | f             | all                      | "put", "delete", "get"                                            |
// | key           | all                      |                                                                   |
// | session       | all; default ""          | whose memory of timestamps it used; "": nobody's                  |
// | node          | all; default ""          | who was asked, or who answered                                    |
// | value         | put                      | what to write; unique in the file                                 |
// | if_ts         | put, delete              | the condition, where there is one                                 |
// | consistency   | get; default "session"   | "session", "linearizable", "local"                                |
// | asked_ts      | get; default 0           | the position that the answer must not be behind                   |
// | ts            | ok                       | of the write; of the value that was read, 0 if it was absent      |
// | found         | ok of a delete           | whether the key was there                                         |
// | read          | ok of a get              | the value, or null: absent                                        |
// | applied       | ok of a get              | how far the server was                                            |
// | conflict      | fail of a put or delete  | the condition did not hold: the key's ts, 0 if it was absent      |
//
// Numbers are integers from 0 to 2^64-1. Members that do not belong to the kind of line are errors where they
// are named above, and ignored where they are not ("error":"TIMEOUT"). Text is UTF-8: write() passes it on as it
// is, and parse() refuses what is not.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tests/checkers/events.hpp"

namespace kv::history {

struct Unreadable {
  std::size_t line = 0;  // from 1
  std::string problem;   // "line 3: no \"key\""
};

std::variant<std::vector<Event>, Unreadable> parse(std::string_view text);

std::string write(const std::vector<Event>& events);
std::string write(const History& history);  // with to_events()

}  // namespace kv::history
