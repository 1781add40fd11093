#include "client/line_editor.hpp"

#include <histedit.h>
#include <unistd.h>

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

// libedit decodes what is typed by the locale. One without UTF-8 would break every name that is not ASCII.
void use_utf8() {
  std::setlocale(LC_CTYPE, "");
  const wchar_t umlaut = L'\u00e4';
  char bytes[MB_LEN_MAX];
  std::mbstate_t state{};
  if (std::wcrtomb(bytes, umlaut, &state) == 2 && std::memcmp(bytes, "\xc3\xa4", 2) == 0) return;
  std::setlocale(LC_CTYPE, "C.UTF-8");
}

}  // namespace

struct LineEditor::State {
  State(asio::io_context& context, std::filesystem::path file)
      : io(context),
        input(context, ::dup(STDIN_FILENO)),
        signals(context, SIGINT, SIGTERM, SIGHUP),
        history_file(std::move(file)) {
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

  // For libedit: 1 and the character, 0 at the end, -1 after a signal.
  static int read_character(EditLine* editor, wchar_t* out) {
    State& self = *of(editor);
    std::mbstate_t decoder{};
    for (;;) {
      if (!self.wait_for_key()) {
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
  EditLine* editor = nullptr;
  History* history = nullptr;
  std::string prompt;
  std::string last_line;
  bool reading = false;
  bool interrupted = false;
  bool terminated = false;
};

LineEditor::LineEditor(asio::io_context& io, std::filesystem::path history)
    : state_(std::make_unique<State>(io, std::move(history))) {}

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

void LineEditor::remember(const std::string& line) {
  if (line.empty() || line.front() == ' ' || line == state_->last_line) return;
  state_->last_line = line;
  HistEvent event;
  ::history(state_->history, &event, H_ENTER, line.c_str());
  // After each line, so that a shell that is killed has forgotten nothing.
  if (!state_->history_file.empty()) ::history(state_->history, &event, H_SAVE, state_->history_file.c_str());
}

}  // namespace kv::client
