// Commands from end to end, as one-shots and in the shell: what is printed where, and the exit status.
#include <asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "client/commands.hpp"
#include "client/shell.hpp"
#include "client/words.hpp"
#include "common/table.hpp"
#include "tests/client_stage.hpp"

using namespace kv;
using namespace kv::client;
using kv::client::test::closed_address;
using kv::client::test::cluster_a;
using kv::client::test::FakeServer;
using kv::client::test::Stage;

namespace {

using Words = std::vector<std::string>;

Words words_of(std::string_view line) {
  const auto words = split_words(line);
  if (const auto* error = std::get_if<WordsError>(&words)) return {"error: " + error->text};
  return std::get<Words>(words);
}

}  // namespace

TEST_CASE("words: blanks part them, quotes and backslashes hold them together") {
  CHECK(words_of("").empty());
  CHECK(words_of("  put\tcolour   blue \r") == Words{"put", "colour", "blue"});
  CHECK(words_of("put colour 'dark blue'") == Words{"put", "colour", "dark blue"});
  CHECK(words_of("put colour \"dark \\\"blue\\\" \\n\"") == Words{"put", "colour", "dark \"blue\" \\n"});
  CHECK(words_of("a'b'\"c\"\\ d") == Words{"abc d"});
  CHECK(words_of("put k ''") == Words{"put", "k", ""});
  CHECK(words_of("'\\'") == Words{"\\"});
  CHECK(words_of("größe 'ä ö'") == Words{"größe", "ä ö"});
}

TEST_CASE("words: a comment is a line that begins with #") {
  CHECK(words_of("# put a b").empty());
  CHECK(words_of("   #").empty());
  CHECK(words_of("put colour #ff0000") == Words{"put", "colour", "#ff0000"});
}

TEST_CASE("words: what is not closed is an error") {
  CHECK(words_of("put a 'b") == Words{"error: the quote ' is not closed"});
  CHECK(words_of("put a \"b\\\"") == Words{"error: the quote \" is not closed"});
  CHECK(words_of("put a b\\") == Words{"error: nothing follows the backslash at the end"});
}

TEST_CASE("one-shot: put, get and del print what a script wants") {
  Stage stage;
  CHECK(stage.one_shot({"put", "colour", "blue"}) == Exit::done);
  CHECK(stage.out.str() == "OK\n");
  CHECK(stage.one_shot({"get", "colour"}) == Exit::done);
  CHECK(stage.out.str() == "blue\n");
  CHECK(stage.one_shot({"get", "colour", "--raw"}) == Exit::done);
  CHECK(stage.out.str() == "blue");
  CHECK(stage.one_shot({"put", "colour", "green", "-v"}) == Exit::done);
  CHECK(stage.out.str() == "OK ts=12 node=n1 token=" + cluster_a + ":12\n");
  CHECK(stage.one_shot({"del", "colour"}) == Exit::done);
  CHECK(stage.out.str() == "1\n");
  CHECK(stage.one_shot({"del", "colour"}) == Exit::done);
  CHECK(stage.out.str() == "0\n");
  CHECK(stage.err.str().empty());
}

TEST_CASE("one-shot: a key that is not there is a negative answer, told on stderr") {
  Stage stage;
  CHECK(stage.one_shot({"get", "colour"}) == Exit::negative);
  CHECK(stage.out.str().empty());
  CHECK(stage.err.str() == "kvctl: no such key: \"colour\"\n");
}

TEST_CASE("one-shot: JSON is one object a line") {
  Stage stage;
  stage.one_shot({"put", "colour", "a\"b\n", "-o", "json"});
  CHECK(stage.out.str() == "{\"key\":\"colour\",\"ts\":11,\"node\":\"n1\",\"token\":\"" + cluster_a + ":11\"}\n");
  stage.one_shot({"get", "colour", "-o", "json"});
  CHECK(stage.out.str() ==
        "{\"key\":\"colour\",\"value\":\"a\\\"b\\n\",\"ts\":11,\"applied\":11,\"node\":\"n1\"}\n");
  stage.one_shot({"put", "bytes", "\xff\x01"});
  stage.one_shot({"get", "bytes", "-o", "json"});
  CHECK_THAT(stage.out.str(), Catch::Contains("\"value_base64\":\"/wE=\""));
  CHECK(stage.one_shot({"get", "nothing", "-o", "json"}) == Exit::negative);
  CHECK_THAT(stage.out.str(), Catch::Contains("\"value\":null,\"ts\":0"));
  stage.one_shot({"del", "colour", "-o", "json"});
  CHECK_THAT(stage.out.str(), Catch::StartsWith("{\"key\":\"colour\",\"found\":true,"));
}

TEST_CASE("one-shot: control bytes are escaped on a terminal and never in a pipe") {
  Stage stage;
  const std::string nasty = "\x1b[31mred\n";
  stage.one_shot({"put", "colour", nasty});
  stage.one_shot({"get", "colour"});
  CHECK(stage.out.str() == nasty + "\n");
  stage.screen.out_is_terminal = true;
  stage.one_shot({"get", "colour", "--no-color"});
  CHECK(stage.out.str() == "\\x1b[31mred\\n\n");
  stage.one_shot({"get", "colour", "--no-color", "-o", "table"});
  CHECK(stage.out.str().find('\x1b') == std::string::npos);
}

