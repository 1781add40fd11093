// The command line: what is understood, what is refused, and what the refusal says.
#include <catch2/catch.hpp>
#include <cstdlib>

#include "client/options.hpp"
#include "client/suggest.hpp"
#include "common/text.hpp"

using namespace kv;
using namespace kv::client;

namespace {

// What whoever runs the tests has set is not theirs.
const bool clean_environment = [] {
  for (const char* name : {"ENDPOINTS", "TIMEOUT", "CONSISTENCY", "OUTPUT", "VERBOSE", "NO_COLOR", "SESSION",
                           "NO_SESSION", "KEEP_GOING"}) {
    ::unsetenv((std::string("KVCTL_") + name).c_str());
  }
  return true;
}();

Invocation parsed(const std::vector<std::string>& words) {
  const auto result = parse_arguments(words);
  if (const auto* wrong = std::get_if<UsageError>(&result)) FAIL(wrong->text);
  return std::get<Invocation>(result);
}

template <class T>
T command(const std::vector<std::string>& words) {
  return std::get<T>(parsed(words).command);
}

std::string refusal(const std::vector<std::string>& words) {
  const auto result = parse_arguments(words);
  const auto* wrong = std::get_if<UsageError>(&result);
  return wrong ? wrong->text : "(accepted)";
}

// An environment variable for the length of a test.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) { ::setenv(name, value, 1); }
  ~Variable() { ::unsetenv(name_); }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;

 private:
  const char* name_;
};

}  // namespace

TEST_CASE("options: put, get, del and status") {
  CHECK(command<PutCommand>({"put", "colour", "blue"}).key == "colour");
  CHECK(command<PutCommand>({"put", "colour", "blue"}).value == "blue");
  CHECK(command<PutCommand>({"put", "colour", "blue", "--if-ts", "58"}).if_ts == 58u);
  CHECK(command<GetCommand>({"get", "colour"}).key == "colour");
  CHECK(command<GetCommand>({"get", "--raw", "colour"}).raw);
  CHECK(command<DeleteCommand>({"del", "colour"}).key == "colour");
  CHECK(command<DeleteCommand>({"delete", "colour", "--if-ts=0"}).if_ts == 0u);
  CHECK(std::holds_alternative<StatusCommand>(parsed({"status"}).command));
  CHECK(std::holds_alternative<ShellCommand>(parsed({}).command));
  CHECK(std::holds_alternative<ShellCommand>(parsed({"shell"}).command));
  CHECK(command<GetCommand>({"GET", "colour"}).key == "colour");
}

TEST_CASE("options: backup, dump and load") {
  CHECK(command<BackupSaveCommand>({"backup", "save", "f"}).file == "f");
  CHECK(command<BackupSaveCommand>({"backup", "save", "-", "--force"}).force);
  CHECK(command<BackupVerifyCommand>({"backup", "verify", "f"}).file == "f");
  CHECK(command<DumpCommand>({"dump"}).file == "-");
  CHECK(command<DumpCommand>({"dump", "f", "--from", "b", "--prefix", "a/"}).from == "b");
  CHECK(command<DumpCommand>({"dump", "--prefix", "a/"}).prefix == "a/");
  CHECK(command<LoadCommand>({"load"}).file == "-");
  CHECK(command<LoadCommand>({"load", "f", "--prefix", "a/"}).prefix == "a/");
  CHECK(parsed({"load", "f", "--keep-going"}).options.keep_going);
  CHECK(refusal({"backup"}) == "backup: ACTION (save or verify) is missing");
  CHECK(refusal({"backup", "save"}) == "backup: FILE is missing");
  CHECK(refusal({"backup", "restore", "f"}) == "backup: \"restore\" is neither save nor verify");
  CHECK_THAT(refusal({"backup", "verify", "-"}), Catch::StartsWith("backup verify: "));
  CHECK_THAT(refusal({"backup", "verify", "f", "--force"}), Catch::StartsWith("backup verify: "));
  CHECK(refusal({"load", "f", "g"}) == "load: one word too many: \"g\"");
  CHECK(refusal({"export"}) == "unknown command \"export\": did you mean dump?");
  for (const char* topic : {"backup", "dump", "load"}) {
    CHECK_THAT(command<ShowText>({"help", topic}).text, Catch::Contains("For example: kvctl "));
  }
}

