// The commands that move all of the data: backup, dump and load.
#include "client/grammar.hpp"

namespace kv::client {
namespace {

constexpr const char* in_the_shell = "the shell reads standard input itself";

std::string file_name(const std::string& topic, std::string word) {
  if (word.empty()) bad_usage(topic + ": the file's name is empty");
  return word;
}

}  // namespace

void Grammar::add_backup() {
  CLI::App* backup = add_command("backup", "Save a backup of all data, or verify one", {});
  CLI::Option* action = add_value(*backup, "ACTION", "save: from the running cluster; verify: look at a file", "");
  offer(action, {"save", "verify"});
  CLI::Option* file = add_value(*backup, "FILE", "- is standard output (save)", "");
  CLI::Option* force = add_switch(*backup, "--force", "save: replace FILE if it exists");
  backup->footer(
      "For example: kvctl backup save kv.backup, and then kvctl backup verify kv.backup\n"
      "--timeout is how long to wait while nothing comes [1m]. kvd --restore begins a cluster from a backup.");
  makers_[backup] = [=, this]() -> Command {
    const std::string word = positional(*backup, action, "ACTION (save or verify)");
    if (word != "save" && word != "verify") {
      bad_usage("backup: " + in_quotes(word) + " is neither save nor verify", how_to_get_help("backup"));
    }
    const std::string name = file_name("backup", positional(*backup, file, "FILE"));
    if (word == "verify") {
      if (is_set(force)) bad_usage("backup verify: --force is for save");
      if (name == "-") bad_usage("backup verify: - is no file: a backup is verified from a file alone");
      return BackupVerifyCommand{name};
    }
    return BackupSaveCommand{name, switch_value(force, false)};
  };
}

void Grammar::add_dump() {
  CLI::App* dump = add_command("dump", "Write every key and value as a line of JSON", {});
  CLI::Option* file = add_optional(*dump, "FILE", "- or nothing: standard output");
  CLI::Option* from = add_value(*dump, "--from", "Read this backup instead of the running cluster", "BACKUP");
  CLI::Option* prefix = add_value(*dump, "--prefix", "Only keys that begin so", "TEXT");
  CLI::Option* force = add_switch(*dump, "--force", "Replace FILE if it exists");
  dump->footer(
      "For example: kvctl dump --prefix users/ users.jsonl, or kvctl dump | kvctl -e other:7401 load\n"
      "All lines are of one moment, in the order of the keys. --timeout is how long to wait while nothing comes "
      "[1m].");
  makers_[dump] = [=, this] {
    DumpCommand command;
    if (is_set(file)) command.file = file_name("dump", last_of(file));
    if (is_set(from)) command.from = file_name("dump: --from", last_of(from));
    if (is_set(prefix)) command.prefix = last_of(prefix);
    command.force = switch_value(force, false);
    return command;
  };
}

void Grammar::add_load() {
  CLI::App* load = add_command("load", "Put every key and value of a file of JSON lines", {});
  CLI::Option* file = add_optional(*load, "FILE", "As dump writes it; - or nothing: standard input");
  CLI::Option* prefix = add_value(*load, "--prefix", "Only keys that begin so", "TEXT");
  load->footer(
      "For example: kvctl load users.jsonl, with lines as {\"key\":\"colour\",\"value\":\"blue\"}\n"
      "\"value_base64\" is for bytes that are no text; other members are ignored. Keys that are there already are "
      "overwritten,\nall others stay. It stops at the first line that it cannot load, or counts them with "
      "--keep-going. --timeout is how\nlong to wait while nothing comes [1m].");
  makers_[load] = [=, this] {
    LoadCommand command;
    if (is_set(file)) command.file = file_name("load", last_of(file));
    if (is_set(prefix)) command.prefix = last_of(prefix);
    if (place_ == Place::shell && command.file == "-") {
      bad_usage(std::string("load: FILE is missing: ") + in_the_shell);
    }
    return command;
  };
}

}  // namespace kv::client
