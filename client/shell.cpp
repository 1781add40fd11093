#include "client/shell.hpp"

#include <chrono>
#include <csignal>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <variant>

#include "client/commands.hpp"
#include "client/line_editor.hpp"
#include "client/run.hpp"
#include "client/words.hpp"
#include "common/text.hpp"

namespace kv::client {
namespace {

// How long the banner waits for a server that does not answer.
constexpr std::chrono::milliseconds banner_patience{1000};

// The history's place; its directory is made if need be.
std::filesystem::path history_file() {
  const std::filesystem::path directory = state_directory();
  if (directory.empty()) return {};
  std::error_code ignored;
  std::filesystem::create_directories(directory, ignored);
  return directory / "history";
}

}  // namespace

Shell::Shell(asio::io_context& io, Client& client, Session& session, Screen screen, GlobalOptions options)
    : io_(io), client_(client), session_(session), screen_(screen), options_(std::move(options)) {}

Printer Shell::printer(const GlobalOptions& options) const {
  return Printer(screen_, Style::shell, options);
}

Shell::Next Shell::run_line(const std::string& line, Exit& exit) {
  exit = Exit::done;
  const std::variant<std::vector<std::string>, WordsError> words = split_words(line);
  if (const auto* error = std::get_if<WordsError>(&words)) {
    printer(options_).error(error->text);
    exit = Exit::usage;
    return Next::go_on;
  }
  if (std::get<std::vector<std::string>>(words).empty()) return Next::go_on;
  std::variant<Invocation, UsageError> parsed =
      parse_shell_words(std::get<std::vector<std::string>>(words), options_);
  if (const auto* error = std::get_if<UsageError>(&parsed)) {
    printer(options_).error(error->text, error->hint);
    exit = Exit::usage;
    return Next::go_on;
  }
  Invocation& invocation = std::get<Invocation>(parsed);
  if (std::holds_alternative<QuitCommand>(invocation.command)) return Next::leave;
  Printer out = printer(invocation.options);
  Context context{io_, client_, session_, out, invocation.options};
  exit = execute(context, invocation.command);
  return Next::go_on;
}

void Shell::show_banner() {
  const std::shared_ptr<Call> call = client_.new_call(std::min(options_.timeout, banner_patience));
  const Outcome connected = run(io_, client_.connect(call));
  std::string banner = std::string("kvctl ") + version;
  if (const auto* failure = std::get_if<Failure>(&connected)) {
    printer(options_).text(banner + " · help for help\n");
    printer(options_).warning(describe("connect", *failure) + "; or name them here: init HOST:PORT,…");
    return;
  }
  session_.attach(client_.cluster());
  const std::size_t servers = client_.server_count();
  banner += " · " + std::to_string(servers) + (servers == 1 ? " server" : " servers");
  banner += client_.leader().empty() ? " · no leader" : " · leader " + escape_control(client_.leader());
  Printer out = printer(options_);
  out.text(banner + " · help for help\n");
  out.flush();
}

Exit Shell::run_on_terminal() {
  show_banner();
  LineEditor editor(io_, history_file());
  std::string line;
  for (;;) {
    switch (editor.read("kv> ", line)) {
      case LineEditor::Event::line: {
        editor.remember(line);
        Exit ignored = Exit::done;  // an error was shown, and the next line is another matter
        if (run_line(line, ignored) == Next::leave) return Exit::done;
        break;
      }
      case LineEditor::Event::interrupted:
        printer(options_).text("^C\n");
        printer(options_).flush();
        break;
      case LineEditor::Event::end:
        printer(options_).text("\n");
        printer(options_).flush();
        return Exit::done;
      case LineEditor::Event::terminated:
        return static_cast<Exit>(128 + SIGTERM);
    }
  }
}

Exit Shell::run_script(std::istream& input) {
  Exit first_failure = Exit::done;
  std::string line;
  for (std::size_t number = 1; std::getline(input, line); ++number) {
    Exit exit = Exit::done;
    const Next next = run_line(line, exit);
    if (exit == Exit::interrupted) return exit;
    if (exit != Exit::done && first_failure == Exit::done) first_failure = exit;
    if (exit != Exit::done && !options_.keep_going) {
      printer(options_).error("stopped at line " + std::to_string(number) + "; --keep-going goes on");
      break;
    }
    if (next == Next::leave) break;
  }
  return first_failure;
}

}  // namespace kv::client
