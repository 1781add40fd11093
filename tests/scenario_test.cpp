// The scenarios of tests/scenarios/: transcripts of the bare core that read as a tutorial of the protocol. With
// KV_REWRITE_SCENARIOS=1 the outputs in the files are replaced by what the core does now: look at the difference.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "tests/scenario_file.hpp"
#include "tests/scenario_runner.hpp"

namespace kv::scenario {
namespace {

std::vector<std::filesystem::path> scenario_files() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(KV_TEST_FOLDER "/scenarios")) {
    if (entry.path().extension() == ".txt") files.push_back(entry.path());
  }
  std::sort(files.begin(), files.end());
  return files;
}

std::string content_of(const std::filesystem::path& file) {
  std::ifstream stream(file, std::ios::binary);
  REQUIRE(stream);
  std::ostringstream content;
  content << stream.rdbuf();
  return content.str();
}

bool rewrites() {
  const char* const wish = std::getenv("KV_REWRITE_SCENARIOS");
  return wish && std::string(wish) == "1";
}

Played play_text(const std::string& text) {
  Runner runner;
  return play("test.txt", parse_transcript(text), [&](const std::string& command) { return runner.run(command); });
}

void rewrite(const std::filesystem::path& file, const std::string& before, const std::string& after) {
  if (before == after) return;
  std::ofstream stream(file, std::ios::binary | std::ios::trunc);
  stream << after;
  stream.flush();
  REQUIRE(stream);
  WARN("rewritten: " << file.string());
}

}  // namespace

TEST_CASE("each scenario goes as its transcript says", "[scenario]") {
  const std::vector<std::filesystem::path> files = scenario_files();
  REQUIRE_FALSE(files.empty());
  for (const std::filesystem::path& file : files) {
    DYNAMIC_SECTION(file.filename().string()) {
      const std::string text = content_of(file);
      Played played;
      try {
        Runner runner;
        played = play(file.string(), parse_transcript(text),
                      [&](const std::string& command) { return runner.run(command); });
      } catch (const ScriptError& error) {
        FAIL(file.filename().string() << ": " << error.what());
      }
      if (rewrites()) {
        rewrite(file, text, played.got.text());
      } else if (!played.mismatch.empty()) {
        FAIL(played.mismatch);
      }
    }
  }
}

TEST_CASE("each scenario opens with its situation and where it is written of", "[scenario]") {
  for (const std::filesystem::path& file : scenario_files()) {
    DYNAMIC_SECTION(file.filename().string()) {
      std::string opening;
      for (const Step& step : parse_transcript(content_of(file)).steps) {
        if (!step.text.starts_with("#")) break;
        opening += step.text + "\n";
      }
      CHECK_THAT(opening, Catch::Contains("Raft paper") || Catch::Contains("dissertation"));
      CHECK_THAT(opening, Catch::Contains("§"));
    }
  }
}

TEST_CASE("a mismatch is shown by file, line, command and the lines that differ", "[scenario]") {
  const std::string text =
      "# A comment.\n"
      "> cluster n1\n"
      "\n"
      "> campaign n1\n"
      "  n1 becomes leader, term 2\n"
      "  n1 writes term 1, vote n1, entries 1/1 no-op\n";
  const Played played = play_text(text);
  CHECK(played.mismatch ==
        "test.txt:4: > campaign n1\n"
        "  (- expected, + got)\n"
        "  -   n1 becomes leader, term 2\n"
        "  +   n1 becomes leader, term 1\n"
        "      n1 writes term 1, vote n1, entries 1/1 no-op\n"
        "  +   n1 applies 1/1 no-op\n");

  SECTION("and the rewritten transcript goes as it says, byte for byte") {
    const std::string rewritten = played.got.text();
    CHECK(rewritten.starts_with("# A comment.\n> cluster n1\n\n> campaign n1\n  n1 becomes leader, term 1\n"));
    const Played again = play_text(rewritten);
    CHECK(again.mismatch.empty());
    CHECK(again.got.text() == rewritten);
  }
}

TEST_CASE("a command that is impossible after a mismatch does not hide it", "[scenario]") {
  const std::string text =
      "> cluster n1\n"
      "> campaign n1\n"
      "  n1 does not ask\n"
      "> campaign n1\n";
  CHECK_THROWS_WITH(play_text(text), Catch::Contains("-   n1 does not ask") &&
                                         Catch::Contains("test.txt:4: > campaign n1\n  n1 leads already"));
}

TEST_CASE("what a script says wrongly is refused by line, never passed over", "[scenario]") {
  const auto [line, refusal] = GENERATE(table<std::string, std::string>({
      {"tik n1", "unknown command 'tik'"},
      {"quietly tik n1", "unknown command 'tik'"},
      {"quietly", "there is no command"},
      {"tick", "usage: tick SERVER…|all [COUNT]"},
      {"tick n1 soon", "no server 'soon'"},
      {"tick n4", "no server 'n4'"},
      {"campaign n1 n2", "usage: campaign SERVER"},
      {"deliver n1", "not a link"},
      {"deliver n1->n9", "no server 'n9'"},
      {"deliver n1->n2 x", "not a number: 'x'"},
      {"log n1 1 two", "not a number: 'two'"},
      {"log n1 2 1", "terms never fall"},
      {"log n1 2 term=1", "older than the last entry"},
      {"log n1 2 commit=2", "behind the log's end"},
      {"log n1 1 votes=n2", "not a number: 'votes=n2'"},
      {"cluster n1 n1", "'n1' is there twice"},
      {"cluster n1 seed=1", "neither a server's name nor a setting: 'seed=1'"},
      {"disk n1 broken", "a disk is slow or fast"},
      {"written n1", "n1 is not writing"},
      {"restart n1", "n1 is up already"},
      {"progress n1", "n1 does not lead"},
  }));
  CAPTURE(line);
  CHECK_THROWS_WITH(play_text("> cluster n1 n2 n3\n> " + line + "\n"),
                    Catch::Contains("test.txt:2: > " + line) && Catch::Contains(refusal));
}

TEST_CASE("output without a command above it, and a command before the cluster, are refused", "[scenario]") {
  CHECK_THROWS_WITH(play_text("> cluster n1\n\n  stray\n"), Catch::Contains("line 3") && Catch::Contains("stray"));
  CHECK_THROWS_WITH(play_text("> tick n1\n"), Catch::Contains("the first command is 'cluster'"));
  CHECK_THROWS_WITH(play_text("> cluster n1"), Catch::Contains("the last line has no end"));
}

}  // namespace kv::scenario
