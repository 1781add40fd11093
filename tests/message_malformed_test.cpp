// What is refused, and what is said about it: docs/protocol.md, 'Frames'. The text names the member at fault,
// and the id is there wherever it could be read.
#include <catch2/catch.hpp>
#include <cstdio>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "common/message.hpp"
#include "common/text.hpp"
#include "tests/message_frames.hpp"

namespace {

using namespace kv;
using namespace kv::message;
using namespace std::string_literals;

template <class Message>
Malformed bad(const std::variant<Message, Malformed>& decoded) {
  if (std::holds_alternative<Message>(decoded)) FAIL("was taken");
  return std::get<Malformed>(decoded);
}

struct Case {
  std::string json;
  std::optional<std::uint64_t> id;
  std::string text;
  Code code = Code::bad_request;
};

void check(const Malformed& malformed, const Case& expected) {
  INFO(escape_control(expected.json));
  CHECK(malformed.id == expected.id);
  CHECK(name_of(malformed.code) == name_of(expected.code));
  CHECK(malformed.text == expected.text);
}
void check_requests(const std::vector<Case>& cases) {
  for (const Case& one : cases) check(bad(read_request(one.json)), one);
}

constexpr const char* not_json = "the frame is not JSON: ";
const auto none = std::nullopt;

TEST_CASE("frames that are not one JSON object") {
  check_requests({
      {"", none, not_json + "The document is empty. (at byte 0)"s},
      {" ", none, not_json + "The document is empty. (at byte 1)"s},
      {"[]", none, "a message must be a JSON object"},
      {"[{\"type\":\"STATUS\",\"id\":1}]", none, "a message must be a JSON object"},
      {"null", none, "a message must be a JSON object"},
      {"true", none, "a message must be a JSON object"},
      {"1", none, "a message must be a JSON object"},
      {"\"PUT\"", none, "a message must be a JSON object"},
      {"{", none, not_json + "Missing a name for object member. (at byte 1)"s},
      {"{}{}", none, not_json + "The document root must not be followed by other values. (at byte 2)"s},
      {R"({"type":"STATUS","id":1)", 1, not_json + "Missing a comma or '}' after an object member. (at byte 23)"s},
      {R"({"type":"STATUS","id":1,})", 1, not_json + "Missing a name for object member. (at byte 24)"s},
      {R"({"type":"STATUS","id":1}x)", 1,
       not_json + "The document root must not be followed by other values. (at byte 24)"s},
      {R"({"type":"STATUS","id":1 "x":2})", 1,
       not_json + "Missing a comma or '}' after an object member. (at byte 24)"s},
      {R"({"type":"STATUS","id":01})", 0,
       not_json + "Missing a comma or '}' after an object member. (at byte 23)"s},
      {R"({"type":"STATUS","id":1,"x":NaN})", 1, not_json + "Invalid value. (at byte 28)"s},
      {R"({"type":"STATUS","id":1,'x':1})", 1, not_json + "Missing a name for object member. (at byte 24)"s},
      {R"({"type":"STATUS","id":1,/**/"x":1})", 1, not_json + "Missing a name for object member. (at byte 24)"s},
      {"{\"type\":\"STATUS\",\"id\":1,\"x\":\"a\nb\"}", 1,
       not_json + "Invalid escape character in string. (at byte 30)"s},
      {R"({"type":"STATUS","id":1,"x":"\q"})", 1, not_json + "Invalid escape character in string. (at byte 29)"s},
      {R"({"type":"STATUS","id":1,"x":"\ud800"})", 1,
       not_json + "The surrogate pair in string is invalid. (at byte 29)"s},
      {R"({"type":"STATUS","x":[1,2}, "id":1})", none,
       not_json + "Missing a comma or ']' after an array element. (at byte 25)"s},
  });
}

TEST_CASE("garbage around the object is seen, also where RapidJSON would not") {
  check_requests({
      {"{\"type\":\"STATUS\",\"id\":1}\0garbage"s, 1, "something follows the JSON object (at byte 24)"},
      {"{\"type\":\"STATUS\",\"id\":1}\0"s, 1, "something follows the JSON object (at byte 24)"},
      {"\0{\"type\":\"STATUS\",\"id\":1}"s, none, not_json + "The document is empty. (at byte 0)"s},
      {"\xef\xbb\xbf{\"type\":\"STATUS\",\"id\":1}", 1,
       "the frame begins with a byte order mark, which JSON has not"},
  });
}

TEST_CASE("text that is not UTF-8, anywhere; an id is found behind it too") {
  for (const char* bytes :
       {"\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc3", "\xe2\x82", "\xf0\x9f\x98"}) {
    const std::string wrong = bytes;
    check_requests({
        {"{\"type\":\"PUT\",\"key\":\"" + wrong + "\",\"value\":\"v\",\"id\":4}", 4,
         "the frame is not valid UTF-8"},
        {"{\"type\":\"PUT\",\"key\":\"k\",\"value\":\"" + wrong + "\",\"id\":4}", 4,
         "the frame is not valid UTF-8"},
        {"{\"type\":\"STATUS\",\"id\":4,\"x" + wrong + "\":1}", 4, "the frame is not valid UTF-8"},
        {"{\"type\":\"" + wrong + "\",\"id\":4}", 4, "the frame is not valid UTF-8"},
        {"{\"type\":\"STATUS\",\"id\":4}" + wrong, 4, "the frame is not valid UTF-8"},
    });
  }
}

// RapidJSON's validation reads on behind such an end: it must find the four zero bytes, and nothing else.
TEST_CASE("a UTF-8 sequence that is cut by the frame's end") {
  for (const char* bytes : {"\xc3", "\xe2", "\xe2\x82", "\xf0", "\xf0\x9f", "\xf0\x9f\x98"}) {
    check_requests({
        {"{\"type\":\"GET\",\"id\":4,\"key\":\""s + bytes, 4, "the frame is not valid UTF-8"},
        {bytes, none, "the frame is not valid UTF-8"},
    });
    CHECK(bad(read_answer("{\"type\":\"ERROR\",\"id\":4,\"message\":\""s + bytes)).id == 4u);
    CHECK(bad(read_peer("{\"type\":\"TIMEOUT_NOW\",\"leader\":\""s + bytes)).id == none);
  }
}

TEST_CASE("half a surrogate pair, written as an escape, is not UTF-8 either") {
  const std::string text = "a string has half of a surrogate pair, so it is not valid UTF-8";
  check_requests({
      {R"({"type":"GET","key":"\udc00","id":4})", 4, text},
      {R"({"type":"STATUS","id":4,"x":["\udfff"]})", 4, text},
      {R"({"type":"STATUS","id":4,"\udfff":1})", 4, text},
  });
}

TEST_CASE("nesting deeper than 32") {
  const auto nested = [](int depth, const std::string& open, const std::string& close) {
    std::string text;
    for (int i = 0; i < depth; ++i) text += open;
    if (open != "[") text += "1";
    for (int i = 0; i < depth; ++i) text += close;
    return text;
  };
  const std::string text = "the JSON nests deeper than 32 levels";
  check_requests({
      {R"({"type":"STATUS","id":4,"x":)" + nested(32, "[", "]") + "}", 4, text},
      {R"({"type":"STATUS","id":4,"x":)" + nested(32, "{\"a\":", "}") + "}", 4, text},
      {R"({"type":"STATUS","x":)" + nested(32, "[", "]") + ",\"id\":4}", 4, text},  // the id is found behind it
      {R"({"type":"STATUS","x":)" + nested(500, "{\"id\":", "}") + ",\"id\":4}", 4,
       text},  // and it is the right one
      {R"({"x":)" + nested(100, "[", "]") + R"(,"type":"STATUS","id":4})", 4, text},
      {"{\"x\":" + std::string(2'000'000, '['), none, text},  // at 1,000 levels the decoder gives up
      {R"({"type":"STATUS","x":)" + std::string(2'000'000, '['), none, text},
  });
}

TEST_CASE("a member that is there twice, at any level") {
  check_requests({
      {R"({"type":"STATUS","type":"STATUS","id":4})", 4, R"("type" is there twice)"},
      {R"({"type":"STATUS","id":4,"id":5})", 4, R"("id" is there twice)"},
      {R"({"type":"STATUS","id":4,"id":4})", 4, R"("id" is there twice)"},
      {R"({"type":"GET","id":4,"key":"a","key":"a"})", 4, R"("key" is there twice)"},
      {R"({"type":"GET","id":4,"key":"a","k\u0065y":"a"})", 4, R"("key" is there twice)"},
      {R"({"type":"GET","key":"a","key":"b","id":4})", 4, R"("key" is there twice)"},
      {R"({"type":"STATUS","x":1,"id":4,"x":2})", 4, "an object repeats the name of a member"},
      {R"({"type":"STATUS","x":1,"id":4,"\u0078":2})", 4, "an object repeats the name of a member"},
      {R"({"type":"STATUS","id":4,"x":{"a":1,"b":{},"a":{}}})", 4, "an object repeats the name of a member"},
      {R"({"type":"STATUS","id":4,"x":[{},{"a":[{"":1,"":1}]}]})", 4, "an object repeats the name of a member"},
      {R"({"x":{"a":1,"a":2},"type":"STATUS","id":4})", 4, "an object repeats the name of a member"},
  });
  const std::string entries =
      R"({"type":"REPLICATION","term":1,"leader":"n","prev_index":0,"prev_term":0,"commit":0,)"
      R"("round":0,"entries":[{"term":1,"index":1,"command":{"type":"NOOP","v":1@}#}]})";
  const auto text_of = [&](const std::string& command, const std::string& entry) {
    return bad(read_peer(replaced(replaced(entries, "@", command), "#", entry))).text;
  };
  CHECK(text_of(",\"v\":1", "") == R"("v" is there twice)");
  CHECK(text_of(",\"type\":\"NOOP\"", "") == R"("type" is there twice)");
  CHECK(text_of("", ",\"index\":1") == R"("index" is there twice)");
  CHECK(text_of("", ",\"type\":1,\"type\":1") == "an object repeats the name of a member");
  // One name in two objects is no repetition.
  CHECK(std::holds_alternative<Request>(read_request(R"({"type":"STATUS","id":1,"x":{"a":{"a":1},"x":2},"a":3})")));
  CHECK(std::holds_alternative<Request>(read_request(R"({"type":"STATUS","id":1,"x":[{"a":1},{"a":1}]})")));
}

TEST_CASE("half a million names in one frame are looked through in no time") {
  const auto frame_of = [](const auto& name) {
    std::string json = R"({"type":"STATUS","id":4)";
    for (int i = 0; json.size() < (4u << 20) - 40; ++i) json += ",\"" + name(i) + "\":1";
    return json + "}";
  };
  // Comparing each with each would take hours.
  CHECK(std::holds_alternative<Request>(read_request(frame_of([](int i) { return std::to_string(i); }))));
  check(bad(read_request(frame_of([](int) { return "a"s; }))), {"", 4, "an object repeats the name of a member"});
  check(bad(read_request(frame_of([](int i) { return std::to_string(i % 300'000); }))),
        {"", 4, "an object repeats the name of a member"});
}

TEST_CASE("messages without a type, an id, or of no known type") {
  check_requests({
      {"{}", none, R"(a message needs a "type")"},
      {R"({"id":4})", 4, R"(a message needs a "type")"},
      {R"({"x":{"type":"PUT"},"id":4})", 4, R"(a message needs a "type")"},
      {R"({"type":5,"id":4})", 4, R"("type" must be a string)"},
      {R"({"type":null,"id":4})", 4, R"("type" must be a string)"},
      {R"({"type":["PUT"],"id":4})", 4, R"("type" must be a string)"},
      {R"({"type":"FROB","id":4})", 4, R"(the type "FROB" is not known)"},
      {R"({"id":4,"type":"put"})", 4, R"(the type "put" is not known)"},
      {R"({"type":"","id":4})", 4, R"(the type "" is not known)"},
      {R"({"type":"\u001b[31m\n","id":4})", 4, R"(the type "\x1b[31m\n" is not known)"},
      {R"({"type":"NOOP","id":4})", 4, R"(the type "NOOP" is not known)"},
      {R"({"type":"GET","key":"k"})", none, R"(GET needs "id")"},
      {R"({"type":"STATUS"})", none, R"(STATUS needs "id")"},
      {R"({"type":"STATUS","x":{"id":5}})", none, R"(STATUS needs "id")"},
  });
  CHECK(bad(read_answer(R"({"type":"PUT_OK","key":"k","ts":1})")).text == R"(PUT_OK needs "id")");
  CHECK(bad(read_answer(R"({"type":"FROB","id":4})")).text == R"(the type "FROB" is not known)");
  CHECK(bad(read_peer(R"({"type":"FROB","id":4})")).id == 4u);
}

TEST_CASE("numbers are plain integers from 0 to 2^53-1") {
  for (const char* number : {"1.0", "1e3", "1E0", "-1", "-0", "0.5", "9007199254740992", "18446744073709551616",
                             "99999999999999999999999999", "\"1\"", "null", "true", "[1]", "{}"}) {
    const std::string text = " must be an integer from 0 to 9007199254740991";
    INFO(number);
    check_requests({
        {R"({"type":"STATUS","id":@})"s.replace(22, 1, number), none, "\"id\"" + text},
        {R"({"type":"GET","key":"k","ts":)"s + number + R"(,"id":4})", 4, "\"ts\"" + text},
        {R"({"type":"DELETE","key":"k","if_ts":)"s + number + R"(,"id":4})", 4, "\"if_ts\"" + text},
        {R"({"type":"STATUS","id":4,"timeout_ms":)"s + number + "}", 4, "\"timeout_ms\"" + text},
    });
  }
}

TEST_CASE("members that are missing or of a wrong type are named") {
  check_requests({
      {R"({"type":"PUT","id":4,"value":"v"})", 4, R"(PUT needs "key")"},
      {R"({"type":"PUT","id":4,"key":"k"})", 4, R"(PUT needs "value")"},
      {R"({"type":"PUT","id":4,"key":1,"value":"v"})", 4, R"("key" must be a string)"},
      {R"({"type":"PUT","id":4,"key":null,"value":"v"})", 4, R"("key" must be a string)"},
      {R"({"type":"PUT","id":4,"key":["k"],"value":"v"})", 4, R"("key" must be a string)"},
      {R"({"type":"PUT","id":4,"key":"k","value":null})", 4, R"("value" must be a string)"},
      {R"({"type":"PUT","id":4,"key":"k","value":7})", 4, R"("value" must be a string)"},
      {R"({"type":"PUT","id":4,"key":"k","value":{"a":1}})", 4, R"("value" must be a string)"},
      {R"({"type":"PUT","id":4,"key":"k","value_base64":true})", 4, R"("value_base64" must be a string)"},
      {R"({"type":"DELETE","id":4})", 4, R"(DELETE needs "key")"},
      {R"({"type":"GET","id":4})", 4, R"(GET needs "key")"},
      {R"({"type":"GET","id":4,"key":"k","consistency":"strong"})", 4,
       R"("consistency" must be "session", "linearizable" or "local")"},
      {R"({"type":"GET","id":4,"key":"k","consistency":1})", 4,
       R"("consistency" must be "session", "linearizable" or "local")"},
      {R"({"type":"INIT","id":4})", 4, R"(INIT needs "protocol")"},
      {R"({"type":"INIT","id":4,"protocol":"1"})", 4,
       R"("protocol" must be an integer from 0 to 9007199254740991)"},
      {R"({"type":"STATUS","id":4,"cluster":7})", 4, R"("cluster" must be a string)"},
      // The first fault is told; the id is found behind it.
      {R"({"type":"PUT","key":1,"value":2,"if_ts":-1,"id":4})", 4, R"("key" must be a string)"},
  });
}

TEST_CASE("keys and values that are empty, too large or no base64") {
  const std::string long_key(max_key_bytes + 1, 'k');
  const std::string long_value(max_value_bytes + 1, 'v');
  const std::string long_text = "\"value\" has 1048577 bytes; at most 1048576 are allowed";
  check_requests({
      {R"({"type":"GET","id":4,"key":""})", 4, R"("key" must not be empty)"},
      {R"({"type":"GET","key":")" + long_key + R"(","id":4})", 4,
       R"("key" has 4097 bytes; at most 4096 are allowed)", Code::too_large},
      {R"({"type":"PUT","key":"k","value":")" + long_value + R"(","id":4})", 4, long_text, Code::too_large},
      {R"({"type":"PUT","key":"k","value_base64":")" + base64_encode(long_value + "v") + R"(","id":4})", 4,
       R"("value_base64" has 1048578 bytes; at most 1048576 are allowed)", Code::too_large},
      {R"({"type":"PUT","id":4,"key":"k","value":"v","value_base64":"dg=="})", 4,
       R"(PUT has both "value" and "value_base64")"},
      {R"({"type":"PUT","id":4,"key":"k","value_base64":"dg="})", 4,
       R"("value_base64" is not padded base64 (RFC 4648))"},
      {R"({"type":"PUT","id":4,"key":"k","value_base64":"d_=="})", 4,
       R"("value_base64" is not padded base64 (RFC 4648))"},
  });
  CHECK(bad(read_request(R"({"type":"PUT","id":4,"key":"k","value":"123456"})", {5})).code == Code::too_large);
  CHECK(bad(read_request(R"({"type":"PUT","id":4,"key":"k","value_base64":"MTIzNDU2"})", {5})).code ==
        Code::too_large);
  // The limit is on bytes, however they are written.
  CHECK(bad(read_request(R"({"type":"PUT","id":4,"key":"k","value":"\u20ac\u20ac"})", {5})).code ==
        Code::too_large);
}

TEST_CASE("session and seq come together") {
  const std::string put = R"({"type":"PUT","id":4,"key":"k","value":"v",)";
  const std::string session = R"("session":"6ba7b810-9dad-41d1-80b4-00c04fd430c8")";
  check_requests({
      {put + session + "}", 4, R"(PUT has a part of a session's members, but lacks "seq")"},
      {put + R"("seq":1})", 4, R"(PUT has a part of a session's members, but lacks "session")"},
      {put + R"("session_from":5})", 4, R"(PUT has a part of a session's members, but lacks "session")"},
      {put + session + R"(,"seq":0})", 4, R"("seq" must be at least 1)"},
      {put + session + R"(,"seq":"1"})", 4, R"("seq" must be an integer from 0 to 9007199254740991)"},
      {put + R"("session":"mine","seq":1})", 4, R"("session" must be a UUID)"},
      {put + R"("session":7,"seq":1})", 4, R"("session" must be a string)"},
      {put + session + R"(,"seq":1,"seq":1})", 4, R"("seq" is there twice)"},
      {put + session + R"(,"seq":1,"session_from":-5})", 4,
       R"("session_from" must be an integer from 0 to 9007199254740991)"},
  });
}

TEST_CASE("messages on the wrong listener are told where they belong") {
  check_requests({
      {R"({"type":"VOTE","id":4,"term":1})", 4, "VOTE is for the peer listener: this listener is for clients"},
      {R"({"type":"FORWARD_OK"})", none, "FORWARD_OK is for the peer listener: this listener is for clients"},
      {R"({"type":"PUT_OK","id":4})", 4, "PUT_OK is an answer: a client sends requests"},
      {R"({"type":"ERROR","id":4})", 4, "ERROR is an answer: a client sends requests"},
      {R"({"type":"INIT","id":4,"protocol":1,"role":"peer","node":"n1"})", 4,
       R"(an INIT with "role":"peer" is a server's: servers connect to the peer listener)"},
  });
  for (const Case& one : std::vector<Case>{
           {R"({"type":"PUT","id":4,"key":"k","value":"v"})", 4,
            "PUT is for the client listener: this listener is for servers"},
           {R"({"type":"GET_OK","id":4})", 4, "GET_OK is for the client listener: this listener is for servers"},
           {R"({"type":"INIT","id":4,"protocol":1})", 4,
            R"(an INIT without "role":"peer" is a client's: clients connect to the client listener)"},
           {R"({"type":"INIT","id":4,"protocol":1,"role":7})", 4,
            R"(an INIT without "role":"peer" is a client's: clients connect to the client listener)"},
       }) {
    check(bad(read_peer(one.json)), one);
  }
}

TEST_CASE("what servers get wrong") {
  const std::string replication = R"({"type":"REPLICATION","term":1,"leader":"n","prev_index":0,"prev_term":0,)"
                                  R"("commit":0,"round":0,"entries":@})";
  const auto entries = [&](const std::string& json) {
    return bad(read_peer(replaced(replication, "@", json))).text;
  };
  const auto command = [&](const std::string& json) {
    return entries(R"([{"term":1,"index":1,"command":)" + json + "}]");
  };
  CHECK(entries("7") == R"("entries" must be an array of objects)");
  CHECK(entries("{}") == R"("entries" must be an array of objects)");
  CHECK(entries("[7]") == R"("entries" must be an array of objects)");
  CHECK(entries("[[]]") == R"("entries" must be an array of objects)");
  CHECK(entries("[null]") == R"("entries" must be an array of objects)");
  CHECK(entries("[{}]") == R"(an element of "entries" needs "term")");
  CHECK(entries(R"([{"term":1,"index":1}])") == R"(an element of "entries" needs "command")");
  CHECK(command("7") == R"("command" must be an object that begins with its "type")");
  CHECK(command("[]") == R"("command" must be an object that begins with its "type")");
  CHECK(command("{}") == R"("command" must begin with its "type")");
  CHECK(command(R"({"v":1,"type":"NOOP"})") == R"("command" must begin with its "type")");
  CHECK(command(R"({"type":{"type":"NOOP"},"v":1})") == R"("type" must be a string)");
  CHECK(command(R"({"type":"FROB","v":1})") == R"("command" has a "type" that is not known here: "FROB")");
  CHECK(command(R"({"type":"PUT","v":1,"key":"k"})") == R"(PUT needs "value")");
  CHECK(command(R"({"type":"PUT","v":1,"key":"","value":""})") == R"("key" must not be empty)");
  CHECK(command(R"({"type":"MEMBERS","v":1,"cluster":"c","members":[{"node":"n1"}]})") ==
        R"(an element of "members" needs "identity")");
  for (const char* version : {R"("v":2)", R"("v":"1")", R"("v":null)", R"("w":1)"}) {
    CHECK(command(R"({"type":"NOOP",)"s + version + "}") ==
          R"(the command's format version "v" is not 1, the only one this server knows: update it)");
  }
  CHECK(bad(read_peer(R"({"type":"VOTE_OK","term":1,"granted":1,"pre":false})")).text ==
        R"("granted" must be true or false)");
  CHECK(bad(read_peer(R"({"type":"FORWARD_OK","number":1,"answer":{"type":"ERROR","code":"FROB"}})")).text ==
        R"("code" must be one of the protocol's error codes)");
  CHECK(bad(read_answer(R"({"type":"GET_OK","id":1,"key":"k","value":7,"ts":1,"applied":1})")).text ==
        R"("value" must be a string or null)");
}

// ---- No input harms ------------------------------------------------------------------------------------

const std::vector<std::string>& good_frames() {
  static const std::vector<std::string> frames{
      R"({"type":"INIT","id":1,"protocol":1,"client":"kvctl 1.0.0"})",
      R"({"type":"PUT","id":2,"key":"col\u00f6ur","value":"b\nlue","session":"6ba7b810-9dad-41d1-80b4-00c04fd430c8","seq":1})",
      R"({"id":2,"key":"colour","value_base64":"Ymx1ZQ==","type":"PUT"})",
      R"({"type":"GET_OK","id":3,"key":"k","value":null,"ts":0,"applied":61,"node":"n3","x":[{"y":[1,2.5e3]},"😀"]})",
      R"({"type":"INIT_OK","id":1,"protocol":1,"cluster":"c","node":"n1","applied":5,"members":[{"node":"n","address":"a"}]})",
      R"({"type":"REPLICATION","term":2,"leader":"n1","prev_index":5,"prev_term":1,"entries":[{"term":2,"index":6,)"
      R"("command":{"type":"NOOP","v":1}},{"term":2,"index":7,"command":{"type":"PUT","v":1,"key":"k","value":"v"}}],)"
      R"("commit":4,"round":9})",
      R"({"type":"FORWARD","number":7,"term":2,"timeout_ms":1,"request":{"type":"DELETE","key":"k"}})",
  };
  return frames;
}

// All three decoders; what they say does not matter, but they must say something.
int count_taken(std::string_view json) {
  const Frame frame(json);
  return static_cast<int>(std::holds_alternative<Request>(decode_request(frame.body()))) +
         static_cast<int>(std::holds_alternative<Answer>(decode_answer(frame.body()))) +
         static_cast<int>(std::holds_alternative<Peer>(decode_peer(frame.body())));
}

TEST_CASE("a message that is cut is refused, wherever it is cut") {
  for (const std::string& frame : good_frames()) {
    INFO(frame);
    CHECK(count_taken(frame) == 1);
    for (std::size_t size = 0; size < frame.size(); ++size) CHECK(count_taken(frame.substr(0, size)) == 0);
  }
}

TEST_CASE("damaged messages do no damage") {
  std::mt19937 random(GENERATE(1u, 2u, 3u, 4u));
  static const std::string bytes = "{}[]\":,\\u0123456789dDeE.+-ntf \0\xff\xc3\xf0\x9f"s;
  for (int i = 0; i < 5000; ++i) {
    std::string frame = good_frames()[random() % good_frames().size()];
    for (std::size_t n = random() % 4 + 1; n > 0; --n) {
      const std::size_t at = random() % frame.size();
      switch (random() % 4) {
        case 0:
          frame[at] = bytes[random() % bytes.size()];
          break;
        case 1:
          frame.insert(at, 1, bytes[random() % bytes.size()]);
          break;
        case 2:
          frame.erase(at, 1);
          break;
        default:  // a piece of it again
          frame.insert(at, frame.substr(random() % frame.size(), random() % 30));
      }
      if (frame.empty()) frame = "{";
    }
    CHECK(count_taken(frame) <= 2);
  }
}

TEST_CASE("LISTs, TXNs and WATCHes that are not whole") {
  const std::string long_key(max_key_bytes + 1, 'k');
  std::string many = R"({"op":"GET","key":"k"})";
  for (std::size_t i = 0; i < max_txn_operations; ++i) many += R"(,{"op":"GET","key":"k"})";
  check_requests({
      {R"({"type":"LIST","id":1,"limit":0})", 1, "\"limit\" must be at least 1"},
      {R"({"type":"LIST","id":1,"prefix":")" + long_key + R"("})", 1,
       "\"prefix\" has 4097 bytes; at most 4096 are allowed", Code::too_large},
      {R"({"type":"LIST","id":1,"keys_only":1})", 1, "\"keys_only\" must be true or false"},
      {R"({"type":"TXN","id":1,"then":[{"op":"PUT","key":"k"}]})", 1, "a PUT in a TXN needs \"value\""},
      {R"({"type":"TXN","id":1,"then":[{"op":"POST","key":"k"}]})", 1,
       "\"op\" must be \"PUT\", \"DELETE\" or \"GET\""},
      {R"({"type":"TXN","id":1,"then":[{"op":"GET","key":""}]})", 1, "\"key\" must not be empty"},
      {R"({"type":"TXN","id":1,"then":[{"key":"k"}]})", 1, "an element of \"then\" needs \"op\""},
      {R"({"type":"TXN","id":1,"if":[{"key":"k"}]})", 1, "an element of \"if\" needs \"ts\""},
      {R"({"type":"TXN","id":1,"if":[1]})", 1, "\"if\" must be an array of objects"},
      {R"({"type":"TXN","id":1,"else":[)" + many + "]}", 1, "\"else\" has more than 128 elements"},
      {R"({"type":"TXN","id":1,"session":"s"})", 1, "\"session\" must be a UUID"},
      {R"({"type":"WATCH","id":1})", 1, "WATCH needs \"key\" or \"prefix\", and not both"},
      {R"({"type":"WATCH","id":1,"key":"k","prefix":"p"})", 1, "WATCH needs \"key\" or \"prefix\", and not both"},
      {R"({"type":"WATCH","id":1,"key":""})", 1, "\"key\" must not be empty"},
      {R"({"type":"CANCEL","id":1})", 1, "CANCEL needs \"watch\""},
      {R"({"type":"GET","id":1,"key":"k","newer_than":-1})", 1,
       "\"newer_than\" must be an integer from 0 to 9007199254740991"},
  });
}

}  // namespace