TEST_CASE("one-shot: a get sends the timestamp of the key's last put") {
  Stage stage;
  stage.one_shot({"put", "colour", "blue"});
  stage.one_shot({"get", "colour"});
  stage.one_shot({"get", "colour", "--after", "40"});
  stage.one_shot({"get", "colour", "--consistency", "local"});
  const auto gets = stage.server.received<message::Get>();
  REQUIRE(gets.size() == 3);
  CHECK(gets[0].ts == 11);
  CHECK(gets[1].ts == 40);
  CHECK(gets[2].ts == 0);
  CHECK(gets[2].consistency == message::Consistency::local);
}

TEST_CASE("one-shot: an absent key is remembered with the position at which it was absent") {
  Stage stage;
  stage.server.hello.applied = 33;
  stage.one_shot({"get", "colour"});
  CHECK(stage.session.position_of("colour") == 33);
}

TEST_CASE("one-shot: a token of another cluster is refused") {
  Stage stage;
  CHECK(stage.one_shot({"get", "colour", "--after", kv::client::test::cluster_b + ":5"}) == Exit::refused);
  CHECK_THAT(stage.err.str(), Catch::Contains("CLUSTER_MISMATCH"));
}

TEST_CASE("one-shot: waiting is told on stderr") {
  Stage stage;
  stage.server.on_request = [](const FakeServer::Peer& peer, const message::Request& asked) {
    message::WaitForResponse wait;
    wait.key = "colour";
    wait.ts = 57;
    wait.applied = 41;
    wait.node = "n3";
    peer.answer(asked, wait);
    message::GetOk ok;
    ok.key = "colour";
    ok.value = "blue";
    ok.node = "n3";
    peer.answer(asked, ok);
  };
  CHECK(stage.one_shot({"get", "colour"}) == Exit::done);
  CHECK(stage.out.str() == "blue\n");
  CHECK(stage.err.str() == "n3 is behind (41 < 57): waiting\n");
  stage.script("get colour");
  CHECK(stage.out.str() == "WAIT_FOR_RESPONSE colour   41 < 57   n3\nGET colour = blue   ts 0   n3\n");
}

TEST_CASE("one-shot: values come from files, and are never longer than a value may be") {
  Stage stage;
  const std::filesystem::path path = std::filesystem::temp_directory_path() / "kvctl-value-test";
  const std::string bytes("a\0b\n\xff", 5);
  std::ofstream(path, std::ios::binary) << bytes;
  CHECK(stage.one_shot({"put", "file", "@" + path.string()}) == Exit::done);
  CHECK(stage.server.received<message::Put>().back().value == bytes);
  std::ofstream(path, std::ios::binary) << std::string(max_value_bytes + 1, 'x');
  CHECK(stage.one_shot({"put", "file", "@" + path.string()}) == Exit::refused);
  CHECK_THAT(stage.err.str(), Catch::Contains("TOO_LARGE"));
  std::filesystem::remove(path);
  CHECK(stage.one_shot({"put", "file", "@" + path.string()}) == Exit::usage);
  CHECK_THAT(stage.err.str(), Catch::Contains("No such file"));
  CHECK(stage.one_shot({"put", "file", "@home", "--literal"}) == Exit::done);
  CHECK(stage.server.received<message::Put>().back().value == "@home");
}

TEST_CASE("one-shot: a key that is too long is refused as the server would") {
  Stage stage;
  CHECK(stage.one_shot({"get", std::string(max_key_bytes + 1, 'k')}) == Exit::refused);
  CHECK(stage.one_shot({"get", std::string(max_key_bytes, 'k')}) == Exit::negative);
}

TEST_CASE("one-shot: refusals and conflicts have their exit statuses") {
  Stage stage;
  message::Code code = message::Code::conflict;
  stage.server.on_request = [&](const FakeServer::Peer& peer, const message::Request& asked) {
    message::Error error;
    error.code = code;
    error.message = "the disk is full";
    error.ts = 12;
    peer.answer(asked, error);
  };
  CHECK(stage.one_shot({"put", "colour", "blue", "--if-ts", "11"}) == Exit::negative);
  CHECK(stage.server.received<message::Put>().back().if_ts == 11u);
  CHECK(stage.err.str() == "kvctl: put \"colour\": conflict: the key's ts is 12, not the one given with --if-ts\n");
  code = message::Code::no_space;
  CHECK(stage.one_shot({"put", "colour", "blue"}) == Exit::refused);
  CHECK_THAT(stage.err.str(), Catch::Contains("NO_SPACE: the disk is full"));
}

