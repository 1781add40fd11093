// The script of `txn`.
#include <catch2/catch.hpp>

#include "client/txn_script.hpp"

using namespace kv;
using namespace kv::client;
using message::Operation;

namespace {

message::Txn good(std::string_view script) {
  auto parsed = parse_txn(script);
  if (const auto* problem = std::get_if<ScriptProblem>(&parsed)) FAIL(problem->text);
  return std::get<message::Txn>(parsed);
}
std::string wrong(std::string_view script) {
  const auto parsed = parse_txn(script);
  const auto* problem = std::get_if<ScriptProblem>(&parsed);
  return problem ? problem->text : "taken";
}

}  // namespace

TEST_CASE("txn script: conditions, then, else") {
  const message::Txn expected{{{"lock", 0}, {"job", 58}},
                              {{Operation::put, "lock", "me"}, {Operation::erase, "job", {}}},
                              {{Operation::get, "lock", {}}},
                              {}};
  CHECK(good("if lock absent\nif job 58\nput lock me\ndel job\nelse\nget lock\n") == expected);
  CHECK(good("if lock 0; if job 58; then; put lock me; del job; else; get lock") == expected);
  CHECK(good("# a comment\n\n  if lock absent ;if job 58;;put lock me;del job;else;get lock;") == expected);
}

TEST_CASE("txn script: words as in the shell, and what parts lines parts nothing in quotes") {
  CHECK(good("put k 'a; b'").then[0].value == "a; b");
  CHECK(good("put k \"a\nb\"").then[0].value == "a\nb");
  CHECK(good("put k a\\;b").then[0].value == "a;b");
  CHECK(good("put k 'it is'\\''s'; get k").then.size() == 2);
  CHECK(good("put k ''").then[0].value == "");
}

TEST_CASE("txn script: what is wrong, and in which line") {
  CHECK(wrong("") == "there is nothing to do in the script: write put, del or get lines");
  CHECK(wrong("if k 1") == "there is nothing to do in the script: write put, del or get lines");
  CHECK(wrong("get k\nif k 1") == "line 2: if comes after what is to be done: conditions come first");
  CHECK(wrong("if k") == "line 1: write: if KEY TS, or: if KEY absent");
  CHECK(wrong("if k now; get k") == "line 1: \"now\" is no timestamp, nor absent");
  CHECK(wrong("put k") == "line 1: write: put KEY VALUE");
  CHECK(wrong("\nget a b") == "line 2: write: get KEY");
  CHECK(wrong("delete k") == "line 1: \"delete\" is none of if, then, else, put, del, get");
  CHECK(wrong("get k; else; get j") == "line 2: else without a condition would never be done");
  CHECK(wrong("if k 1; get k; else; get k; else") == "line 5: else comes twice");
  CHECK(wrong("get k; then") == "line 2: then comes too late");
  CHECK(wrong("get ''") == "line 1: the key is empty");
  CHECK(wrong("get 'k") == "line 1: the quote ' is not closed");
  std::string many;
  for (int i = 0; i < 129; ++i) many += "get k\n";
  CHECK(wrong(many) == "line 129: more than 128 operations");
}
