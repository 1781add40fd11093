// Histories as they are recorded: rule `answers`, and JSON lines.
#include <catch2/catch.hpp>

#include "tests/checkers/generate.hpp"
#include "tests/checkers/history_json.hpp"
#include "tests/checkers/notation.hpp"

using namespace kv::history;

namespace {

// A line of JSON: of process 1 and key k, if nothing else is said.
std::string line(int index, int op, const std::string& type, const std::string& rest = "") {
  return "{\"index\":" + std::to_string(index) + ",\"time\":" + std::to_string(100 + index) +
         ",\"process\":1,\"op\":" + std::to_string(op) + ",\"type\":\"" + type +
         "\",\"f\":\"put\",\"key\":\"k\",\"value\":\"v" + std::to_string(op) + "\"" + rest + "}\n";
}

std::vector<Event> events_of(const std::string& text) {
  const auto parsed = parse(text);
  if (const auto* problem = std::get_if<Unreadable>(&parsed)) FAIL(problem->problem);
  return std::get<std::vector<Event>>(parsed);
}

// "answers 2 0": of the only violation the rule and the events; all rules if there are more.
std::string verdict(const std::string& text) {
  const std::vector<Violation> violations = check(events_of(text));
  std::string out;
  for (const Violation& violation : violations) {
    out += (out.empty() ? "" : "; ") + std::string(to_string(violation.rule));
    for (const std::uint64_t index : violation.operations) out += " " + std::to_string(index);
  }
  return out;
}

std::string problem_of(const std::string& text) {
  const auto parsed = parse(text);
  const auto* problem = std::get_if<Unreadable>(&parsed);
  return problem ? problem->problem : "none";
}

std::string replaced(std::string text, const std::string& what, const std::string& by) {
  const std::size_t at = text.find(what);
  if (at == std::string::npos) FAIL(what << " is not in " << text);
  return text.replace(at, what.size(), by);
}

}  // namespace

TEST_CASE("answers: one for each operation") {
  CHECK(verdict(line(0, 0, "invoke") + line(1, 0, "ok", ",\"ts\":3")) == "");
  CHECK(verdict(line(0, 0, "invoke") + line(1, 1, "invoke") + line(2, 1, "info") + line(3, 0, "fail")) == "");
  CHECK(verdict(line(0, 0, "invoke")) == "answers 0");
  CHECK(verdict(line(0, 0, "ok", ",\"ts\":3")) == "answers 0");
  CHECK(verdict(line(0, 0, "invoke") + line(1, 0, "ok", ",\"ts\":3") + line(2, 0, "ok", ",\"ts\":3")) ==
        "answers 2 1");
  CHECK(verdict(line(0, 0, "invoke") + line(1, 0, "info") + line(2, 0, "fail")) == "answers 2 1");
  CHECK(verdict(line(0, 0, "invoke") + line(1, 0, "invoke") + line(2, 0, "info")) == "answers 1 0");
  CHECK(verdict(line(0, 0, "info") + line(1, 0, "invoke")) == "answers 0; answers 1 0");
}

TEST_CASE("answers: time and index do not go back") {
  const std::string good = line(0, 0, "invoke") + line(1, 0, "info");
  CHECK(verdict(good) == "");
  CHECK(verdict(replaced(good, "\"time\":101", "\"time\":100")) == "");
  CHECK(verdict(replaced(good, "\"time\":101", "\"time\":99")) == "answers 1 0");
  CHECK(verdict(replaced(good, "\"index\":1", "\"index\":0")) == "answers 0 0");
}