TEST_CASE("options: bench") {
  const auto plain = command<BenchCommand>({"bench", "put"});
  CHECK(plain.work == BenchWork::put);
  CHECK(plain.connections == 64);
  CHECK(plain.pipeline == 1);
  CHECK(plain.duration == std::chrono::seconds(10));
  CHECK(plain.fill);
  const auto full = command<BenchCommand>(
      {"bench",          "mixed", "-c",           "8",    "-p",       "16",        "--keys",         "1000",
       "--distribution", "zipf",  "--value-size", "4KiB", "--reads",  "50",        "--count",        "100",
       "--warm-up",      "0ms",   "--rate",       "9000", "--target", "followers", "--exactly-once", "--no-fill",
       "--prefix",       "x/"});
  CHECK(full.work == BenchWork::mixed);
  CHECK(full.connections == 8);
  CHECK(full.pipeline == 16);
  CHECK(full.keys == 1000);
  CHECK(full.distribution == Distribution::zipf);
  CHECK(full.value_bytes == 4096);
  CHECK(full.reads == 50);
  CHECK(full.count == 100);
  CHECK(full.warm_up.count() == 0);
  CHECK(full.rate == 9000);
  CHECK(full.target == BenchTarget::followers);
  CHECK(full.exactly_once);
  CHECK_FALSE(full.fill);
  CHECK(full.prefix == "x/");
  for (const auto& [words, text] : std::vector<std::pair<std::vector<std::string>, std::string>>{
           {{"bench"}, "bench: WORK (put, get, mixed or follow) is missing"},
           {{"bench", "read"}, "bench: \"read\" is none of put, get, mixed, follow"},
           {{"bench", "put", "-c", "0"}, "bench: --connections: \"0\" is no whole number from 1 to 100000"},
           {{"bench", "put", "-p", "1001"}, "bench: --pipeline: \"1001\" is no whole number from 1 to 1000"},
           {{"bench", "put", "-d", "10"}, "bench: --duration: \"10\" is no duration from 1ms to 24h"},
           {{"bench", "put", "-d", "1s", "-n", "5"}, "bench: --count and --duration contradict each other"},
           {{"bench", "put", "--reads", "50"}, "bench: --reads is for mixed"},
           {{"bench", "put", "--value-size", "2MiB"}, "bench: --value-size: \"2MiB\" is no size up to 1MiB"},
           {{"bench", "put", "--distribution", "even"}, "bench: --distribution: \"even\" is none of uniform, zipf"},
           {{"bench", "put", "--target", "n1"}, "bench: --target: \"n1\" is none of all, leader, followers"},
           {{"bench", "put", "--exactly-once", "-p", "300"},
            "bench: --exactly-once: a session has at most 256 writes under way: --pipeline 256 or less"},
           {{"bench", "put", "--rate", "5"},
            "bench: --rate 5 is less than one request a second on each of 64 connections"},
           {{"bench", "follow", "-p", "2"},
            "bench: follow is one request after the other: without --rate, --pipeline and --exactly-once"}}) {
    CHECK(refusal(words) == text);
  }
}

TEST_CASE("options: any text can be a value") {
  const std::string value =
      GENERATE("", "{}", "[]", "[1,2]", "a b", "010", "get", "--", "%%", "a=b", "\"", "ä", "#");
  if (value == "--") {
    CHECK(command<PutCommand>({"put", "k", "--", value}).value == value);
  } else {
    CHECK(command<PutCommand>({"put", "k", value}).value == value);
    CHECK(command<PutCommand>({"put", "--", "k", value}).value == value);
  }
}

TEST_CASE("options: -- ends the flags") {
  CHECK(command<PutCommand>({"put", "k", "--", "--timeout"}).value == "--timeout");
  CHECK(command<PutCommand>({"put", "--", "-k", "-v"}).key == "-k");
  CHECK(command<PutCommand>({"put", "-v", "--", "k", "-v"}).value == "-v");
  CHECK(command<PutCommand>({"put", "k", "-"}).value == "-");
  CHECK(refusal({"put", "k", "-x"}) == "unknown flag \"-x\"");
}

TEST_CASE("options: keys may be named like commands") {
  CHECK(command<GetCommand>({"get", "put"}).key == "put");
  CHECK(command<PutCommand>({"put", "status", "del"}).value == "del");
}

