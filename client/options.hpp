// The command line of kvctl, and of each line typed into its shell: words in, one validated command out.
//
// The same definitions serve both, so a command and its flags work the same way in both places. For the program
// each global flag may also come from the environment (KVCTL_ENDPOINTS, …); a flag beats it. Nothing is read
// from files here and nothing is printed.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "client/outline.hpp"
#include "common/address.hpp"
#include "common/message.hpp"

namespace kv::client {

enum class Format { simple, json, table };

struct GlobalOptions {
  std::vector<Address> endpoints = {Address{"127.0.0.1", 7401}};
  bool endpoints_given = false;
  std::chrono::milliseconds timeout{default_timeout_ms};
  bool timeout_given = false;
  message::Consistency consistency = message::Consistency::session;
  Format format = Format::simple;
  bool verbose = false;
  bool no_color = false;
  bool no_session = false;
  bool keep_going = false;
  std::string session_file;  // empty: one for each cluster in the state directory
};

struct PutCommand {
  std::string key;
  std::string value;     // as it was written
  bool literal = false;  // so that "-" and "@file" mean themselves
  std::optional<std::uint64_t> if_ts;
};
// What `put -v` prints and `get --after` takes.
struct Token {
  std::string cluster;  // empty: a bare position, of whichever cluster answers
  std::uint64_t ts = 0;
};
struct GetCommand {
  std::string key;
  bool raw = false;
  std::optional<Token> after;
};
struct DeleteCommand {
  std::string key;
  std::optional<std::uint64_t> if_ts;
};
struct ListCommand {
  std::string prefix;
  std::string after;
  std::optional<std::uint64_t> limit;  // none: all
  bool values = false;
  std::optional<Token> at_least;
};
struct WatchCommand {
  std::string what;  // a key, or what it begins with
  bool is_prefix = false;
  std::optional<std::uint64_t> from;  // changes after this; none: after now
};
struct WaitCommand {
  std::string key;
  std::optional<std::uint64_t> newer_than;  // none: than what there is now
};
struct TxnCommand {
  std::string script = "-";  // as it was written: the script itself, - or @FILE
};
struct StatusCommand {};
struct BackupSaveCommand {
  std::string file;  // "-": standard output
  bool force = false;
};
struct BackupVerifyCommand {
  std::string file;
};
struct DumpCommand {
  std::string file = "-";
  std::string from;  // a backup; empty: the running cluster
  std::string prefix;
  bool force = false;
};
struct LoadCommand {
  std::string file = "-";
  std::string prefix;
};
enum class BenchWork { put, get, mixed, follow };
enum class Distribution { uniform, zipf };
enum class BenchTarget { all, leader, followers };
struct BenchCommand {
  BenchWork work = BenchWork::put;
  std::uint64_t connections = 64;
  std::uint64_t pipeline = 1;  // requests under way on each
  std::uint64_t keys = 10'000;
  Distribution distribution = Distribution::uniform;
  std::string prefix = "bench/";
  std::uint64_t value_bytes = 100;
  std::uint64_t reads = 90;  // of a hundred, in mixed
  std::chrono::milliseconds duration{10'000};
  std::uint64_t count = 0;  // of requests; 0: as many as `duration` lets pass
  std::chrono::milliseconds warm_up{1000};
  std::uint64_t rate = 0;  // requests a second of all connections; 0: each as soon as the one before is answered
  BenchTarget target = BenchTarget::all;
  bool exactly_once = false;
  bool fill = true;  // before reads
};
struct ShellCommand {};
// In the shell alone.
struct InitCommand {
  std::vector<Address> endpoints;
};
struct JobsCommand {};
struct CancelCommand {
  std::optional<std::uint64_t> job;  // none: all
};
struct QuitCommand {};
// --help, --version and `help`: the text is ready.
struct ShowText {
  std::string text;
};
using Command =
    std::variant<ShellCommand, PutCommand, GetCommand, DeleteCommand, ListCommand, WatchCommand, WaitCommand,
                 TxnCommand, StatusCommand, BackupSaveCommand, BackupVerifyCommand, DumpCommand, LoadCommand,
                 BenchCommand, InitCommand, JobsCommand, CancelCommand, QuitCommand, ShowText>;

struct Invocation {
  GlobalOptions options;
  Command command;
};

// One line that says what is wrong, and what to do about it.
struct UsageError {
  std::string text;
  std::string hint;
};

// `words` without the program's name.
std::variant<Invocation, UsageError> parse_arguments(const std::vector<std::string>& words);
// A line of the shell; what it does not say is as in `defaults`.
std::variant<Invocation, UsageError> parse_shell_words(const std::vector<std::string>& words,
                                                       const GlobalOptions& defaults);

// What they take, for what helps to type it.
Outline program_outline();
Outline shell_outline();

std::string token_text(const Token& token);  // "<cluster>:58"
std::optional<Token> parse_token(const std::string& text);

}  // namespace kv::client
