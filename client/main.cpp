// kvctl: one command to a kvd cluster, or the shell.
#include <unistd.h>

#include <asio/io_context.hpp>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string>
#include <variant>
#include <vector>

#include "client/client.hpp"
#include "client/commands.hpp"
#include "client/known_servers.hpp"
#include "client/options.hpp"
#include "client/output.hpp"
#include "client/session.hpp"
#include "client/shell.hpp"

namespace {

using namespace kv::client;

// Before and between the requests to servers nothing needs to be tidied up.
void leave_on_interrupt(int) {
  ::_exit(static_cast<int>(Exit::interrupted));
}

Session make_session(const GlobalOptions& options, const Session::Warn& warn) {
  if (options.no_session) return Session::in_memory(warn);
  if (!options.session_file.empty()) return Session::in_file(options.session_file, warn);
  const std::filesystem::path directory = state_directory();
  if (directory.empty()) {
    warn("there is no home directory to keep timestamps in: name a file with --session, or say --no-session");
    return Session::in_memory(warn);
  }
  return Session::per_cluster(directory, warn);
}

Exit run_command(asio::io_context& io, Client& client, Session& session, const Screen& screen, Printer& printer,
                 const Invocation& invocation) {
  if (!std::holds_alternative<ShellCommand>(invocation.command)) {
    Context context{io, client, session, printer, invocation.options};
    return execute(context, invocation.command);
  }
  Shell shell(io, client, session, screen, invocation.options);
  return ::isatty(STDIN_FILENO) ? shell.run_on_terminal() : shell.run_script(std::cin);
}

Exit run_kvctl(asio::io_context& io, const Screen& screen, const Invocation& invocation) {
  const GlobalOptions& options = invocation.options;
  Printer printer(screen, Style::one_shot, options);
  Session session = make_session(options, [&printer](const std::string& text) { printer.warning(text); });

  ClientOptions client_options;
  client_options.endpoints = options.endpoints;
  client_options.endpoints_first = options.endpoints_given;
  // status tells about servers, whosever they are.
  if (!std::holds_alternative<StatusCommand>(invocation.command)) {
    client_options.cluster = session.remembered_cluster();
  }
  // Where no servers were named, those that the default one led to last time do as well.
  const std::filesystem::path directory =
      options.endpoints_given || options.no_session ? std::filesystem::path() : state_directory();
  if (!directory.empty()) client_options.known = load_known_servers(directory);
  Client client(io, std::move(client_options));
  const Exit exit = run_command(io, client, session, screen, printer, invocation);
  if (const auto known = client.known_servers(); known && !directory.empty()) save_known_servers(directory, *known);
  return exit;
}

Exit start(asio::io_context& io, const std::vector<std::string>& words) {
  const Screen screen{std::cout, std::cerr, ::isatty(STDOUT_FILENO) == 1, ::isatty(STDERR_FILENO) == 1};
  const std::variant<Invocation, UsageError> parsed = parse_arguments(words);
  if (const auto* wrong = std::get_if<UsageError>(&parsed)) {
    Printer(screen, Style::one_shot, GlobalOptions()).error(wrong->text, wrong->hint);
    return Exit::usage;
  }
  const Invocation& invocation = std::get<Invocation>(parsed);
  if (const auto* show = std::get_if<ShowText>(&invocation.command)) {
    std::cout << show->text << std::flush;
    return std::cout.good() ? Exit::done : Exit::usage;
  }
  return run_kvctl(io, screen, invocation);
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGINT, leave_on_interrupt);
  asio::io_context io(1);
  Exit exit = Exit::usage;
  try {
    exit = start(io, std::vector<std::string>(argv + 1, argv + argc));
  } catch (const std::exception& error) {
    std::cerr << "kvctl: " << error.what() << "; this is a bug of kvctl, please report it\n";
    exit = Exit::unknown_outcome;  // a write may have been under way
  }
  std::cout.flush();
  std::cerr.flush();
  // Not by return: a look-up of a name that hangs runs in a thread of Asio's, and the end of the io_context
  // would wait for it.
  std::_Exit(static_cast<int>(exit));
}
