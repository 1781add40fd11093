// The messages on the wire: the examples of docs/protocol.md to the letter, every other message, values, limits,
// and everything there and back. What is refused is in message_malformed_test.cpp.
#include "common/message.hpp"

#include <catch2/catch.hpp>
#include <random>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "common/message_usual.hpp"
#include "common/text.hpp"
#include "tests/message_frames.hpp"

namespace {

using namespace kv;
using namespace kv::message;
using namespace std::string_literals;

constexpr const char* uuid = "6ba7b810-9dad-41d1-80b4-00c04fd430c8";

auto& body_of(Request& request) {
  return request.body;
}
auto& body_of(Answer& answer) {
  return answer.body;
}
auto& body_of(Peer& peer) {
  return peer;
}

// Whether the text is read where it stands, without a parser.
template <class Message>
bool is_usual(std::string_view text) {
  const Frame frame(text);
  Message message;
  std::optional<std::uint64_t> id;
  return UsualReader(frame.body(), text.size()).read(message, body_of(message), id);
}

// `text` is what encode() writes, and it is read as the same again: also behind a space, with which it is not
// usual.
template <class Message, class Read>
void check(const std::string& text, const Message& message, Read read) {
  INFO(text);
  CHECK(json_of(message) == text);
  CHECK(good(read(text)) == message);
  CHECK(good(read(' ' + text)) == message);
  const bool left_to_the_parser = text.find('\\') != text.npos || text.find("\"value_base64\"") != text.npos;
  CHECK(is_usual<Message>(text) != left_to_the_parser);
  CHECK_FALSE(is_usual<Message>(' ' + text));
}
void check_request(const std::string& text, const Request& request) {
  check(text, request, [](std::string_view json) { return read_request(json); });
}
void check_answer(const std::string& text, const Answer& answer) {
  check(text, answer, read_answer);
}
void check_peer(const std::string& text, const Peer& peer) {
  check(text, peer, read_peer);
}

template <class Body>
Request request(std::uint64_t id, Body body) {
  Request request;
  request.id = id;
  request.body = std::move(body);
  return request;
}
template <class Body>
Answer answer(std::optional<std::uint64_t> id, Body body) {
  Answer answer;
  answer.id = id;
  answer.body = std::move(body);
  return answer;
}

TEST_CASE("the protocol's example of INIT") {
  check_request(R"({"type":"INIT","id":1,"protocol":1,"client":"kvctl 1.0.0"})",
                request(1, Init{1, "kvctl 1.0.0"}));
  check_answer(replaced(R"({"type":"INIT_OK","id":1,"protocol":1,"server":"kvd 1.0.0","cluster":"<uuid>",)"
                        R"("node":"n1","leader":"n2","applied":57,)"
                        R"("members":[{"node":"n1","address":"127.0.0.1:7401"}]})",
                        "<uuid>", uuid),
               answer(1, InitOk{1, "kvd 1.0.0", uuid, "n1", "n2", 57, {{"n1", "127.0.0.1:7401"}}}));
}

TEST_CASE("the protocol's example of PUT") {
  check_request(R"({"type":"PUT","id":2,"key":"colour","value":"blue"})",
                request(2, Put{"colour", "blue", {}, {}}));
  check_answer(R"({"type":"PUT_OK","id":2,"key":"colour","ts":58})", answer(2, PutOk{"colour", 58}));
}

TEST_CASE("the protocol's examples of GET") {
  check_request(R"({"type":"GET","id":3,"key":"colour","ts":58})",
                request(3, Get{"colour", 58, Consistency::session}));
  check_answer(R"({"type":"GET_OK","id":3,"key":"colour","value":"blue","ts":58,"applied":61,"node":"n3"})",
               answer(3, GetOk{"colour", "blue", 58, 61, "n3"}));
  check_answer(R"({"type":"WAIT_FOR_RESPONSE","id":3,"key":"colour","ts":58,"applied":41,"node":"n3"})",
               answer(3, WaitForResponse{"colour", 58, 41, "n3"}));
  // A key that is absent.
  check_answer(R"({"type":"GET_OK","id":3,"key":"colour","value":null,"ts":0,"applied":61,"node":"n3"})",
               answer(3, GetOk{"colour", std::nullopt, 0, 61, "n3"}));
}

TEST_CASE("LIST and its answer") {
  check_request(R"({"type":"LIST","id":1})", request(1, List{}));
  check_request(R"({"type":"LIST","id":1,"prefix":"a/","after":"a/k","limit":100,"keys_only":true,"ts":58,)"
                R"("consistency":"local"})",
                request(1, List{"a/", "a/k", 100, true, 58, Consistency::local}));
  check_answer(R"({"type":"LIST_OK","id":1,"items":[],"more":false,"applied":61,"node":"n3"})",
               answer(1, ListOk{{}, false, 61, "n3"}));
  check_answer(
      R"({"type":"LIST_OK","id":1,"items":[{"key":"a","value":"v","ts":7},{"key":"b","value_base64":"/w==",)"
      R"("ts":8},{"key":"c","ts":9}],"more":true,"applied":61,"node":"n3"})",
      answer(1, ListOk{{{"a", "v", 7}, {"b", "\xff", 8}, {"c", {}, 9}}, true, 61, "n3"}));
  // Not the key of a GET: the wait is a LIST's.
  check_answer(R"({"type":"WAIT_FOR_RESPONSE","id":1,"ts":58,"applied":41,"node":"n3"})",
               answer(1, WaitForResponse{"", 58, 41, "n3"}));
}

TEST_CASE("TXN and its answer") {
  check_request(R"({"type":"TXN","id":1})", request(1, Txn{}));
  check_request(
      replaced(
          R"({"type":"TXN","id":1,"if":[{"key":"a","ts":7},{"key":"b","ts":0}],)"
          R"("then":[{"op":"PUT","key":"a","value":"v"},{"op":"DELETE","key":"b"}],"else":[{"op":"GET","key":"a"}],)"
          R"("session":"<uuid>","seq":3,"session_from":57})",
          "<uuid>", uuid),
      request(1, Txn{{{"a", 7}, {"b", 0}},
                     {{Operation::put, "a", "v"}, {Operation::erase, "b", {}}},
                     {{Operation::get, "a", {}}},
                     WriteSession{uuid, 3, 57}}));
  check_answer(R"({"type":"TXN_OK","id":1,"ts":9,"succeeded":true,"results":[{"op":"PUT","key":"a","ts":9},)"
               R"({"op":"DELETE","key":"b","ts":9,"found":true},{"op":"GET","key":"a","value":"v","ts":9},)"
               R"({"op":"GET","key":"b","value":null,"ts":0}]})",
               answer(1, TxnOk{9,
                               true,
                               {{Operation::put, "a", {}, 9, false},
                                {Operation::erase, "b", {}, 9, true},
                                {Operation::get, "a", "v", 9, false},
                                {Operation::get, "b", {}, 0, false}}}));
  check_answer(R"({"type":"TXN_OK","id":1,"ts":9,"succeeded":false,"results":[]})", answer(1, TxnOk{9, false, {}}));
}

TEST_CASE("WATCH, its EVENTs and CANCEL") {
  check_request(R"({"type":"WATCH","id":1,"key":"k"})", request(1, Watch{"k", {}, {}}));
  check_request(R"({"type":"WATCH","id":1,"prefix":"","from_ts":0})", request(1, Watch{{}, "", 0}));
  check_request(R"({"type":"CANCEL","id":2,"watch":1})", request(2, Cancel{1}));
  check_answer(R"({"type":"WATCH_OK","id":1,"applied":61,"node":"n3"})", answer(1, WatchOk{61, "n3"}));
  check_answer(R"({"type":"CANCEL_OK","id":2,"watch":1,"found":true})", answer(2, CancelOk{1, true}));
  check_answer(R"({"type":"EVENT","id":1,"op":"PUT","key":"k","value":"v","ts":62})",
               answer(1, Event{Operation::put, "k", "v", 62, false}));
  check_answer(R"({"type":"EVENT","id":1,"op":"DELETE","key":"k","value":null,"ts":63,"more":true})",
               answer(1, Event{Operation::erase, "k", {}, 63, true}));
  check_answer(R"({"type":"ERROR","id":1,"code":"COMPACTED","message":"m","oldest":58})",
               answer(1, Error{Code::compacted, "m", {}, {}, {}, {}, 58}));
}

TEST_CASE("an EVENT for many is encoded once, and each gets it with its own id") {
  for (const Event& event :
       {Event{Operation::put, "k", "v\n\xff", 62, false}, Event{Operation::erase, "k", {}, 63, false}}) {
    const SharedEvent shared{std::make_shared<SharedEvent::Once>(SharedEvent::Once{event, {}}), false};
    SharedEvent with_more = shared;
    with_more.more = true;
    Event more = event;
    more.more = true;
    CHECK(good(read_answer(json_of(answer(7, shared)))) == answer(7, event));
    CHECK_FALSE(shared.once->json.empty());
    CHECK(good(read_answer(json_of(answer(max_integer, with_more)))) == answer(max_integer, more));
    CHECK(good(read_answer(json_of(answer(0, shared)))) == answer(0, event));
  }
}

TEST_CASE("requests with all their members") {
  Request put = request(4, Put{"k", "v", 7, WriteSession{uuid, 1, 57}});
  put.timeout_ms = 250;
  put.cluster = uuid;
  check_request(replaced(R"({"type":"PUT","id":4,"key":"k","value":"v","if_ts":7,"session":"<uuid>","seq":1,)"
                         R"("session_from":57,"timeout_ms":250,"cluster":"<uuid>"})",
                         "<uuid>", uuid),
                put);
  check_request(
      replaced(R"({"type":"DELETE","id":5,"key":"k","if_ts":0,"session":"<uuid>","seq":2})", "<uuid>", uuid),
      request(5, Delete{"k", 0, WriteSession{uuid, 2, 0}}));
  check_request(R"({"type":"GET","id":6,"key":"k","ts":1,"consistency":"linearizable"})",
                request(6, Get{"k", 1, Consistency::linearizable}));
  check_request(R"({"type":"GET","id":6,"key":"k","consistency":"local"})",
                request(6, Get{"k", 0, Consistency::local}));
  check_request(R"({"type":"GET","id":6,"key":"k","newer_than":0})",
                request(6, Get{"k", 0, Consistency::session, 0}));
  check_request(R"({"type":"STATUS","id":9007199254740991})", request(max_integer, Status{}));
  check_request(R"({"type":"BACKUP","id":7})", request(7, Backup{}));
  check_request(R"({"type":"BACKUP","id":7,"ts":9})", request(7, Backup{9, 0, 0}));
  check_request(R"({"type":"BACKUP","id":7,"snapshot":57,"offset":131072})", request(7, Backup{0, 57, 131072}));
}

TEST_CASE("the other answers") {
  check_answer(R"({"type":"BACKUP_OK","id":1,"snapshot":57,"offset":4,"size":8,"value":"abcd","node":"n1"})",
               answer(1, BackupOk{57, 4, 8, "abcd", "n1"}));
  check_answer(R"({"type":"DELETE_OK","id":1,"key":"k","ts":9,"found":false})", answer(1, DeleteOk{"k", 9, false}));
  StatusOk status{"n1", uuid, "leader", 3,     "n1", 61, 60,   1,       62, 40, 5,
                  1000, 4096, false,    "00f", 2,    3,  4000, "1.0.0", {}, 6};
  const std::string text = replaced(
      R"({"type":"STATUS_OK","id":2,"node":"n1","cluster":"<uuid>","role":"leader","term":3,"leader":"n1",)"
      R"("committed":61,"applied":60,"log_first":1,"log_last":62,"snapshot":40,"keys":5,"bytes":1000,"quota":4096,)"
      R"("full":false,"digest":"00f","waiting":2,"watching":6,)"
      R"("connections":3,"uptime_ms":4000,"version":"1.0.0","peers":[]})",
      "<uuid>", uuid);
  check_answer(text, answer(2, status));
  StatusOk follower = status;
  follower.role = "follower";
  check_answer(replaced(replaced(text, R"("role":"leader")", R"("role":"follower")"), R"(,"peers":[])", ""),
               answer(2, follower));
  follower.delay_ms = 3000;
  check_answer(
      replaced(replaced(replaced(text, R"("role":"leader")", R"("role":"follower")"), R"(,"peers":[])", ""),
               R"("watching":6,)", R"("watching":6,"delay_ms":3000,)"),
      answer(2, follower));
  status.peers = {{"n2", 62, 10}, {"n3", 58, 2000}};
  check_answer(replaced(text, R"("peers":[])",
                        R"("peers":[{"node":"n2","match":62,"last_contact_ms":10},)"
                        R"({"node":"n3","match":58,"last_contact_ms":2000}])"),
               answer(2, status));
}

TEST_CASE("an ERROR has what its code adds, and an id unless none could be read") {
  check_answer(R"({"type":"ERROR","id":1,"code":"NO_LEADER","message":"try again"})",
               answer(1, Error{Code::no_leader, "try again", {}, {}, {}, {}}));
  check_answer(R"({"type":"ERROR","id":1,"code":"TIMEOUT","message":"m","ts":57,"applied":41,"leader":""})",
               answer(1, Error{Code::timeout, "m", 57, 41, "", {}}));
  check_answer(R"({"type":"ERROR","code":"CLUSTER_MISMATCH","message":"m","cluster":"c"})",
               answer(std::nullopt, Error{Code::cluster_mismatch, "m", {}, {}, {}, "c"}));
}

TEST_CASE("what servers say to each other") {
  check_peer(replaced(R"({"type":"INIT","role":"peer","protocol":1,"cluster":"","node":"n1","identity":"<uuid>",)"
                      R"("to":"n2","advertise":"127.0.0.1:7401","peer_advertise":"127.0.0.1:7501"})",
                      "<uuid>", uuid),
             PeerInit{1, "", "n1", uuid, "n2", "127.0.0.1:7401", "127.0.0.1:7501", ""});
  check_peer(R"({"type":"INIT_OK","protocol":1,"server":"kvd 1.0.0","cluster":"c","node":"n2","identity":"i",)"
             R"("advertise":"a:1","peer_advertise":"a:2"})",
             PeerInitOk{1, "kvd 1.0.0", "c", "n2", "i", "a:1", "a:2", ""});
  check_peer(R"({"type":"INIT_OK","protocol":1,"server":"kvd 1.0.0","cluster":"","node":"n2","identity":"i",)"
             R"("advertise":"a:1","peer_advertise":"a:2","seed":"57-0f"})",
             PeerInitOk{1, "kvd 1.0.0", "", "n2", "i", "a:1", "a:2", "57-0f"});
  check_peer(R"({"type":"SNAPSHOT","term":2,"leader":"n1","index":57,"index_term":1,"offset":4,"size":8,)"
             R"("value_base64":"/wD/AA=="})",
             Snapshot{2, "n1", 57, 1, 4, 8, std::string("\xff\0\xff\0", 4)});
  check_peer(R"({"type":"SNAPSHOT_OK","term":2,"index":57,"offset":8})", SnapshotOk{2, 57, 8, false});
  check_peer(R"({"type":"SNAPSHOT_OK","term":2,"index":57,"offset":0,"damaged":true})", SnapshotOk{2, 57, 0, true});
  check_peer(
      R"({"type":"VOTE","term":2,"candidate":"n1","last_index":5,"last_term":1,"pre":true,"transfer":false})",
      Vote{2, "n1", 5, 1, true, false});
  check_peer(R"({"type":"VOTE_OK","term":2,"granted":true,"pre":false})", VoteOk{2, true, false});
  check_peer(R"({"type":"TIMEOUT_NOW","term":2,"leader":"n1"})", TimeoutNow{2, "n1"});
  check_peer(R"({"type":"ERROR","code":"CLUSTER_MISMATCH","message":"m","cluster":"c"})",
             Error{Code::cluster_mismatch, "m", {}, {}, {}, "c"});
}

TEST_CASE("REPLICATION carries commands under a format version") {
  check_peer(
      R"({"type":"REPLICATION","term":2,"leader":"n1","prev_index":5,"prev_term":1,"entries":[],"commit":4,"round":9})",
      Replication{2, "n1", 5, 1, {}, 4, 9});
  check_peer(
      replaced(
          R"({"type":"REPLICATION","term":2,"leader":"n1","prev_index":5,"prev_term":1,"entries":[)"
          R"({"term":2,"index":6,"command":{"type":"NOOP","v":1}},)"
          R"({"term":2,"index":7,"command":{"type":"PUT","v":1,"key":"k","value":"v","session":"<uuid>","seq":1}},)"
          R"({"term":2,"index":8,"command":{"type":"DELETE","v":1,"key":"k","if_ts":7}},)"
          R"({"term":2,"index":9,"command":{"type":"MEMBERS","v":1,"cluster":"<uuid>","members":[)"
          R"({"node":"n1","identity":"i","peer_address":"a:2","client_address":"a:1"}]}}],"commit":4,"round":9})",
          "<uuid>", uuid),
      Replication{2,
                  "n1",
                  5,
                  1,
                  {{2, 6, Noop{}},
                   {2, 7, Put{"k", "v", {}, WriteSession{uuid, 1, 0}}},
                   {2, 8, Delete{"k", 7, {}}},
                   {2, 9, Members{uuid, {{"n1", "i", "a:2", "a:1"}}}}},
                  4,
                  9});
  check_peer(R"({"type":"REPLICATION_OK","term":2,"success":true,"match":6,"round":9})",
             ReplicationOk{2, true, 6, 9, 0, 0, 0});
  check_peer(
      R"({"type":"REPLICATION_OK","term":2,"success":false,"match":0,"round":9,"rejected":5,"hint_index":3,"hint_term":1})",
      ReplicationOk{2, false, 0, 9, 5, 3, 1});
}

TEST_CASE("FORWARD carries a request to the leader, and FORWARD_OK its answer back") {
  check_peer(
      R"({"type":"FORWARD","number":7,"term":2,"timeout_ms":5000,"request":{"type":"PUT","key":"k","value":"v"}})",
      Forward{7, 2, 5000, Put{"k", "v", {}, {}}});
  check_peer(R"({"type":"FORWARD","number":8,"term":2,"timeout_ms":100,"request":{"type":"READ_INDEX"}})",
             Forward{8, 2, 100, ReadIndex{}});
  check_peer(R"({"type":"FORWARD_OK","number":7,"answer":{"type":"PUT_OK","key":"k","ts":58}})",
             ForwardOk{7, PutOk{"k", 58}});
  check_peer(R"({"type":"FORWARD_OK","number":8,"answer":{"type":"READ_INDEX_OK","index":58}})",
             ForwardOk{8, ReadIndexOk{58}});
  check_peer(R"({"type":"FORWARD_OK","number":9,"answer":{"type":"ERROR","code":"NO_LEADER","message":"m"}})",
             ForwardOk{9, Error{Code::no_leader, "m", {}, {}, {}, {}}});
}

TEST_CASE("names of codes, consistencies and types") {
  for (const char* name :
       {"BAD_REQUEST", "TOO_LARGE", "CONFLICT", "NO_LEADER", "TIMEOUT", "UNKNOWN_OUTCOME", "SESSION_EXPIRED",
        "COMPACTED", "CLUSTER_MISMATCH", "NO_SPACE", "OVERLOADED", "SHUTTING_DOWN"}) {
    REQUIRE(code_named(name));
    CHECK(name_of(*code_named(name)) == name);
  }
  CHECK_FALSE(code_named("bad_request"));
  for (const char* name : {"session", "linearizable", "local"}) CHECK(name_of(*consistency_named(name)) == name);
  CHECK_FALSE(consistency_named(""));
  CHECK(type_of(request(1, Get{})) == "GET");
  CHECK(type_of(answer(1, WaitForResponse{})) == "WAIT_FOR_RESPONSE");
  CHECK(type_of(Peer(PeerInit{})) == "INIT");
}

// ---- Values --------------------------------------------------------------------------------------------

TEST_CASE("a value is text if it can be, unless base64 is shorter") {
  const auto put_of = [](const std::string& value) { return json_of(request(1, Put{"k", value, {}, {}})); };
  const auto as_text = [&](const std::string& value) {
    return put_of(value).find("\"value\":") != std::string::npos;
  };

  CHECK(as_text(""));
  CHECK(as_text("größer"));
  CHECK_FALSE(as_text("\xff"));
  CHECK_FALSE(as_text("cut \xc3"));
  CHECK(as_text("\0"s));  // \u0000 is six bytes, base64's four and a longer name eleven
  CHECK_FALSE(as_text(std::string(4, '\0')));
  CHECK(as_text(std::string(8, '\n')));  // 16 bytes escaped; base64 has 12, and 7 more for the name
  // 42 quotes are 84 bytes escaped; base64 has 56 and 7. With ever more plain letters there is a tie, which is
  // text.
  const auto lengths = [](std::size_t quotes, std::size_t letters) {
    const std::size_t bytes = quotes + letters;
    return std::pair{bytes + quotes, (bytes + 2) / 3 * 4 + 7};
  };
  CHECK(lengths(30, 60) == std::pair<std::size_t, std::size_t>{120, 127});
  CHECK(lengths(37, 53) == std::pair<std::size_t, std::size_t>{127, 127});
  CHECK(as_text(std::string(37, '"') + std::string(53, 'x')));
  CHECK_FALSE(as_text(std::string(38, '"') + std::string(52, 'x')));
}

TEST_CASE("either form of a value is read") {
  const auto value_of = [](const std::string& member) {
    return std::get<Put>(good(read_request(R"({"type":"PUT","id":1,"key":"k",)" + member + "}")).body).value;
  };
  CHECK(value_of(R"("value":"blue")") == "blue");
  CHECK(value_of(R"("value":"")").empty());
  CHECK(value_of(R"("value":"\u0000\n\"\\\/\u20ac\ud83d\ude00")") == "\0\n\"\\/€😀"s);
  CHECK(value_of(R"("value_base64":"Ymx1ZQ==")") == "blue");
  CHECK(value_of(R"("value_base64":"")").empty());
  CHECK(value_of(R"("value_base64":"/w==")") == "\xff");
  const auto get_ok = [](const std::string& member) {
    return std::get<GetOk>(
        good(read_answer(R"({"type":"GET_OK","id":1,"key":"k","ts":1,"applied":1,)" + member + "}")).body);
  };
  CHECK(get_ok(R"("value_base64":"/w==")").value == "\xff");
  CHECK(get_ok(R"("value":null)").value == std::nullopt);
}

TEST_CASE("a key may have any character") {
  const std::string key = "\0\x1f\x7f\"\\/ é€😀\xef\xbf\xbf"s;
  const std::string text = json_of(request(1, Get{key, 0, {}}));
  CHECK(text.find("\\u0000\\u001F") != std::string::npos);
  CHECK(std::get<Get>(good(read_request(text)).body).key == key);
}

TEST_CASE("strings that are not UTF-8: a key is refused, others are escaped") {
  CHECK_THROWS_AS(json_of(request(1, Get{"\xff", 0, {}})), std::invalid_argument);
  CHECK(json_of(answer(1, Error{Code::no_space, "disk \xff", {}, {}, {}, {}})) ==
        R"({"type":"ERROR","id":1,"code":"NO_SPACE","message":"disk \\xff"})");
  // The encoder is as good as new after that.
  CHECK(json_of(request(1, Status{})) == R"({"type":"STATUS","id":1})");
}

// ---- Limits, each at its edge --------------------------------------------------------------------------

TEST_CASE("limits that just hold") {
  CHECK(good(read_request(R"({"type":"GET","id":1,"key":")" + std::string(max_key_bytes, 'k') + R"("})")).id == 1);
  CHECK(good(read_request(R"({"type":"PUT","id":1,"key":"k","value":"12345"})", {5})).id == 1);
  CHECK(good(read_request(R"({"type":"PUT","id":1,"key":"k","value_base64":"MTIzNDU="})", {5})).id == 1);
  CHECK(good(read_request(json_of(request(1, Put{"k", std::string(max_value_bytes, 'v'), {}, {}})))).id == 1);
  CHECK(good(read_request(R"({"type":"STATUS","id":9007199254740991})")).id == max_integer);
  // The message itself is the first level.
  CHECK(good(read_request(R"({"type":"STATUS","id":1,"x":)" + std::string(31, '[') + std::string(31, ']') + "}"))
            .id == 1);
}

TEST_CASE("servers take values of any size from each other") {
  const Put put{"k", std::string(max_value_bytes + 1, 'v'), {}, {}};
  CHECK(good(read_peer(json_of(Peer(Forward{1, 2, 5000, put})))) == Peer(Forward{1, 2, 5000, put}));
  CHECK(good(read_answer(json_of(answer(1, GetOk{"k", put.value, 1, 1, "n1"})))).id == 1);
}

TEST_CASE("a time-out of years is cut to a day") {
  const std::string text = R"({"type":"STATUS","id":1,"timeout_ms":9007199254740991})";
  CHECK(good(read_request(text)).timeout_ms == max_timeout_ms);
  const std::string forward =
      R"({"type":"FORWARD","number":1,"term":2,"timeout_ms":9007199254740991,"request":{"type":"READ_INDEX"}})";
  CHECK(std::get<Forward>(good(read_peer(forward))).timeout_ms == max_timeout_ms);
}

// ---- What a reader must put up with --------------------------------------------------------------------

TEST_CASE("members may come in any order, with blanks between") {
  const Request put = request(2, Put{"colour", "blue", {}, {}});
  for (const char* text : {
           R"({"id":2,"key":"colour","value":"blue","type":"PUT"})",
           R"({"value":"blue","type":"PUT","key":"colour","id":2})",
           R"({ "type": "PUT", "id": 2, "key": "colour", "value": "blue" })",
           "\t{\r\n\"type\"\n:\n\"PUT\",\"id\":2 ,\"key\":\"colour\",\"value\":\"blue\"}\n ",
           R"({"\u0074ype":"P\u0055T","\u0069d":2,"k\u0065y":"colour","v\u0061lue":"blue"})",
           R"({"x":{"type":"GET","id":9},"type":"PUT","id":2,"key":"colour","value":"blue"})",
       }) {
    INFO(text);
    CHECK(good(read_request(text)) == put);
  }
}

TEST_CASE("a text is usual only if its members are in order, whole, within their limits and nothing else") {
  const std::string uuid_text = std::string("\"") + uuid + '"';
  const std::string longest_key(max_key_bytes, 'k');
  for (const std::string& text : {
           R"({"type":"PUT","id":2,"key":"a","value":"b"})"s,
           R"({"type": "PUT", "id": 2, "key": "a", "value": "b"})"s,  // as Python writes it
           R"({"type":"PUT","id":0,"key":"a","value":"","if_ts":9007199254740991,"timeout_ms":5})"s,
           R"({"type":"PUT","id":2,"key":"é","value":"b","session":)" + uuid_text + R"(,"seq":1})",
           R"({"type":"PUT","id":2,"key":")" + longest_key + R"(","value":"b"})",
           R"({"type":"TXN","id":2,"then":[{"op":"GET","key":"a"}, {"op":"GET","key":"b"}]})"s,
       }) {
    INFO(text);
    CHECK(is_usual<Request>(text));
  }
  for (const std::string& text : {
           R"()"s,
           R"({})"s,
           R"({"type":"PUT")"s,
           R"({"type":"PUT","id":2,"key":"a","value":"b"}})"s,
           R"({"type":"PUT","id":2,"key":"a","value":"b"} )"s,
           R"({"type":"PUT","id":2,"key":"a","value":"b")"s,
           R"({"type":"PUT","id":2,"key":"a","value":"b,)"s,
           R"({"type":"PUT","id":2,"value":"b","key":"a"})"s,
           R"({"id":2,"type":"PUT","key":"a","value":"b"})"s,
           R"({"type":"PUT","id":2,"key":"a","value":"b","x":1})"s,
           R"({"type":"PUT","id":2,"key":"a","key":"a","value":"b"})"s,
           R"({"type":"PUT","id":2,"key":"a"})"s,
           R"({"type":"PUT","id":2,"key":"","value":"b"})"s,
           R"({"type":"PUT","id":2,"key":"k)" + longest_key + R"(","value":"b"})",
           R"({"type":"PUT","id":2,"key":"a","value":"b\n"})"s,
           R"({"type":"PUT","id":2,"key":"a","value_base64":"/w=="})"s,
           R"({"type":"PUT","id":2,"key":"a","value":"b","value_base64":"/w=="})"s,
           R"({"type":"PUT","id":2,"key":"a","value":null})"s,
           R"({"type":"PUT","id":02,"key":"a","value":"b"})"s,
           R"({"type":"PUT","id":-2,"key":"a","value":"b"})"s,
           R"({"type":"PUT","id":2.0,"key":"a","value":"b"})"s,
           R"({"type":"PUT","id":2e3,"key":"a","value":"b"})"s,
           R"({"type":"PUT","id":9007199254740992,"key":"a","value":"b"})"s,
           R"({"type":"PUT","id":18446744073709551618,"key":"a","value":"b"})"s,
           R"({"type":"PUT","id":2,"key":"a","value":"b","session":)" + uuid_text + "}",
           R"({"type":"PUT","id":2,"key":"a","value":"b","seq":1})"s,
           R"({"type":"PUT","id":2,"key":"a","value":"b","session":)" + uuid_text + R"(,"seq":0})",
           R"({"type":"PUT","id":2,"key":"a","value":"b","session":"6ba7b810","seq":1})"s,
           R"({"type":"PUT_OK","id":2,"key":"a","ts":1})"s,
           R"({"type":"INIT","id":2,"role":"peer","protocol":1,"client":""})"s,
           R"({"type":"TXN","id":2,"then":[{"op":"PUT","key":"a"}]})"s,
           R"({"type":"TXN","id":2,"then":[{"op":"NONE","key":"a"}]})"s,
           R"({"type":"TXN","id":2,"then":[{"op":"GET","key":"a"},]})"s,
           R"({"type":"TXN","id":2,"then":[{"op":"GET","key":"a"})"s,
           R"({"type":"TXN","id":2,"then":[)"s,
           R"({"type":"LIST","id":2,"keys_only":truth})"s,
       }) {
    INFO(text);
    CHECK_FALSE(is_usual<Request>(text));
  }
  CHECK_FALSE(is_usual<Request>(R"({"type":"GET","id":2,"keys":"a"})"));
  // Every shorter text is none, and nothing behind its end is looked at.
  const std::string whole =
      R"({"type":"TXN","id":2,"if":[{"key":"a","ts":7}],"then":[{"op":"GET","key":"b"}],"session":)" + uuid_text +
      R"(,"seq":3,"session_from":57,"timeout_ms":5})";
  REQUIRE(is_usual<Request>(whole));
  for (std::size_t length = 0; length < whole.size(); ++length) {
    INFO(whole.substr(0, length));
    CHECK_FALSE(is_usual<Request>(whole.substr(0, length)));
  }
}