TEST_CASE("answers: to what was asked") {
  const std::string begin = line(0, 0, "invoke", ",\"if_ts\":4");
  const std::string end = line(1, 0, "info", ",\"if_ts\":4");
  CHECK(verdict(begin + end) == "");
  CHECK(verdict(begin + replaced(end, "\"key\":\"k\"", "\"key\":\"j\"")) == "answers 1 0");
  CHECK(verdict(begin + replaced(end, "\"v0\"", "\"v1\"")) == "answers 1 0");
  CHECK(verdict(begin + replaced(end, "\"if_ts\":4", "\"if_ts\":5")) == "answers 1 0");
  CHECK(verdict(begin + replaced(end, ",\"if_ts\":4", "")) == "answers 1 0");
  CHECK(verdict(begin + replaced(end, "\"process\"", "\"session\":\"s\",\"process\"")) == "answers 1 0");
  CHECK(verdict(begin + replaced(end, "\"f\":\"put\",\"key\":\"k\",\"value\":\"v0\"",
                                 "\"f\":\"delete\",\"key\":\"k\"")) == "answers 1 0");
}

TEST_CASE("answers: the message names the events") {
  const std::vector<Violation> violations =
      check(events_of(line(0, 7, "invoke") + line(1, 7, "info") + line(2, 7, "fail")));
  REQUIRE(violations.size() == 1);
  CHECK(violations[0].message ==
        "a second answer: event 2, fail of process 1's operation 7, put \"k\"; "
        "event 1, info of process 1's operation 7, put \"k\"");
}

TEST_CASE("events: the order of the lines tells what came first, where the time does not") {
  const auto at_one_time = [](std::string text) {
    for (const char* time : {"101", "102", "103"}) text = replaced(text, time, "100");
    return text;
  };
  const std::string second_overlaps =
      line(0, 0, "invoke") + line(1, 1, "invoke") + line(2, 0, "ok", ",\"ts\":6") + line(3, 1, "ok", ",\"ts\":5");
  CHECK(verdict(at_one_time(second_overlaps)) == "");
  const std::string second_follows =
      line(0, 0, "invoke") + line(1, 0, "ok", ",\"ts\":6") + line(2, 1, "invoke") + line(3, 1, "ok", ",\"ts\":5");
  CHECK(verdict(at_one_time(second_follows)) == "positions 1 0; linearizability 0 1");
}

TEST_CASE("json lines: what is written is read again") {
  Random random(5);
  for (int i = 0; i < 200; ++i) {
    Shape shape;
    shape.operations = random.below(60);
    shape.info_percent = 20;
    History history = generate(random, shape);
    for (Operation& operation : history) operation.node = random.percent(50) ? "n1" : "";
    const std::vector<Event> events = to_events(history);
    REQUIRE(check_events(events).empty());
    const std::vector<Event> again = events_of(write(history));
    REQUIRE(again.size() == events.size());
    const History read = to_history(again);
    REQUIRE(read == to_history(events));
    REQUIRE(read.size() == history.size());
    for (std::size_t k = 0; k < read.size(); ++k) {
      Operation operation = read[k];
      operation.invoked = history[k].invoked;
      operation.ended = history[k].ended;
      operation.number = history[k].number;
      REQUIRE(spell(operation) == spell(history[k]));
    }
    REQUIRE(check(again).empty());
  }
}

TEST_CASE("json lines: all members, in the documented form") {
  const std::string text =
      R"({"index":0,"time":1000,"process":3,"session":"s3","op":17,"node":"n2","type":"invoke","f":"put","key":"k1","value":"s3-17"})"
      "\n\n"
      R"({"index":1,"time":1900,"process":3,"session":"s3","op":17,"node":"n2","type":"ok","f":"put","key":"k1","value":"s3-17","ts":902})"
      "\r\n"
      R"({"index":2,"time":2000,"process":4,"op":0,"node":"n9","type":"invoke","f":"get","key":"k1","consistency":"local","asked_ts":5,"more":[{"index":1}]})"
      "\n"
      R"({"index":3,"time":2000,"process":4,"op":0,"type":"ok","f":"get","key":"k1","consistency":"local","asked_ts":5,"read":null,"ts":0,"applied":18446744073709551615})"
      "\n"
      R"({"index":4,"time":2000,"process":4,"op":1,"type":"invoke","f":"delete","key":"\u0000k\"","if_ts":0})"
      "\n"
      R"({"index":5,"time":2000,"process":4,"op":1,"type":"fail","f":"delete","key":"\u0000k\"","if_ts":0,"conflict":7})";
  const History history = to_history(events_of(text));
  REQUIRE(history.size() == 3);
  CHECK(spell(history[0]) == "#0 s3 put \"k1\"=\"s3-17\" [0, 1]: ok, ts 902 (n2)");
  CHECK(spell(history[1]) ==
        "#1 local get \"k1\" asking for 5 [2, 3]: ok, absent, applied 18446744073709551615 (n9)");
  CHECK(spell(history[2]) == "#2 delete \"\\x00k\\x22\" if_ts 0 [4, 5]: fail, conflict, ts 7");
  CHECK(history[2].key == std::string("\0k\"", 3));
}

