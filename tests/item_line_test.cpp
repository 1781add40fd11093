// Items as lines of JSON: what is read as one, and what is said of all else.
#include "common/item_line.hpp"

#include <catch2/catch.hpp>

using namespace kv;
using Catch::Matchers::Contains;

namespace {

std::string read_line(const std::string& line) {
  const auto parsed = parse_item_line(line);
  if (const auto* problem = std::get_if<ItemLineProblem>(&parsed)) return "problem: " + problem->text;
  const ItemLine& item = std::get<ItemLine>(parsed);
  return item.key + " = " + item.value;
}

}  // namespace

TEST_CASE("item line: a key and a value, and whatever else there may be") {
  CHECK(read_line(R"({"key":"a","value":"b"})") == "a = b");
  CHECK(read_line(" {\"value\" : \"b\\u00e4\\n\" ,\"key\":\"\\\"\"}\r") == "\" = bä\n");
  CHECK(read_line(R"({"key":"a","value_base64":"/wA=","ts":58})") == std::string("a = \xff\0", 6));
  CHECK(read_line(R"({"ts":"now","id":{"key":[1e9,null]},"type":7,"key":"a","x":[{"value":1}],"value":""})") ==
        "a = ");
}

TEST_CASE("item line: what is none, and why") {
  CHECK_THAT(read_line(""), Contains("not JSON"));
  CHECK_THAT(read_line("colour=blue"), Contains("not JSON"));
  CHECK_THAT(read_line("{\"key\":\"a\",\"value\":\"b\""), Contains("not JSON"));
  CHECK_THAT(read_line(R"({"key":"a","value":"b"} {})"), Contains("something follows") || Contains("not JSON"));
  CHECK_THAT(read_line("[]"), Contains("a list"));
  CHECK_THAT(read_line("7"), Contains("no JSON object"));
  CHECK_THAT(read_line("\"a\""), Contains("no JSON object"));
  CHECK_THAT(read_line(R"({"value":"b"})"), Contains("\"key\" is missing"));
  CHECK_THAT(read_line(R"({"key":"a"})"), Contains("\"value\" is missing"));
  CHECK_THAT(read_line(R"({"key":"","value":"b"})"), Contains("the key is empty"));
  CHECK_THAT(read_line(R"({"key":7,"value":"b"})"), Contains("\"key\" must be a string"));
  CHECK_THAT(read_line(R"({"key":"a","value":null})"), Contains("the value must be a string"));
  CHECK_THAT(read_line(R"({"key":"a","value":{}})"), Contains("the value must be a string"));
  CHECK_THAT(read_line(R"({"key":"a","value":"b","value_base64":"Yg=="})"), Contains("two values"));
  CHECK_THAT(read_line(R"({"key":"a","key":"b","value":"b"})"), Contains("twice"));
  CHECK_THAT(read_line(R"({"key":"a","value_base64":"Yg"})"), Contains("base64"));
  CHECK_THAT(read_line("{\"key\":\"\xff\",\"value\":\"b\"}"), Contains("not valid UTF-8"));
  CHECK_THAT(read_line(R"({"key":"\udc00","value":"b"})"), Contains("surrogate"));
  CHECK_THAT(read_line("{\"key\":\"" + std::string(4097, 'k') + "\",\"value\":\"b\"}"), Contains("4097 bytes"));
  CHECK_THAT(read_line("{\"key\":\"a\",\"value\":\"" + std::string((1 << 20) + 1, 'v') + "\"}"),
             Contains("1048577 bytes"));
  CHECK_THAT(read_line("{\"x\":" + std::string(100'000, '[')), Contains("deeper"));
}