TEST_CASE("members that are not known are ignored, whatever is in them") {
  for (const char* value : {"null", "true", "-1.5e300", "\"text\"", "[]", "{}", R"([1,[{"a":[]}],null])",
                            R"({"type":"GET","id":7,"key":"other","x":{"x":{"x":1}}})", R"([{"id":7},{"id":7}])"}) {
    const std::string member = ",\"new\":"s + value;
    INFO(value);
    CHECK(good(read_request(R"({"type":"GET","id":3,"key":"k")" + member + "}")) == request(3, Get{"k", 0, {}}));
    const Peer peer = Replication{1, "n1", 0, 0, {{1, 1, Put{"k", "v", {}, {}}}, {1, 2, Noop{}}}, 0, 1};
    // In every object of a message, before and behind the members that are known.
    CHECK(good(read_peer(replaced(json_of(peer), "}", member + "}"))) == peer);
    CHECK(good(read_peer(replaced(json_of(peer), "\"term\"", member.substr(1) + ",\"term\""))) == peer);
  }
}

TEST_CASE("members of other messages, and roles that mean nothing here, are unknown members") {
  CHECK(good(read_request(R"({"type":"STATUS","id":1,"key":5,"value":[],"role":"peer"})")) == request(1, Status{}));
  CHECK(good(read_request(R"({"type":"INIT","id":1,"protocol":1,"role":"client"})")) == request(1, Init{1, ""}));
}

TEST_CASE("an INIT of another version is decoded, so that it can be refused with reason") {
  CHECK(good(read_request(R"({"type":"INIT","id":1,"protocol":2})")) == request(1, Init{2, ""}));
  CHECK(std::get<PeerInit>(
            good(read_peer(
                R"({"type":"INIT","protocol":7,"role":"peer","cluster":"","node":"n1","identity":"i","to":"n2"})")))
            .protocol == 7);
}

}  // namespace
