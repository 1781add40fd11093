// The commands: their words, their flags, and what of them becomes the Command.
#include "client/grammar.hpp"
#include "client/help_files.hpp"

namespace kv::client {

void Grammar::add_commands() {
  add_put();
  add_get();
  add_del();
  add_list();
  add_watch();
  add_wait();
  add_txn();
  add_command("status", "Show every server: role, term, applied, behind, keys, size, uptime",
              [] { return StatusCommand{}; });
  add_backup();
  add_dump();
  add_load();
  add_bench();
  if (place_ == Place::program) {
    add_command("shell", "Read commands from the terminal or a pipe", [] { return ShellCommand{}; });
    add_completion();
  } else {
    add_init();
    add_jobs();
    add_command("quit", "Leave; Ctrl-D does the same", [] { return QuitCommand{}; })->alias("exit");
  }
  add_help();
}

void Grammar::add_put() {
  CLI::App* put = add_command("put", "Write a value", {});
  CLI::Option* key = add_value(*put, "KEY", "1 to 4096 bytes of UTF-8", "");
  CLI::Option* value = add_value(*put, "VALUE", "At most 1 MiB; - is standard input, @FILE a file", "");
  CLI::Option* if_ts = add_value(*put, "--if-ts", "Only if the key's timestamp is TS; 0: if it is absent", "TS");
  CLI::Option* create = add_switch(*put, "--create", "Only if the key is absent");
  CLI::Option* literal = add_switch(*put, "--literal", "Take VALUE as it is, also - and @FILE");
  put->footer(
      "For example: put colour blue, put --create lock me, put config @config.json\n"
      "A value that begins with - goes behind --: put -- balance -5");
  makers_[put] = [=, this] {
    PutCommand command;
    command.key = key_of(*put, key);
    command.value = positional(*put, value, "VALUE");
    command.literal = switch_value(literal, false);
    command.if_ts = position_value(if_ts);
    if (switch_value(create, false)) {
      if (command.if_ts.value_or(0) != 0) bad_usage("put: --create and --if-ts contradict each other");
      command.if_ts = 0;
    }
    if (place_ == Place::shell && command.value == "-" && !command.literal) {
      bad_usage("put: - is standard input, which the shell reads itself", "Use @FILE, or --literal for a dash");
    }
    return command;
  };
}

void Grammar::add_get() {
  CLI::App* get = add_command("get", "Read a value", {});
  CLI::Option* key = add_value(*get, "KEY", "The key", "");
  CLI::Option* raw = add_switch(*get, "--raw", "The value alone, with no newline behind it");
  CLI::Option* after =
      add_value(*get, "--after,--at-least", "At least as new as TOKEN, which put -v printed", "TOKEN");
  get->footer("For example: get colour, get colour --consistency linearizable, get config --raw > config.json");
  makers_[get] = [=, this] {
    GetCommand command;
    command.key = key_of(*get, key);
    command.raw = switch_value(raw, false);
    command.after = token_of(after);
    return command;
  };
}

void Grammar::add_del() {
  CLI::App* del = add_command("del", "Delete a key: 1 if it was there, else 0", {});
  del->alias("delete");
  CLI::Option* key = add_value(*del, "KEY", "The key", "");
  CLI::Option* if_ts = add_value(*del, "--if-ts", "Only if the key's timestamp is TS", "TS");
  del->footer("For example: del colour, del lock --if-ts 58");
  makers_[del] = [=, this] {
    DeleteCommand command;
    command.key = key_of(*del, key);
    command.if_ts = position_value(if_ts);
    return command;
  };
}

void Grammar::add_init() {
  CLI::App* init = add_command("init", "Begin anew with these servers", {});
  CLI::Option* servers = add_value(*init, "SERVERS", "HOST:PORT,… to ask; the others are learned", "");
  makers_[init] = [=, this] {
    InitCommand command;
    command.endpoints = addresses_value("init", positional(*init, servers, "SERVERS"));
    return command;
  };
}

void Grammar::add_completion() {
  CLI::App* completion = add_command("completion", "Print what makes your shell complete lines of kvctl", {});
  CLI::Option* shell = add_value(*completion, "SHELL", "bash, zsh or fish", "");
  offer(shell, {"bash", "zsh", "fish"});
  completion->footer(
      "For example, in ~/.bashrc or ~/.zshrc: source <(kvctl completion bash), source <(kvctl completion zsh);\n"
      "fish: kvctl completion fish > ~/.config/fish/completions/kvctl.fish. An installed package has them in "
      "place.");
  makers_[completion] = [=, this] {
    const std::string name = positional(*completion, shell, "SHELL (bash, zsh or fish)");
    const std::optional<std::string> script = completion_script(outline(), name);
    if (!script) bad_usage("completion: " + in_quotes(name) + " is none of bash, zsh, fish");
    return ShowText{*script};
  };
}

void Grammar::add_help() {
  CLI::App* help = add_command("help", "Show the commands, or one of them", {});
  CLI::Option* topic = add_optional(*help, "COMMAND", "");
  makers_[help] = [=, this] { return ShowText{help_text(is_set(topic) ? last_of(topic) : "")}; };
}

}  // namespace kv::client
