// The commands about many keys, and about what changes: list, watch, wait, txn.
#include "client/grammar.hpp"

namespace kv::client {

void Grammar::add_list() {
  CLI::App* list = add_command("list", "Show the keys that there are, in their order", {});
  list->alias("ls");
  CLI::Option* prefix = add_optional(*list, "PREFIX", "Only keys that begin so");
  CLI::Option* values = add_switch(*list, "--values", "Also their values, behind a tab");
  CLI::Option* limit = add_value(*list, "--limit", "At most N [all]", "N");
  CLI::Option* after = add_value(*list, "--after", "Only keys greater than KEY: for the next page", "KEY");
  CLI::Option* at_least = add_value(*list, "--at-least", "At least as new as TOKEN, which put -v printed", "TOKEN");
  list->footer(
      "For example: list users/ --values, list --limit 100 --after users/bob, list -o json\n"
      "Keys of more than one page of 1000 are not all of one moment; dump's are.");
  makers_[list] = [=, this] {
    ListCommand command;
    command.prefix = text_of("list: PREFIX", prefix);
    command.after = text_of("list: --after", after);
    command.values = switch_value(values, false);
    command.limit = count_value(limit);
    command.at_least = token_of(at_least);
    return command;
  };
}

void Grammar::add_watch() {
  CLI::App* watch = add_command("watch", "Show each change of a key, or of all with a prefix, until Ctrl-C", {});
  CLI::Option* key = add_optional(*watch, "KEY", "The key, unless there is --prefix");
  CLI::Option* prefix = add_value(*watch, "--prefix", "All keys that begin so; '' is every key", "PREFIX");
  CLI::Option* from = add_value(*watch, "--from", "Changes behind this timestamp [now]", "TS");
  watch->footer(
      "For example: watch colour, watch --prefix users/, watch --prefix '' --from 58 -o json\n"
      "If the server goes away it goes on at another one, without gap or repeat. --timeout is how long none may "
      "be\n"
      "there.");
  makers_[watch] = [=, this] {
    WatchCommand command;
    if (is_set(key) == is_set(prefix)) {
      bad_usage(is_set(key) ? "watch: KEY and --prefix contradict each other" : "watch: KEY or --prefix is missing",
                how_to_get_help("watch"));
    }
    command.is_prefix = is_set(prefix);
    command.what = command.is_prefix ? text_of("watch: --prefix", prefix) : key_of(*watch, key);
    command.from = position_value(from);
    return command;
  };
}

void Grammar::add_wait() {
  CLI::App* wait = add_command("wait", "Wait until a key changes, and show its new value", {});
  CLI::Option* key = add_value(*wait, "KEY", "The key", "");
  CLI::Option* newer_than =
      add_value(*wait, "--newer-than", "A version behind this timestamp [the one of now]", "TS");
  wait->footer(
      "For example: wait job --timeout 1h, wait colour --newer-than 58\n"
      "A deletion is a change too: then there is no value, and the exit status is 1. --timeout is how long to "
      "wait.");
  makers_[wait] = [=, this] {
    WaitCommand command;
    command.key = key_of(*wait, key);
    command.newer_than = position_value(newer_than);
    return command;
  };
}

void Grammar::add_txn() {
  CLI::App* txn = add_command("txn", "Do several things at once, or others if a condition does not hold", {});
  CLI::Option* script =
      add_optional(*txn, "SCRIPT", "- or nothing: standard input; @FILE: a file; else the script itself");
  txn->footer(
      "A script is lines, or what ; parts: first the conditions, then what is done if all hold, then what else:\n"
      "    if lock absent        or: if lock 58, its timestamp\n"
      "    put lock me\n"
      "    get job\n"
      "    else\n"
      "    get lock\n"
      "with put KEY VALUE, del KEY and get KEY, quoted as in the shell; # begins a comment.\n"
      "For example: txn 'if lock absent; put lock me; else; get lock'\n"
      "All of it happens at one moment, or nothing. Exit status 1: a condition did not hold.");
  makers_[txn] = [=, this] {
    TxnCommand command;
    if (is_set(script)) command.script = last_of(script);
    if (place_ == Place::shell && command.script == "-") {
      bad_usage("txn: SCRIPT is missing: the shell reads standard input itself", how_to_get_help("txn"));
    }
    return command;
  };
}

void Grammar::add_jobs() {
  add_command("jobs", "Show what goes on in the background: watches, and reads that wait",
              [] { return JobsCommand{}; });
  CLI::App* cancel = add_command("cancel", "End what goes on in the background", {});
  CLI::Option* job = add_optional(*cancel, "JOB", "Its number, as jobs shows it; nothing: all");
  cancel->footer("For example: cancel 1");
  makers_[cancel] = [=] {
    CancelCommand command;
    command.job = count_value(job);
    return command;
  };
}

}  // namespace kv::client