TEST_CASE("options: global flags work before and after the command") {
  const auto where = GENERATE(0, 1);
  const std::vector<std::string> flags = {"-e",           "a:1, b:2", "--timeout", "250ms",     "--consistency",
                                          "linearizable", "-ojson",   "-v",        "--no-color"};
  std::vector<std::string> words = {"get", "k"};
  words.insert(where == 0 ? words.begin() : words.end(), flags.begin(), flags.end());
  const GlobalOptions options = parsed(words).options;
  REQUIRE(options.endpoints.size() == 2);
  CHECK(options.endpoints[1].text() == "b:2");
  CHECK(options.timeout == std::chrono::milliseconds(250));
  CHECK(options.timeout_given);
  CHECK(options.consistency == message::Consistency::linearizable);
  CHECK(options.format == Format::json);
  CHECK(options.verbose);
  CHECK(options.no_color);
}

TEST_CASE("options: defaults") {
  const GlobalOptions options = parsed({"status"}).options;
  REQUIRE(options.endpoints.size() == 1);
  CHECK(options.endpoints[0].text() == "127.0.0.1:7401");
  CHECK(options.timeout == std::chrono::seconds(5));
  CHECK_FALSE(options.timeout_given);
  CHECK(options.format == Format::simple);
  CHECK(options.session_file.empty());
}

TEST_CASE("options: endpoints may be given one by one, of all else the last counts") {
  CHECK(parsed({"-e", "a:1", "get", "k", "-e", "b:2"}).options.endpoints.size() == 2);
  CHECK(parsed({"--timeout", "1s", "get", "k", "--timeout", "2s"}).options.timeout == std::chrono::seconds(2));
}

TEST_CASE("options: each global flag is also an environment variable, and the flag beats it") {
  const Variable endpoints("KVCTL_ENDPOINTS", "a:1,b:2,c:3");
  const Variable timeout("KVCTL_TIMEOUT", "7s");
  const Variable output("KVCTL_OUTPUT", "table");
  const Variable verbose("KVCTL_VERBOSE", "1");
  const Variable session("KVCTL_SESSION", "/tmp/s");
  GlobalOptions options = parsed({"get", "k"}).options;
  CHECK(options.endpoints.size() == 3);
  CHECK(options.timeout == std::chrono::seconds(7));
  CHECK(options.format == Format::table);
  CHECK(options.verbose);
  CHECK(options.session_file == "/tmp/s");
  options = parsed({"get", "k", "-o", "json", "-e", "x:9", "--no-session"}).options;
  CHECK(options.format == Format::json);
  CHECK(options.endpoints.size() == 1);
  CHECK(options.no_session);
  CHECK(options.session_file.empty());
  const Variable no_session("KVCTL_NO_SESSION", "yes");
  CHECK(parsed({"get", "k", "--session", "/tmp/t"}).options.session_file == "/tmp/t");
  CHECK(parsed({"get", "k"}).options.no_session);
  const Variable wrong("KVCTL_TIMEOUT", "soon");
  CHECK_THAT(refusal({"get", "k"}), Catch::StartsWith("KVCTL_TIMEOUT: \"soon\""));
}

TEST_CASE("options: what is wrong is said in one line") {
  CHECK(refusal({"put", "colour"}) == "put: VALUE is missing");
  CHECK(refusal({"get"}) == "get: KEY is missing");
  CHECK(refusal({"get", ""}) == "get: the key is empty: a key has 1 to 4096 bytes");
  CHECK(refusal({"get", "\xff"}) == "get: the key \"\\xff\" is not valid UTF-8");
  CHECK(refusal({"get", "a", "b"}) == "get: one word too many: \"b\"");
  CHECK(refusal({"--bogus", "get", "a"}) == "unknown flag \"--bogus\"");
  CHECK(refusal({"get", "a", "--session", "f", "--no-session"}) ==
        "--session and --no-session contradict each other");
  CHECK_THAT(refusal({"get", "a", "-e", "nonsense"}), Catch::StartsWith("--endpoints: "));
  CHECK_THAT(refusal({"get", "a", "-e", ""}), !Catch::Equals("(accepted)"));
  CHECK_THAT(refusal({"get", "a", "-o", "xml"}), Catch::StartsWith("--output: \"xml\""));
  CHECK_THAT(refusal({"get", "a", "--consistency", "weak"}), Catch::StartsWith("--consistency: \"weak\""));
  CHECK_THAT(refusal({"get", "a", "--timeout"}), !Catch::Equals("(accepted)"));
  for (const char* timeout : {"5", "0s", "-1s", "5x", "", "25h", "99999999999999999999s"}) {
    CHECK_THAT(refusal({"get", "a", "--timeout", timeout}), Catch::StartsWith("--timeout: "));
  }
  for (const char* ts : {"-1", "010", "1.5", "", "9007199254740992", "x"}) {
    CHECK_THAT(refusal({"put", "a", "b", "--if-ts", ts}), Catch::StartsWith("--if-ts: "));
  }
}

