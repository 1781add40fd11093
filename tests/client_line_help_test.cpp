// What the shell proposes for a line that is being typed.
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "client/line_help.hpp"
#include "client/options.hpp"
#include "client/words.hpp"

using namespace kv::client;

namespace {

FlagOutline flag(std::string name, std::string shape = "", std::string letter = "",
                 std::vector<std::string> choices = {}) {
  return {std::move(name), std::move(letter), std::move(shape), "", "", std::move(choices)};
}
CommandOutline command(std::string name, std::vector<WordOutline> words, std::vector<FlagOutline> flags = {}) {
  CommandOutline outline;
  outline.name = std::move(name);
  outline.words = std::move(words);
  outline.flags = std::move(flags);
  return outline;
}

const Outline outline{
    "",
    {command("del", {{"KEY", ""}}, {flag("--if-ts", "TS")}), command("help", {{"[COMMAND]", ""}}),
     command("put", {{"KEY", ""}, {"VALUE", ""}}, {flag("--if-ts", "TS"), flag("--literal")}),
     command("status", {})},
    {flag("--output", "FORMAT", "-o", {"simple", "json", "table"}), flag("--timeout", "DURATION")}};

// "begin: word|word|…", with what the words would be typed as.
std::string completed(const std::string& before) {
  const FindKeys find_keys = [](const std::string& prefix) {
    FoundKeys found;
    for (const char* key : {"colour", "colours/dark blue", "it's", "shape"}) {
      if (std::string(key).starts_with(prefix)) found.keys.emplace_back(key);
    }
    found.more = prefix == "c";
    return found;
  };
  const Completions completions = complete_line(outline, find_keys, before);
  std::string text = std::to_string(completions.begin) + ":";
  for (const std::string& word : completions.words) text += "|" + word;
  return text + (completions.more ? "|…" : "");
}

std::string unfinished(const std::string& line) {
  const UnfinishedLine parts = split_unfinished(line);
  std::string text;
  for (const std::string& word : parts.words) text += "(" + word + ")";
  return text + std::to_string(parts.begin) + parts.word + (parts.in_quotes ? "…" : "");
}

}  // namespace

TEST_CASE("words: of an unfinished line the last one is still being typed") {
  CHECK(unfinished("") == "0");
  CHECK(unfinished("pu") == "0pu");
  CHECK(unfinished("put ") == "(put)4");
  CHECK(unfinished("put  col") == "(put)5col");
  CHECK(unfinished("put 'a b") == "(put)4a b…");
  CHECK(unfinished("put 'a b' \"c") == "(put)(a b)10c…");
  CHECK(unfinished("put a\\ b") == "(put)4a b");
  CHECK(unfinished("put a\\") == "(put)4a…");
}

TEST_CASE("words: what is quoted is read as the same word again") {
  CHECK(quoted_word("plain/word-1") == "plain/word-1");
  for (const std::string word : {"", "a b", "it's", "a\"b", "it's \"b\" \\c", "#", "tab\there", "\xc3\xa4"}) {
    INFO(word);
    const auto words = split_words("put " + quoted_word(word));
    REQUIRE(std::holds_alternative<std::vector<std::string>>(words));
    CHECK(std::get<std::vector<std::string>>(words) == std::vector<std::string>{"put", word});
  }
}

TEST_CASE("line help: commands, flags and their values") {
  CHECK(completed("") == "0:|del |help |put |status ");
  CHECK(completed("p") == "0:|put ");
  CHECK(completed("x") == "0:");
  CHECK(completed("  st") == "2:|status ");
  CHECK(completed("help d") == "5:|del ");
  CHECK(completed("put --") == "4:|--if-ts |--literal |--output |--timeout ");
  CHECK(completed("put k v ") == "8:|--if-ts |--literal |--output |--timeout ");
  CHECK(completed("put --output j") == "13:|json ");
  CHECK(completed("put -o t") == "7:|table ");
  CHECK(completed("put --timeout 5") == "14:");
  CHECK(completed("nonsense ") == "9:");
}

TEST_CASE("line help: keys, in quotes where they need them") {
  CHECK(completed("del col") == "4:|'colours/dark blue' |colour ");
  CHECK(completed("del c") == "4:|'colours/dark blue' |colour |…");
  CHECK(completed("del 'colours/d") == "4:|'colours/dark blue' ");
  CHECK(completed("del --if-ts 5 sh") == "14:|shape ");
  CHECK(completed("put i") == "4:|\"it's\" ");
  CHECK(completed("put -- sh") == "7:|shape ");
  CHECK(completed("put shape sh") == "10:");
}

TEST_CASE("line help: files behind @") {
  std::string folder = (std::filesystem::temp_directory_path() / "kvctl-test-XXXXXX").string();
  REQUIRE(::mkdtemp(folder.data()));
  std::ofstream(folder + "/one");
  std::filesystem::create_directory(folder + "/other");
  const std::string before = "put k @" + folder + "/o";
  CHECK(completed(before) == "6:|@" + folder + "/one |@" + folder + "/other/");
  std::filesystem::remove_all(folder);
}

TEST_CASE("line help: what the shell's own commands take") {
  const Outline shell = shell_outline();
  CHECK(hint_for(shell, "put ") == "KEY VALUE");
  CHECK(hint_for(shell, "list ") == "[PREFIX]");
  CHECK(hint_for(shell, "ls ") == "[PREFIX]");
  CHECK(hint_for(shell, "watch ") == "[KEY]");
  CHECK(hint_for(shell, "watch --prefix ") == "PREFIX");
  CHECK(hint_for(shell, "backup ") == "ACTION FILE");
  const FindKeys none = [](const std::string&) { return FoundKeys(); };
  CHECK(complete_line(shell, none, "ba").words == std::vector<std::string>{"backup "});
  CHECK(complete_line(shell, none, "backup s").words == std::vector<std::string>{"save "});
}

TEST_CASE("line help: the hint says what comes next") {
  CHECK(hint_for(outline, "put") == " KEY VALUE");
  CHECK(hint_for(outline, "put ") == "KEY VALUE");
  CHECK(hint_for(outline, "put k") == "");
  CHECK(hint_for(outline, "put k ") == "VALUE");
  CHECK(hint_for(outline, "put k v ") == "");
  CHECK(hint_for(outline, "put --if-ts ") == "TS");
  CHECK(hint_for(outline, "put --if-ts 5 ") == "KEY VALUE");
  CHECK(hint_for(outline, "help ") == "[COMMAND]");
  CHECK(hint_for(outline, "status ") == "");
  CHECK(hint_for(outline, "put 'a ") == "");
  CHECK(hint_for(outline, "nonsense ") == "");
  CHECK(hint_for(outline, "") == "");
}
