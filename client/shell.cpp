#include "client/shell.hpp"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <ostream>
#include <sstream>
#include <string>
#include <string_view>
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
// How long Tab waits for keys, and how many it asks for.
constexpr std::chrono::milliseconds completion_patience{500};
constexpr std::uint64_t completion_keys = 100;
// Who waited for longer wants to know for how long.
constexpr std::chrono::milliseconds slow_command{500};

// The history's place; its directory is made if need be.
std::filesystem::path history_file() {
  const std::filesystem::path directory = state_directory();
  if (directory.empty()) return {};
  std::error_code ignored;
  std::filesystem::create_directories(directory, ignored);
  return directory / "history";
}

// They are dim, which not every terminal can show, nor every user wants.
bool shows_hints(const GlobalOptions& options) {
  const char* no_colour = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  return !options.no_color && (no_colour == nullptr || *no_colour == '\0') && terminal != nullptr &&
         std::string_view(terminal) != "dumb";
}

// Hands over what is written to it when it is flushed.
class FlushedText : public std::stringbuf {
 public:
  explicit FlushedText(std::function<void(const std::string&)> take) : take_(std::move(take)) {}

 private:
  int sync() override {
    const std::string text = str();
    str("");
    if (!text.empty()) take_(text);
    return 0;
  }

  std::function<void(const std::string&)> take_;
};

}  // namespace

Shell::Shell(asio::io_context& io, Client& client, Session& session, Screen screen, GlobalOptions options)
    : io_(io),
      client_(client),
      session_(session),
      screen_(screen),
      options_(std::move(options)),
      jobs_(io, client, session) {}

Printer Shell::printer(const GlobalOptions& options) const {
  return Printer(above_ ? *above_ : screen_, Style::shell, options);
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
  if (above_) {
    run_typed(line, invocation);
    return Next::go_on;
  }
  Printer out = printer(invocation.options);
  Context context{io_, client_, session_, out, invocation.options};
  exit = execute(context, invocation.command);
  return Next::go_on;
}

void Shell::run_typed(const std::string& line, const Invocation& invocation) {
  if (std::holds_alternative<JobsCommand>(invocation.command)) return show_jobs();
  if (const auto* command = std::get_if<CancelCommand>(&invocation.command)) return cancel(*command);
  const auto began = std::chrono::steady_clock::now();
  const Jobs::Ran ran = jobs_.run(invocation, *above_, line);
  Printer out = printer(options_);
  if (!ran.exit) {
    out.text("[" + std::to_string(ran.number) + "] goes on in the background; cancel " +
             std::to_string(ran.number) + " ends it\n");
  }
  const auto took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - began);
  if (ran.exit && took >= slow_command) out.text("took " + format_duration(took) + "\n");
  out.flush();
}

void Shell::show_jobs() {
  Printer out = printer(options_);
  const auto jobs = jobs_.in_background();
  if (jobs.empty()) out.text("nothing goes on in the background\n");
  for (const Jobs::Shown& job : jobs) {
    out.text("[" + std::to_string(job.number) + "] " + escape_control(job.line) + "\n");
  }
  out.flush();
}

void Shell::cancel(const CancelCommand& command) {
  if (!command.job) return jobs_.cancel_all();
  if (jobs_.cancel(*command.job)) return;
  printer(options_).error("cancel: there is no job " + std::to_string(*command.job), "Try: jobs");
}

// Nothing where no server answers at once.
FoundKeys Shell::find_keys(const std::string& prefix) {
  message::List request;
  request.prefix = prefix;
  request.limit = completion_keys;
  request.keys_only = true;
  request.consistency = message::Consistency::local;
  Client::Body body = std::move(request);
  FoundKeys found;
  const Outcome outcome = run(io_, client_.request(client_.new_call(completion_patience), std::move(body)));
  const auto* reply = std::get_if<Reply>(&outcome);
  if (!reply) return found;
  const auto& page = std::get<message::ListOk>(reply->body);
  for (const message::ListItem& item : page.items) found.keys.push_back(item.key);
  found.more = page.more;
  return found;
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
  const Outline outline = shell_outline();
  LineHelp help;
  help.complete = [&](const std::string& before) {
    return complete_line(
        outline, [this](const std::string& prefix) { return find_keys(prefix); }, before);
  };
  if (shows_hints(options_)) help.hint = [&](const std::string& line) { return hint_for(outline, line); };
  LineEditor editor(io_, history_file(), std::move(help));
  FlushedText text([&](const std::string& lines) { editor.print_above(lines); });
  std::ostream above(&text);
  above_.emplace(Screen{above, screen_.err_is_terminal ? above : screen_.err, screen_.out_is_terminal,
                        screen_.err_is_terminal});
  const Exit exit = read_lines(editor);
  jobs_.cancel_all();
  above_.reset();
  return exit;
}

Exit Shell::read_lines(LineEditor& editor) {
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