TEST_CASE("options: an unknown command is answered with the nearest one") {
  CHECK(refusal({"pt", "colour", "blue"}) == "unknown command \"pt\": did you mean put?");
  CHECK(refusal({"statsu"}) == "unknown command \"statsu\": did you mean status?");
  CHECK(refusal({"set", "a", "b"}) == "unknown command \"set\": did you mean put?");
  CHECK(refusal({"frobnicate"}) == "unknown command \"frobnicate\"");
  CHECK(nearest_word("GTE", {"get", "put"}) == "get");
  CHECK(nearest_word("x", {"get", "put"}).empty());
}

TEST_CASE("options: help and version are texts, not errors") {
  CHECK(command<ShowText>({"--version"}).text == std::string("kvctl ") + version + "\n");
  CHECK_THAT(command<ShowText>({"--help"}).text, Catch::Contains("put") && Catch::Contains("--endpoints"));
  CHECK_THAT(command<ShowText>({"help", "put"}).text, Catch::Contains("--if-ts") && Catch::Contains("KEY VALUE"));
  CHECK(command<ShowText>({"put", "--help"}).text == command<ShowText>({"help", "put"}).text);
  CHECK(refusal({"help", "pot"}) == "unknown command \"pot\": did you mean put?");
}

TEST_CASE("options: tokens carry the cluster and the timestamp") {
  const Token token{"11111111-1111-4111-8111-111111111111", 58};
  CHECK(token_text(token) == "11111111-1111-4111-8111-111111111111:58");
  const std::optional<Token> again = parse_token(token_text(token));
  REQUIRE(again.has_value());
  CHECK(again->cluster == token.cluster);
  CHECK(again->ts == 58);
  CHECK(parse_token("58")->cluster.empty());
  for (const char* wrong : {"", ":", "x", ":58", "c:", "c:-1", "c:9007199254740992"})
    CHECK_FALSE(parse_token(wrong));
  CHECK_THAT(refusal({"get", "a", "--at-least", "x"}), Catch::StartsWith("--after,--at-least: \"x\""));
  CHECK_THAT(refusal({"get", "a", "--after", "58", "--consistency", "local"}), Catch::Contains("contradict"));
}

TEST_CASE("options: the shell knows the same commands, and init and quit beside them") {
  GlobalOptions defaults;
  defaults.format = Format::json;
  defaults.timeout = std::chrono::seconds(9);
  const auto line = [&](const std::vector<std::string>& words) { return parse_shell_words(words, defaults); };
  const auto put = std::get<Invocation>(line({"PUT", "a", "b", "--timeout", "1s"}));
  CHECK(std::get<PutCommand>(put.command).value == "b");
  CHECK(put.options.format == Format::json);
  CHECK(put.options.timeout == std::chrono::seconds(1));
  const auto init = std::get<Invocation>(line({"init", "a:1,b:2"}));
  CHECK(std::get<InitCommand>(init.command).endpoints.size() == 2);
  CHECK(std::holds_alternative<QuitCommand>(std::get<Invocation>(line({"exit"})).command));
  CHECK(std::get<UsageError>(line({"init"})).text == "init: SERVERS is missing");
  CHECK_THAT(std::get<UsageError>(line({"put", "k", "-"})).text, Catch::Contains("standard input"));
  CHECK_THAT(std::get<UsageError>(line({"shell"})).text, Catch::StartsWith("unknown command"));
  CHECK_THAT(std::get<UsageError>(line({"get", "k", "-e", "a:1"})).text, Catch::StartsWith("unknown flag"));
}
