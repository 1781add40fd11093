// The definitions behind options.hpp, in terms of CLI11; for options.cpp and the grammar*.cpp alone.
//
// All options are taken as the words that were written (CLI::Option::results): CLI11's own conversions read "{}"
// as an empty list and "010" as octal. A Grammar parses once.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "client/options.hpp"
#include "client/outline.hpp"

namespace kv::client {

enum class Place { program, shell };

// Thrown while a command line is taken apart, and turned into the result of parse_*.
struct BadUsage {
  UsageError error;
};
[[noreturn]] void bad_usage(std::string text, std::string hint = "");

class Grammar {
 public:
  Grammar(Place place, const GlobalOptions& defaults);

  Invocation parse(const std::vector<std::string>& words);
  Outline outline() const;

 private:
  void add_globals();
  void add_commands();
  void add_put();
  void add_get();
  void add_del();
  void add_list();
  void add_watch();
  void add_wait();
  void add_txn();
  void add_jobs();
  void add_backup();
  void add_dump();
  void add_load();
  void add_bench();
  void refuse_contradictions(const BenchCommand& command, bool has_duration, bool has_reads) const;
  void add_init();
  void add_completion();
  void add_help();
  CLI::App* add_command(const char* name, const char* description, std::function<Command()> make);
  CLI::Option* add_value(CLI::App& app, const char* names, const char* description, const char* shape);
  // A word that may be left out.
  CLI::Option* add_optional(CLI::App& app, const char* name, const char* description);
  // Its value is one of these.
  void offer(const CLI::Option* option, std::vector<std::string> choices);
  CLI::Option* add_switch(CLI::App& app, const char* names, const char* description);
  void from_environment(CLI::Option* option, const char* variable) const;

  void read_globals();
  Command read_command();
  std::string help_text(const std::string& topic) const;
  [[noreturn]] void explain_extras() const;
  [[noreturn]] void unknown_command(const std::string& word) const;
  std::vector<std::string> command_names() const;
  CommandOutline outline_of(const CLI::App& command) const;
  std::vector<FlagOutline> flags_of(const CLI::App& app) const;
  std::vector<std::string> choices_of(const CLI::Option* option) const;

  std::string positional(const CLI::App& app, const CLI::Option* option, const char* name) const;
  std::string text_of(const std::string& topic, const CLI::Option* option) const;
  std::optional<Token> token_of(const CLI::Option* option) const;
  std::string key_of(const CLI::App& app, const CLI::Option* option) const;
  std::string how_to_get_help(const std::string& topic = "") const;
  bool on_the_line(const CLI::Option* option) const;
  std::string source_of(const CLI::Option* option) const;
  bool switch_value(const CLI::Option* option, bool otherwise) const;
  void read_session();

  Place place_;
  GlobalOptions options_;
  CLI::App app_;
  CLI::Option* endpoints_ = nullptr;
  CLI::Option* timeout_ = nullptr;
  CLI::Option* consistency_ = nullptr;
  CLI::Option* output_ = nullptr;
  CLI::Option* verbose_ = nullptr;
  CLI::Option* no_color_ = nullptr;
  CLI::Option* session_ = nullptr;
  CLI::Option* no_session_ = nullptr;
  CLI::Option* keep_going_ = nullptr;
  CLI::Option* version_ = nullptr;
  CLI::Option* man_page_ = nullptr;
  std::map<const CLI::App*, std::function<Command()>> makers_;
  std::vector<CLI::Option*> positionals_;  // that have to be there
  std::map<const CLI::Option*, std::vector<std::string>> choices_;
};

// Values of options, as they were written.
inline bool is_set(const CLI::Option* option) {
  return option != nullptr && option->count() > 0;
}
inline std::string last_of(const CLI::Option* option) {
  return option->results().back();
}
std::optional<std::uint64_t> position_value(const CLI::Option* option);
std::optional<std::uint64_t> count_value(const CLI::Option* option);  // 1 or more
std::vector<Address> addresses_value(const std::string& name, const std::string& text);
std::string in_quotes(std::string_view text);

}  // namespace kv::client
