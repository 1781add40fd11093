#include "client/grammar.hpp"

#include <algorithm>
#include <utility>

#include "client/help_files.hpp"
#include "client/suggest.hpp"
#include "common/text.hpp"

namespace kv::client {

void bad_usage(std::string text, std::string hint) {
  throw BadUsage{UsageError{std::move(text), std::move(hint)}};
}

std::string in_quotes(std::string_view text) {
  return "\"" + escape_control(text) + "\"";
}

std::optional<std::uint64_t> position_value(const CLI::Option* option) {
  if (!is_set(option)) return std::nullopt;
  const std::optional<std::uint64_t> number = parse_number(last_of(option));
  if (!number || *number > max_integer) {
    bad_usage(option->get_name() + ": " + in_quotes(last_of(option)) +
              " is no timestamp: a whole number, 0 or more");
  }
  return number;
}

std::optional<std::uint64_t> count_value(const CLI::Option* option) {
  if (!is_set(option)) return std::nullopt;
  const std::optional<std::uint64_t> number = parse_number(last_of(option));
  if (!number || *number == 0) {
    bad_usage(option->get_name() + ": " + in_quotes(last_of(option)) + " is no whole number, 1 or more");
  }
  return number;
}

std::vector<Address> addresses_value(const std::string& name, const std::string& text) {
  auto parsed = parse_addresses(text);
  if (const auto* error = std::get_if<AddressError>(&parsed)) bad_usage(name + ": " + error->text);
  return std::get<std::vector<Address>>(std::move(parsed));
}

Grammar::Grammar(Place place, const GlobalOptions& defaults)
    : place_(place),
      options_(defaults),
      app_(place == Place::program ? "Reads and writes the keys of a kvd cluster. Without a command: the shell."
                                   : "The commands of the shell.",
           place == Place::program ? "kvctl" : "") {
  app_.set_help_flag("-h,--help", "Show this and leave");
  app_.require_subcommand(0, 1);
  add_globals();
  add_commands();
  app_.get_formatter()->column_width(34);
  app_.get_formatter()->label("SUBCOMMAND", "COMMAND");
  app_.get_formatter()->label("REQUIRED", "");
  app_.footer(place_ == Place::program
                  ? "help COMMAND tells more about one of them. All flags may stand before or behind the command.\n"
                    "Exit status: 0 done; 1 no (no such key, a conflict; of status: no leader); 2 wrong usage;\n"
                    "3 no server reached; 4 refused, or no answer in time; 5 the outcome of a write is not known"
                  : "help COMMAND tells more about one of them.");
}

void Grammar::from_environment(CLI::Option* option, const char* variable) const {
  if (place_ == Place::program) option->envname(variable);
}

CLI::Option* Grammar::add_value(CLI::App& app, const char* names, const char* description, const char* shape) {
  CLI::Option* option = app.add_option(names, CLI::callback_t(), description);
  option->type_name(shape)->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  if (option->get_positional()) positionals_.push_back(option);
  return option;
}

CLI::Option* Grammar::add_optional(CLI::App& app, const char* name, const char* description) {
  CLI::Option* option = add_value(app, name, description, "");
  positionals_.pop_back();
  return option;
}

void Grammar::offer(const CLI::Option* option, std::vector<std::string> choices) {
  choices_[option] = std::move(choices);
}

std::vector<std::string> Grammar::choices_of(const CLI::Option* option) const {
  const auto found = choices_.find(option);
  return found == choices_.end() ? std::vector<std::string>() : found->second;
}

CLI::Option* Grammar::add_switch(CLI::App& app, const char* names, const char* description) {
  CLI::Option* option = app.add_flag(names);
  option->description(description)->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  return option;
}

void Grammar::add_globals() {
  if (place_ == Place::program) {
    endpoints_ = add_value(app_, "-e,--endpoints",
                           "Servers to ask; the others are learned from them [127.0.0.1:7401]", "HOST:PORT,…");
    from_environment(endpoints_, "KVCTL_ENDPOINTS");
    session_ =
        add_value(app_, "--session", "Keep the timestamps in FILE instead of the user's state directory", "FILE");
    from_environment(session_, "KVCTL_SESSION");
    no_session_ = add_switch(app_, "--no-session", "Neither read nor keep timestamps");
    from_environment(no_session_, "KVCTL_NO_SESSION");
    keep_going_ = add_switch(app_, "--keep-going", "In a script for the shell, and in load: go on after an error");
    from_environment(keep_going_, "KVCTL_KEEP_GOING");
    version_ = add_switch(app_, "-V,--version", "Show the version and leave");
    man_page_ = add_switch(app_, "--man-page", "Print the manual page's source and leave");
  }
  timeout_ = add_value(app_, "--timeout", "For the whole command, all attempts [5s]", "DURATION");
  from_environment(timeout_, "KVCTL_TIMEOUT");
  consistency_ = add_value(app_, "--consistency", "Of reads: session, linearizable or local [session]", "NAME");
  from_environment(consistency_, "KVCTL_CONSISTENCY");
  offer(consistency_, {"session", "linearizable", "local"});
  output_ = add_value(app_, "-o,--output", "simple, json or table [simple]", "FORMAT");
  offer(output_, {"simple", "json", "table"});
  from_environment(output_, "KVCTL_OUTPUT");
  verbose_ = add_switch(app_, "-v,--verbose", "Also show timestamp, server and token");
  from_environment(verbose_, "KVCTL_VERBOSE");
  no_color_ = add_switch(app_, "--no-color", "No colour on a terminal; NO_COLOR does the same");
  from_environment(no_color_, "KVCTL_NO_COLOR");
}

CLI::App* Grammar::add_command(const char* name, const char* description, std::function<Command()> make) {
  CLI::App* command = app_.add_subcommand(name, description);
  command->fallthrough()->ignore_case()->group("Commands");
  makers_[command] = std::move(make);
  return command;
}

std::string Grammar::positional(const CLI::App& app, const CLI::Option* option, const char* name) const {
  if (!is_set(option)) bad_usage(app.get_name() + ": " + name + " is missing", how_to_get_help(app.get_name()));
  return last_of(option);
}

std::string Grammar::key_of(const CLI::App& app, const CLI::Option* option) const {
  const std::string key = positional(app, option, "KEY");
  if (key.empty()) bad_usage(app.get_name() + ": the key is empty: a key has 1 to 4096 bytes");
  if (!is_valid_utf8(key)) bad_usage(app.get_name() + ": the key " + in_quotes(key) + " is not valid UTF-8");
  return key;
}

// Which may be empty.
std::string Grammar::text_of(const std::string& topic, const CLI::Option* option) const {
  if (!is_set(option)) return "";
  const std::string text = last_of(option);
  if (text.size() > max_key_bytes) bad_usage(topic + ": longer than a key may be: 4096 bytes");
  if (!is_valid_utf8(text)) bad_usage(topic + ": " + in_quotes(text) + " is not valid UTF-8");
  return text;
}

std::optional<Token> Grammar::token_of(const CLI::Option* option) const {
  if (!is_set(option)) return std::nullopt;
  std::optional<Token> token = parse_token(last_of(option));
  const std::string name = option->get_name(false, true);  // all of its names
  if (!token) bad_usage(name + ": " + in_quotes(last_of(option)) + " is no token", "put -v prints one: CLUSTER:TS");
  if (options_.consistency == message::Consistency::local) {
    bad_usage(name + " and --consistency local contradict each other: a local read waits for nothing");
  }
  return token;
}

std::string Grammar::how_to_get_help(const std::string& topic) const {
  const std::string command = place_ == Place::program ? "kvctl help" : "help";
  return "Try: " + command + (topic.empty() ? "" : " " + topic);
}

std::vector<std::string> Grammar::command_names() const {
  std::vector<std::string> names;
  for (const auto& [command, make] : makers_) names.push_back(command->get_name());
  std::sort(names.begin(), names.end());
  return names;
}

void Grammar::unknown_command(const std::string& word) const {
  const std::string nearest = nearest_word(word, command_names());
  std::string text = "unknown command " + in_quotes(word);
  if (!nearest.empty()) text += ": did you mean " + nearest + "?";
  bad_usage(std::move(text), how_to_get_help());
}

std::string Grammar::help_text(const std::string& topic) const {
  if (topic.empty()) return app_.get_formatter()->make_help(&app_, app_.get_name(), CLI::AppFormatMode::Normal);
  for (const auto& [command, make] : makers_) {
    if (!command->check_name(topic)) continue;
    // Only now: while parsing, a missing word is told in our own words.
    for (CLI::Option* option : positionals_) option->required();
    return command->help(app_.get_name());
  }
  unknown_command(topic);
}

void Grammar::explain_extras() const {
  const std::vector<std::string> extras = app_.remaining(true);
  const std::vector<CLI::App*> commands = app_.get_subcommands();
  const std::string first = extras.empty() ? "" : extras.front();
  const std::string topic = commands.empty() ? "" : commands.front()->get_name();
  if (first.size() > 1 && first[0] == '-') {
    bad_usage("unknown flag " + in_quotes(first), (topic == "put" || topic == "get" || topic == "del")
                                                      ? "A key or value that begins with - goes behind --"
                                                      : how_to_get_help(topic));
  }
  if (commands.empty()) unknown_command(first);
  bad_usage(topic + ": one word too many: " + in_quotes(first),
            topic == "put" ? "Quote a value that has blanks" : how_to_get_help(topic));
}

// Rather than from the environment.
bool Grammar::on_the_line(const CLI::Option* option) const {
  const std::vector<CLI::Option*>& parsed = app_.parse_order();
  return std::find(parsed.begin(), parsed.end(), option) != parsed.end();
}

// Where a wrong value has to be put right: "--timeout" or "KVCTL_TIMEOUT".
std::string Grammar::source_of(const CLI::Option* option) const {
  return option->get_envname().empty() || on_the_line(option) ? option->get_name() : option->get_envname();
}

bool Grammar::switch_value(const CLI::Option* option, bool otherwise) const {
  if (!is_set(option)) return otherwise;
  const std::string word = last_of(option);
  for (const char* yes : {"true", "1", "yes", "on"}) {
    if (word == yes) return true;
  }
  for (const char* no : {"false", "0", "no", "off"}) {
    if (word == no) return false;
  }
  bad_usage(source_of(option) + ": " + in_quotes(word) + " is neither yes nor no");
}

// A flag beats the environment, also where the two say different things.
void Grammar::read_session() {
  const bool none = switch_value(no_session_, options_.no_session);
  if (is_set(session_) && last_of(session_).empty()) bad_usage(source_of(session_) + ": the file's name is empty");
  const bool file_flag = on_the_line(session_);
  const bool none_flag = none && on_the_line(no_session_);
  if (file_flag && none_flag) bad_usage("--session and --no-session contradict each other");
  options_.no_session = none && !file_flag;
  if (is_set(session_) && !options_.no_session) options_.session_file = last_of(session_);
}

void Grammar::read_globals() {
  GlobalOptions& o = options_;
  if (is_set(endpoints_)) {
    std::string all;
    for (const std::string& some : endpoints_->results()) all += (all.empty() ? "" : ",") + some;
    o.endpoints = addresses_value(source_of(endpoints_), all);
    o.endpoints_given = true;
  }
  if (is_set(timeout_)) {
    const auto timeout = parse_duration(last_of(timeout_));
    if (!timeout || timeout->count() <= 0 || timeout->count() > static_cast<std::int64_t>(max_timeout_ms)) {
      bad_usage(source_of(timeout_) + ": " + in_quotes(last_of(timeout_)) + " is no duration from 1ms to 24h",
                "Write 100ms, 5s or 2m");
    }
    o.timeout = *timeout;
    o.timeout_given = true;
  }
  if (is_set(consistency_)) {
    const auto consistency = message::consistency_named(last_of(consistency_));
    if (!consistency) {
      bad_usage(source_of(consistency_) + ": " + in_quotes(last_of(consistency_)) +
                " is none of session, linearizable, local");
    }
    o.consistency = *consistency;
  }
  if (is_set(output_)) {
    const std::map<std::string, Format> formats = {
        {"simple", Format::simple}, {"json", Format::json}, {"table", Format::table}};
    const auto found = formats.find(last_of(output_));
    if (found == formats.end()) {
      bad_usage(source_of(output_) + ": " + in_quotes(last_of(output_)) + " is none of simple, json, table");
    }
    o.format = found->second;
  }
  o.verbose = switch_value(verbose_, o.verbose);
  o.no_color = switch_value(no_color_, o.no_color);
  o.keep_going = switch_value(keep_going_, o.keep_going);
  if (place_ == Place::program) read_session();
}

// ---- What is defined

namespace {

FlagOutline outline_of_flag(const CLI::Option& option) {
  FlagOutline flag;
  flag.name = "--" + option.get_lnames().front();
  if (!option.get_snames().empty()) flag.letter = "-" + option.get_snames().front();
  flag.shape = option.get_type_size() == 0 ? "" : option.get_type_name();
  flag.description = option.get_description();
  flag.variable = option.get_envname();
  return flag;
}

}  // namespace

std::vector<FlagOutline> Grammar::flags_of(const CLI::App& app) const {
  std::vector<FlagOutline> flags;
  for (const CLI::Option* option : app.get_options()) {
    if (option->get_lnames().empty()) continue;
    flags.push_back(outline_of_flag(*option));
    flags.back().choices = choices_of(option);
  }
  std::sort(flags.begin(), flags.end(), [](const FlagOutline& a, const FlagOutline& b) { return a.name < b.name; });
  return flags;
}

CommandOutline Grammar::outline_of(const CLI::App& command) const {
  CommandOutline outline;
  outline.name = command.get_name();
  outline.aliases = command.get_aliases();
  outline.description = command.get_description();
  outline.footer = command.get_footer();
  for (const CLI::Option* option : command.get_options()) {
    if (!option->get_positional()) continue;
    const bool required = std::find(positionals_.begin(), positionals_.end(), option) != positionals_.end();
    outline.words.push_back({required ? option->get_name() : "[" + option->get_name() + "]",
                             option->get_description(), choices_of(option)});
  }
  outline.flags = flags_of(command);
  // Of all commands alike.
  std::erase_if(outline.flags, [](const FlagOutline& flag) { return flag.name == "--help"; });
  return outline;
}

Outline Grammar::outline() const {
  Outline outline;
  outline.description = app_.get_description();
  outline.flags = flags_of(app_);
  for (const auto& [command, make] : makers_) outline.commands.push_back(outline_of(*command));
  std::sort(outline.commands.begin(), outline.commands.end(),
            [](const CommandOutline& a, const CommandOutline& b) { return a.name < b.name; });
  return outline;
}

// ---- A line

Command Grammar::read_command() {
  const std::vector<CLI::App*> commands = app_.get_subcommands();
  if (commands.empty()) return ShellCommand{};
  return makers_.at(commands.front())();
}

Invocation Grammar::parse(const std::vector<std::string>& words) {
  try {
    std::vector<std::string> reversed(words.rbegin(), words.rend());  // as CLI11 wants them
    app_.parse(std::move(reversed));
  } catch (const CLI::CallForHelp&) {
    const std::vector<CLI::App*> commands = app_.get_subcommands();
    return {options_, ShowText{help_text(commands.empty() ? "" : commands.front()->get_name())}};
  } catch (const CLI::ExtrasError&) {
    explain_extras();
  } catch (const CLI::ParseError& error) {
    bad_usage(escape_control(error.what()), how_to_get_help());
  }
  if (switch_value(version_, false)) return {options_, ShowText{std::string("kvctl ") + version + "\n"}};
  if (switch_value(man_page_, false)) return {options_, ShowText{man_page(outline())}};
  read_globals();
  Command command = read_command();
  return {std::move(options_), std::move(command)};
}

}  // namespace kv::client