TEST_CASE("one-shot: no server, one line and exit 3") {
  Stage stage;
  stage.connect_to({closed_address(stage.io)});
  CHECK(stage.one_shot({"put", "colour", "blue"}) == Exit::no_server);
  CHECK_THAT(stage.err.str(), Catch::StartsWith("kvctl: no server reached: 127.0.0.1:"));
  CHECK(stage.one_shot({"status"}) == Exit::no_server);
}

TEST_CASE("one-shot: status is a table, and a row for who is down") {
  Stage stage;
  const Address down = closed_address(stage.io);
  stage.server.hello.members.push_back({"n2", down.text()});
  CHECK(stage.one_shot({"status"}) == Exit::done);
  CHECK_THAT(stage.out.str(), Catch::StartsWith("NODE  ADDRESS") && Catch::Contains("unreachable"));
  CHECK_THAT(stage.err.str(), Catch::Contains(down.text() + ": connection refused"));
  CHECK(stage.one_shot({"status", "-o", "json"}) == Exit::done);
  CHECK_THAT(stage.out.str(), Catch::Contains("\"node\":\"n1\"") && Catch::Contains("\"reachable\":true") &&
                                  Catch::Contains("\"reachable\":false,\"error\":\"connection refused\"}\n"));
}

TEST_CASE("shell: a script gets the answer lines and nothing else") {
  Stage stage;
  const Exit exit = stage.script(
      "# the colours\n"
      "\n"
      "PUT colour 'dark blue'\n"
      "get colour\n"
      "Del colour\n"
      "del colour\n");
  CHECK(exit == Exit::done);
  CHECK(stage.out.str() ==
        "PUT_OK colour = dark blue   ts 11   n1\n"
        "GET colour = dark blue   ts 11   n1\n"
        "DELETE_OK colour   found   ts 12   n1\n"
        "DELETE_OK colour   not found   ts 13   n1\n");
  CHECK(stage.err.str().empty());
}

TEST_CASE("shell: a script stops at the first error, with its exit status") {
  Stage stage;
  CHECK(stage.script("get nothing\nput a 1\n") == Exit::negative);
  CHECK(stage.out.str() == "GET nothing: no such key   n1\n");
  CHECK_THAT(stage.err.str(), Catch::Contains("stopped at line 1"));
  CHECK(stage.script("put 'a\nput a 1\n") == Exit::usage);
  CHECK(stage.script("frobnicate\nput a 1\n") == Exit::usage);
  CHECK(stage.server.received<message::Put>().empty());
}

TEST_CASE("shell: --keep-going goes on, and the first failure is the exit status") {
  Stage stage;
  stage.options.keep_going = true;
  CHECK(stage.script("get nothing\nfrobnicate\nput a 1\nquit\nput b 2\n") == Exit::negative);
  CHECK(stage.server.received<message::Put>().size() == 1);
}

TEST_CASE("shell: init names other servers") {
  Stage stage;
  FakeServer other(stage.io, "x1");
  other.hello.cluster = kv::client::test::cluster_b;
  stage.connect_to({closed_address(stage.io)});
  CHECK(stage.script("put a 1") == Exit::no_server);
  CHECK(stage.script("init " + stage.server.address().text() + "\nput a 1\n") == Exit::done);
  CHECK(stage.out.str() == "INIT_OK 1 server   leader n1   n1\nPUT_OK a = 1   ts 11   n1\n");
  CHECK(stage.session.position_of("a") == 11);
  CHECK(stage.script("init " + other.address().text() + "\nget a\n") == Exit::negative);
  CHECK(other.received<message::Get>().at(0).ts == 0);  // the timestamps of one cluster mean nothing in another
}

TEST_CASE("shell: flags of a line count for that line") {
  Stage stage;
  stage.script("put a 1 -o json\nget a\n");
  CHECK_THAT(stage.out.str(), Catch::StartsWith("{\"key\":\"a\"") && Catch::EndsWith("GET a = 1   ts 11   n1\n"));
}

TEST_CASE("shell: help tells the commands") {
  Stage stage;
  CHECK(stage.script("help\nhelp init\n") == Exit::done);
  CHECK_THAT(stage.out.str(), Catch::Contains("status") && Catch::Contains("init [OPTIONS] SERVERS"));
}

TEST_CASE("table: columns are as wide as their widest cell") {
  Table table({"NAME", "N"});
  table.add({"größe", "7"});
  table.add({"a", "12"});
  table.align_right(1);
  CHECK(table.text(false) == "NAME    N\ngröße   7\na      12\n");
  CHECK(table.text(true) ==
        "┌───────┬────┐\n"
        "│ NAME  │  N │\n"
        "├───────┼────┤\n"
        "│ größe │  7 │\n"
        "│ a     │ 12 │\n"
        "└───────┴────┘\n");
}

TEST_CASE("json: text is escaped, bytes that are no text are base64") {
  JsonLine line;
  line.add("k", "a\"\\\n\t\x01\x7f\u0085ä").add("n", std::uint64_t{7}).add("t", true).add_null("z");
  CHECK(line.text() == R"({"k":"a\"\\\n\t\u0001\u007f\u0085ä","n":7,"t":true,"z":null})");
}
