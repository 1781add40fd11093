#include "client/line_editor.hpp"

#include <histedit.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/signal_set.hpp>
#include <cerrno>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <cwchar>
#include <utility>

namespace kv::client {
namespace {

constexpr int max_history_lines = 1000;
constexpr std::size_t max_completions_shown = 100;
constexpr const char* clear_to_end_of_line = "\x1b[K";

// libedit decodes what is typed by the locale. One without UTF-8 would break every name that is not ASCII.
void use_utf8() {
  std::setlocale(LC_CTYPE, "");
  const wchar_t umlaut = L'\u00e4';
  char bytes[MB_LEN_MAX];
  std::mbstate_t state{};
  if (std::wcrtomb(bytes, umlaut, &state) == 2 && std::memcmp(bytes, "\xc3\xa4", 2) == 0) return;
  std::setlocale(LC_CTYPE, "C.UTF-8");
}

// How many columns it takes; bytes that are no characters take none.
std::size_t columns_of(const std::string& text) {
  std::size_t columns = 0;
  std::mbstate_t decoder{};
  for (std::size_t at = 0; at < text.size();) {
    wchar_t character = 0;
    const std::size_t used = std::mbrtowc(&character, text.data() + at, text.size() - at, &decoder);
    if (used == 0 || used > text.size() - at) return columns;
    columns += static_cast<std::size_t>(std::max(::wcwidth(character), 0));
    at += used;
  }
  return columns;
}

std::size_t terminal_columns() {
  winsize size{};
  if (::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

void put_out(const std::string& text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

std::string common_beginning(const std::vector<std::string>& words) {
  std::string common = words.front();
  for (const std::string& word : words) {
    const auto differs = std::mismatch(common.begin(), common.end(), word.begin(), word.end()).first;
    common.erase(differs, common.end());
  }
  // Not half a character.
  while (!common.empty() && columns_of(common) == 0) common.pop_back();
  return common;
}

std::string listed(const Completions& completions) {
  std::string lines;
  const std::size_t shown = std::min(completions.words.size(), max_completions_shown);
  for (std::size_t i = 0; i < shown; ++i) lines += "  " + completions.words[i] + "\n";
  if (completions.more || shown < completions.words.size()) lines += "  …\n";
  return lines;
}

}  // namespace

struct LineEditor::State {
  State(asio::io_context& context, std::filesystem::path file, LineHelp line_help)
      : io(context),
        input(context, ::dup(STDIN_FILENO)),
        signals(context, SIGINT, SIGTERM, SIGHUP),
        history_file(std::move(file)),
        help(std::move(line_help)) {
    signals.add(SIGWINCH);
    signals.add(SIGCONT);
    wait_for_signal();
    use_utf8();
    editor = ::el_init("kvctl", stdin, stdout, stderr);
    history = ::history_init();
    HistEvent event;
    ::history(history, &event, H_SETSIZE, max_history_lines);
    ::history(history, &event, H_SETUNIQUE, 1);
    if (!history_file.empty()) ::history(history, &event, H_LOAD, history_file.c_str());
    ::el_set(editor, EL_CLIENTDATA, this);
    ::el_set(editor, EL_PROMPT, &State::show_prompt);
    ::el_set(editor, EL_EDITOR, "emacs");
    ::el_set(editor, EL_SIGNAL, 0);
    ::el_set(editor, EL_HIST, ::history, history);
    ::el_set(editor, EL_GETCFN, &State::read_character);
    ::el_set(editor, EL_BIND, "^R", "em-inc-search-prev", nullptr);
    ::el_set(editor, EL_ADDFN, "kv-complete", "complete the word", &State::complete);
    if (help.complete) ::el_set(editor, EL_BIND, "^I", "kv-complete", nullptr);
    ::el_source(editor, nullptr);  // ~/.editrc: the user's own key bindings
  }

  ~State() {
    ::el_end(editor);  // gives the terminal its mode back
    ::history_end(history);
  }

  State(const State&) = delete;
  State& operator=(const State&) = delete;

  static char* show_prompt(EditLine* editor) { return of(editor)->prompt.data(); }

  static State* of(EditLine* editor) {
    void* data = nullptr;
    ::el_get(editor, EL_CLIENTDATA, &data);
    return static_cast<State*>(data);
  }

  void wait_for_signal() {
    signals.async_wait([this](std::error_code error, int signal) {
      if (error) return;
      on_signal(signal);
      wait_for_signal();
    });
  }

  // Only while a line is being read: a command that runs has a guard of its own for Ctrl-C.
  void on_signal(int signal) {
    if (signal == SIGTERM || signal == SIGHUP) terminated = true;
    if (!reading) return;
    if (signal == SIGINT) interrupted = true;
    if (signal == SIGWINCH) ::el_resize(editor);
    if (signal == SIGCONT) {
      // Whoever stopped us has left the terminal in another mode.
      ::el_set(editor, EL_PREP_TERM, 0);
      ::el_set(editor, EL_PREP_TERM, 1);
      ::el_set(editor, EL_REFRESH);
    }
  }

  // Runs the loop until a key has been pressed. False: a signal ended the wait.
  bool wait_for_key() {
    bool ready = false;
    bool waiting = true;
    input.async_wait(asio::posix::stream_descriptor::wait_read, [&](std::error_code) {
      ready = true;
      waiting = false;
    });
    while (waiting && !interrupted && !terminated) {
      if (io.stopped()) io.restart();
      io.run_one();
    }
    if (ready) return true;
    std::error_code ignored;
    input.cancel(ignored);
    while (waiting) {
      if (io.stopped()) io.restart();
      io.run_one();
    }
    return false;
  }

  // ---- What is typed

  std::string line_before_cursor() const {
    const LineInfo* info = ::el_line(editor);
    return {info->buffer, info->cursor};
  }
  std::string whole_line() const {
    const LineInfo* info = ::el_line(editor);
    return {info->buffer, info->lastchar};
  }

  void print_above(const std::string& lines) {
    if (!reading || lines.empty()) return put_out(lines);
    erase_hint();
    const std::size_t row = (columns_of(prompt) + columns_of(line_before_cursor())) / terminal_columns();
    put_out((row > 0 ? "\x1b[" + std::to_string(row) + "A" : "") + "\r\x1b[J" + lines +
            (lines.ends_with('\n') ? "" : "\n"));
    ::el_set(editor, EL_REFRESH);
    show_hint();
  }

  // Behind the cursor, where nothing is typed; libedit knows nothing of it.
  void show_hint() {
    if (!help.hint || shows_hint) return;
    const std::string line = whole_line();
    if (line.size() != line_before_cursor().size()) return;
    const std::string hint = help.hint(line);
    const std::size_t width = terminal_columns();
    const std::size_t column = (columns_of(prompt) + columns_of(line)) % width;
    if (hint.empty() || column + columns_of(hint) >= width) return;
    put_out(
        "\x1b"
        "7\x1b[2m" +
        hint +
        "\x1b[0m\x1b"
        "8");
    shows_hint = true;
  }
  void erase_hint() {
    if (std::exchange(shows_hint, false)) put_out(clear_to_end_of_line);
  }

  static unsigned char complete(EditLine* editor, int) {
    State& self = *of(editor);
    const std::string before = self.line_before_cursor();
    const Completions completions = self.help.complete(before);
    if (completions.words.empty() || completions.begin > before.size()) return CC_REFRESH_BEEP;
    const std::string typed = before.substr(completions.begin);
    const std::string common = common_beginning(completions.words);
    if (common.size() > typed.size() || (completions.words.size() == 1 && common != typed)) {
      ::el_deletestr(editor, static_cast<int>(characters_of(typed)));
      ::el_insertstr(editor, common.c_str());
    } else if (completions.words.size() > 1) {
      self.print_above(listed(completions));
    }
    return CC_REFRESH;
  }
  // As libedit counts them.
  static std::size_t characters_of(const std::string& text) {
    std::mbstate_t decoder{};
    const char* from = text.c_str();
    const std::size_t count = std::mbsrtowcs(nullptr, &from, 0, &decoder);
    return count == static_cast<std::size_t>(-1) ? text.size() : count;
  }

  // For libedit: 1 and the character, 0 at the end, -1 after a signal.
  static int read_character(EditLine* editor, wchar_t* out) {
    State& self = *of(editor);
    std::mbstate_t decoder{};
    for (;;) {
      self.show_hint();
      const bool has_key = self.wait_for_key();
      self.erase_hint();
      if (!has_key) {
        errno = EINTR;
        return -1;
      }
      char byte = 0;
      const ssize_t count = ::read(STDIN_FILENO, &byte, 1);
      if (count < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      if (count <= 0) return static_cast<int>(count);
      const std::size_t used = std::mbrtowc(out, &byte, 1, &decoder);
      if (used == static_cast<std::size_t>(-2)) continue;  // there is more of this character to come
      if (used == static_cast<std::size_t>(-1)) {
        decoder = std::mbstate_t{};
        continue;  // not a character: as if it had not been typed
      }
      if (used == 0) *out = L'\0';
      return 1;
    }
  }

  asio::io_context& io;
  asio::posix::stream_descriptor input;
  asio::signal_set signals;
  std::filesystem::path history_file;
  LineHelp help;
  EditLine* editor = nullptr;
  History* history = nullptr;
  std::string prompt;
  std::string last_line;
  bool reading = false;
  bool shows_hint = false;
  bool interrupted = false;
  bool terminated = false;
};

LineEditor::LineEditor(asio::io_context& io, std::filesystem::path history, LineHelp help)
    : state_(std::make_unique<State>(io, std::move(history), std::move(help))) {}

LineEditor::~LineEditor() = default;

LineEditor::Event LineEditor::read(const std::string& prompt, std::string& line) {
  State& s = *state_;
  s.prompt = prompt;
  s.interrupted = false;
  s.reading = true;
  int count = 0;
  // libedit would show the prompt first and only then leave the line mode, in which a Ctrl-D that was typed in
  // between is lost.
  ::el_set(s.editor, EL_PREP_TERM, 1);
  const char* text = s.terminated ? nullptr : ::el_gets(s.editor, &count);
  s.reading = false;
  if (s.terminated) return Event::terminated;
  if (s.interrupted) {
    ::el_reset(s.editor);
    ::el_set(s.editor, EL_PREP_TERM, 0);
    return Event::interrupted;
  }
  if (text == nullptr || count <= 0) return Event::end;
  line.assign(text, static_cast<std::size_t>(count));
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
  return Event::line;
}

void LineEditor::print_above(const std::string& lines) {
  state_->print_above(lines);
}

void LineEditor::remember(const std::string& line) {
  if (line.empty() || line.front() == ' ' || line == state_->last_line) return;
  state_->last_line = line;
  HistEvent event;
  ::history(state_->history, &event, H_ENTER, line.c_str());
  // After each line, so that a shell that is killed has forgotten nothing.
  if (!state_->history_file.empty()) ::history(state_->history, &event, H_SAVE, state_->history_file.c_str());
}

}  // namespace kv::client
