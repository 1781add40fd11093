// A command's surroundings: a server that does as the test says, and what is printed.
#pragma once

#include <asio/io_context.hpp>
#include <cstdlib>
#include <memory>
#include <sstream>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "client/client.hpp"
#include "client/commands.hpp"
#include "client/options.hpp"
#include "client/output.hpp"
#include "client/session.hpp"
#include "client/shell.hpp"
#include "tests/client_fake_server.hpp"

namespace kv::client::test {

// What whoever runs the tests has set is not theirs.
inline const bool clean_environment = [] {
  for (const char* name : {"ENDPOINTS", "TIMEOUT", "CONSISTENCY", "OUTPUT", "VERBOSE", "NO_COLOR", "SESSION",
                           "NO_SESSION", "KEEP_GOING"}) {
    ::unsetenv((std::string("KVCTL_") + name).c_str());
  }
  return true;
}();

struct Stage {
  asio::io_context io{1};
  FakeServer server{io, "n1"};
  std::ostringstream out;
  std::ostringstream err;
  Screen screen{out, err};
  GlobalOptions options;
  Session session = Session::in_memory([this](const std::string& text) { err << text << "\n"; });
  std::unique_ptr<Client> client;

  Stage() { connect_to({server.address()}); }

  void connect_to(std::vector<Address> endpoints) {
    ClientOptions client_options;
    client_options.endpoints = std::move(endpoints);
    client = std::make_unique<Client>(io, std::move(client_options));
  }

  // As the program would: `kvctl WORDS`.
  Exit one_shot(const std::vector<std::string>& words) {
    out.str("");
    err.str("");
    const auto parsed = parse_arguments(words);
    const Invocation& invocation = std::get<Invocation>(parsed);
    Printer printer(screen, Style::one_shot, invocation.options);
    Context context{io, *client, session, printer, invocation.options};
    return execute(context, invocation.command);
  }

  Exit script(const std::string& text) {
    out.str("");
    err.str("");
    std::istringstream input(text);
    return Shell(io, *client, session, screen, options).run_script(input);
  }
};

}  // namespace kv::client::test