TEST_CASE("json lines: what can't be read is refused, with its line and why") {
  const std::string good = line(0, 0, "invoke");
  CHECK(problem_of(good) == "none");
  CHECK(problem_of("") == "none");
  CHECK(problem_of(good + "\n{\"index\":") == "line 3: not JSON: Invalid value. (at byte 9)");
  CHECK(problem_of(good + "7") == "line 2: not an object");
  CHECK(problem_of("[1]") == "line 1: not an object");
  CHECK(problem_of("{} {}") ==
        "line 1: not JSON: The document root must not be followed by other values. (at byte 3)");
  CHECK(problem_of(replaced(good, ",\"op\":0", "")) == "line 1: no \"op\"");
  CHECK(problem_of(replaced(good, ",\"value\":\"v0\"", "")) == "line 1: no \"value\"");
  CHECK(problem_of(replaced(good, "\"op\":0", "\"op\":0,\"op\":0")) == "line 1: \"op\" stands there twice");
  CHECK(problem_of(replaced(good, "\"op\":0", "\"op\":\"0\"")) == "line 1: \"op\" is no integer from 0 to 2^64-1");
  CHECK(problem_of(replaced(good, "\"op\":0", "\"op\":-1")) == "line 1: \"op\" is no integer from 0 to 2^64-1");
  CHECK(problem_of(replaced(good, "\"op\":0", "\"op\":1.0")) == "line 1: \"op\" is no integer from 0 to 2^64-1");
  CHECK(problem_of(replaced(good, "\"op\":0", "\"op\":18446744073709551616")) ==
        "line 1: \"op\" is no integer from 0 to 2^64-1");
  CHECK(problem_of(replaced(good, "\"k\"", "7")) == "line 1: \"key\" is no string");
  CHECK(problem_of(replaced(good, "invoke", "begin")) == "line 1: \"type\" is \"begin\", which is no such thing");
  CHECK(problem_of(replaced(good, "\"put\"", "\"cas\"")) == "line 1: \"f\" is \"cas\", which is no such thing");
  CHECK(problem_of(line(0, 0, "ok")) == "line 1: no \"ts\"");
  CHECK(problem_of(line(0, 0, "invoke", ",\"ts\":4")) == "line 1: \"ts\" does not belong to the invoke of a put");
  CHECK(problem_of(line(0, 0, "info", ",\"conflict\":4")) ==
        "line 1: \"conflict\" does not belong to the info of a put");
  CHECK(problem_of(line(0, 0, "ok", ",\"ts\":4,\"found\":true")) ==
        "line 1: \"found\" does not belong to the ok of a put");
  CHECK(problem_of(replaced(good, "v0", "v\xc3")) ==
        "line 1: not JSON: Invalid encoding in string. (at byte " + std::to_string(good.find("v0") + 1) + ")");
  CHECK(problem_of(good + std::string("{\0}", 3)) == "line 2: a zero byte");
  CHECK(problem_of(std::string(100'000, '[')) == "line 1: not an object");
  CHECK(problem_of("{\"a\":" + std::string(100'000, '[')).substr(0, 16) == "line 1: not JSON");
}
