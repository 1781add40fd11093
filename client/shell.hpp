// The shell: reads commands, one a line, and runs each as the one-shot commands are run.
//
// On a terminal: a banner, a prompt, editing and history; an error ends nothing. What has to wait for long, and
// each watch, goes on in the background, and what comes of it is shown above the line being typed. From a pipe: no
// banner and no prompt, the same answer lines, and the first command that fails ends it, with that command's exit
// status, unless --keep-going says otherwise (then the status is that of the first failure).
#pragma once

#include <asio/io_context.hpp>
#include <istream>
#include <optional>
#include <string>

#include "client/client.hpp"
#include "client/jobs.hpp"
#include "client/line_editor.hpp"
#include "client/line_help.hpp"
#include "client/options.hpp"
#include "client/outcome.hpp"
#include "client/output.hpp"
#include "client/session.hpp"

namespace kv::client {

class Shell {
 public:
  Shell(asio::io_context& io, Client& client, Session& session, Screen screen, GlobalOptions options);

  // Until Ctrl-D or `quit`.
  Exit run_on_terminal();
  Exit run_script(std::istream& input);

 private:
  enum class Next { go_on, leave };
  // Runs one line; `exit` becomes what it came to.
  Next run_line(const std::string& line, Exit& exit);
  Exit read_lines(LineEditor& editor);
  void run_typed(const std::string& line, const Invocation& invocation);
  void show_jobs();
  void cancel(const CancelCommand& command);
  void show_banner();
  FoundKeys find_keys(const std::string& prefix);
  Printer printer(const GlobalOptions& options) const;

  asio::io_context& io_;
  Client& client_;
  Session& session_;
  Screen screen_;
  GlobalOptions options_;
  Jobs jobs_;
  std::optional<Screen> above_;  // on a terminal: above the line being typed
};

}  // namespace kv::client
