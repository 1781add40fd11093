// The shell on a terminal: a real pseudo-terminal, with the shell in a child process behind it.
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <string>
#include <utility>

#include "client/shell.hpp"
#include "tests/client_fake_server.hpp"

using namespace kv;
using namespace kv::client;
using kv::client::test::FakeServer;

namespace {

// A small server: a GET waits until something is written, a watch is told of each write, and a write of "hang" is
// never answered.
struct SlowServer {
  FakeServer server;
  std::uint64_t position = 10;
  std::function<void()> waiting;
  std::function<void(const message::Put&)> watching;

  explicit SlowServer(asio::io_context& io) : server(io, "n1") {
    server.on_request = [this](const FakeServer::Peer& peer, const message::Request& asked) {
      handle(peer, asked);
    };
  }

  void handle(const FakeServer::Peer& peer, const message::Request& asked) {
    if (const auto* put = std::get_if<message::Put>(&asked.body)) {
      if (put->key == "hang") {
        std::cout << "the server was asked" << std::endl;
        return;
      }
      peer.answer(asked, message::PutOk{put->key, ++position});
      if (watching) watching(*put);
      if (waiting) std::exchange(waiting, {})();
    } else if (const auto* get = std::get_if<message::Get>(&asked.body)) {
      peer.answer(asked, message::WaitForResponse{get->key, 11, 10, "n1"});
      waiting = [=] { peer.answer(asked, message::GetOk{"colour", "late", 11, 11, "n1"}); };
    } else if (std::holds_alternative<message::List>(asked.body)) {
      peer.answer(asked, message::ListOk{{{"colour", {}, 5}, {"colours/dark blue", {}, 6}}, false, 10, "n1"});
    } else if (std::holds_alternative<message::Watch>(asked.body)) {
      peer.answer(asked, message::WatchOk{10, "n1"});
      watching = [this, peer, asked](const message::Put& seen) {
        peer.answer(asked, message::Event{message::Operation::put, seen.key, seen.value, position, false});
      };
    }
  }
};

// What the child does: a shell that talks to a server of its own.
[[noreturn]] void be_a_shell(const std::string& state) {
  ::setenv("XDG_STATE_HOME", state.c_str(), 1);
  ::setenv("TERM", "xterm", 1);
  ::setenv("NO_COLOR", "1", 1);
  ::setenv("HOME", state.c_str(), 1);
  asio::io_context io(1);
  SlowServer slow(io);
  const FakeServer& server = slow.server;
  ClientOptions client_options;
  client_options.endpoints = {server.address()};
  Client client(io, std::move(client_options));
  Session session = Session::in_memory([](const std::string&) {});
  const Screen screen{std::cout, std::cerr, true, true};
  const Exit exit = Shell(io, client, session, screen, GlobalOptions()).run_on_terminal();
  std::cout.flush();
  ::_exit(static_cast<int>(exit));
}

class Terminal {
 public:
  explicit Terminal(const std::string& state) {
    child_ = ::forkpty(&fd_, nullptr, nullptr, nullptr);
    REQUIRE(child_ >= 0);
    if (child_ == 0) be_a_shell(state);
  }
  ~Terminal() {
    ::close(fd_);
    if (child_ > 0) {
      ::kill(child_, SIGKILL);
      ::waitpid(child_, nullptr, 0);
    }
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void type(const std::string& keys) {
    REQUIRE(::write(fd_, keys.data(), keys.size()) == static_cast<ssize_t>(keys.size()));
  }
  void signal(int number) { ::kill(child_, number); }

  // Reads until `text` has come since the last time; what came with it is used up.
  bool shows(const std::string& text) {
    for (;;) {
      const std::size_t at = seen_.find(text);
      if (at != std::string::npos) {
        seen_.erase(0, at + text.size());
        return true;
      }
      pollfd ready{fd_, POLLIN, 0};
      if (::poll(&ready, 1, 10'000) <= 0) break;
      char block[4096];
      const ssize_t count = ::read(fd_, block, sizeof block);
      if (count <= 0) {
        ended_ = true;
        break;
      }
      seen_.append(block, static_cast<std::size_t>(count));
    }
    UNSCOPED_INFO("the terminal shows: " << seen_);
    return false;
  }

  int exit_status() {
    shows("\x01 what never comes \x01");
    int status = 0;
    if (!ended_) ::kill(child_, SIGKILL);
    ::waitpid(child_, &status, 0);
    child_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  }

 private:
  pid_t child_ = -1;
  int fd_ = -1;
  bool ended_ = false;  // the shell has closed its side
  std::string seen_;
};

struct StateDirectory {
  std::string path = "/tmp/kvctl-terminal-XXXXXX";
  StateDirectory() { path = ::mkdtemp(path.data()); }
  ~StateDirectory() { std::filesystem::remove_all(path); }
};

}  // namespace

TEST_CASE("terminal: a banner, a prompt, commands, and Ctrl-D leaves") {
  const StateDirectory state;
  Terminal terminal(state.path);
  CHECK(terminal.shows("1 server · leader n1 · help for help"));
  CHECK(terminal.shows("kv> "));
  terminal.type("put colour 'dark blue'\r");
  CHECK(terminal.shows("PUT_OK colour = dark blue   ts 11   n1"));
  CHECK(terminal.shows("kv> "));
  terminal.type("frobnicate\r");
  CHECK(terminal.shows("unknown command \"frobnicate\""));
  CHECK(terminal.shows("kv> "));
  terminal.type("\x04");
  CHECK(terminal.exit_status() == 0);
}

TEST_CASE("terminal: Ctrl-C clears the line, or ends the running command, and never the shell") {
  const StateDirectory state;
  Terminal terminal(state.path);
  CHECK(terminal.shows("kv> "));
  terminal.type("put half");
  CHECK(terminal.shows("half"));
  terminal.type("\x03");
  CHECK(terminal.shows("^C"));
  CHECK(terminal.shows("kv> "));
  terminal.type("put hang on\r");
  CHECK(terminal.shows("the server was asked"));
  terminal.type("\x03");
  CHECK(terminal.shows("put \"hang\": interrupted"));
  CHECK(terminal.shows("kv> "));
  terminal.type("quit\r");
  CHECK(terminal.exit_status() == 0);
}

TEST_CASE("terminal: an answer that comes late is shown above the line being typed, which stays") {
  const StateDirectory state;
  Terminal terminal(state.path);
  CHECK(terminal.shows("kv> "));
  terminal.type("get colour\r");
  CHECK(terminal.shows("WAIT_FOR_RESPONSE colour   10 < 11   n1"));
  CHECK(terminal.shows("[1] goes on in the background; cancel 1 ends it"));
  CHECK(terminal.shows("kv> "));
  terminal.type("jobs\r");
  CHECK(terminal.shows("[1] get colour"));
  CHECK(terminal.shows("kv> "));
  terminal.type("put other x\r");
  CHECK(terminal.shows("PUT_OK other = x"));
  CHECK(terminal.shows("GET colour = late   ts 11   n1"));
  terminal.type("jobs\r");
  CHECK(terminal.shows("nothing goes on in the background"));
  CHECK(terminal.shows("kv> "));
  terminal.type("\x04");
  CHECK(terminal.exit_status() == 0);
}

TEST_CASE("terminal: a watch goes on in the background until it is cancelled") {
  const StateDirectory state;
  Terminal terminal(state.path);
  CHECK(terminal.shows("kv> "));
  terminal.type("watch --prefix ''\r");
  CHECK(terminal.shows("[1] goes on"));
  CHECK(terminal.shows("kv> "));
  terminal.type("put a 1\r");
  CHECK(terminal.shows("PUT a = 1   ts 11"));
  terminal.type("\x03");  // not the watch
  CHECK(terminal.shows("^C"));
  terminal.type("put b 2\r");
  CHECK(terminal.shows("PUT b = 2   ts 12"));
  terminal.type("cancel 7\r");
  CHECK(terminal.shows("there is no job 7"));
  terminal.type("cancel 1\r");
  CHECK(terminal.shows("kv> "));
  terminal.type("jobs\r");
  CHECK(terminal.shows("nothing goes on"));
  CHECK(terminal.shows("kv> "));
  terminal.type("\x04");
  CHECK(terminal.exit_status() == 0);
}

TEST_CASE("terminal: Tab completes commands and keys, and shows those that there are") {
  const StateDirectory state;
  Terminal terminal(state.path);
  CHECK(terminal.shows("kv> "));
  terminal.type("sta\t");
  CHECK(terminal.shows("tus "));
  terminal.type("\x03");
  CHECK(terminal.shows("kv> "));
  terminal.type("put colours\tx\r");
  CHECK(terminal.shows("PUT_OK colours/dark blue = x"));
  CHECK(terminal.shows("kv> "));
  terminal.type("get c\t");
  CHECK(terminal.shows("  'colours/dark blue'"));
  CHECK(terminal.shows("  colour"));
  terminal.type("\x03");
  CHECK(terminal.shows("^C"));
  CHECK(terminal.shows("kv> "));
  terminal.type("\x04");
  CHECK(terminal.exit_status() == 0);
}

TEST_CASE("terminal: the history outlives the shell") {
  const StateDirectory state;
  {
    Terminal terminal(state.path);
    CHECK(terminal.shows("kv> "));
    terminal.type("put größe 'zwölf'\r");
    CHECK(terminal.shows("PUT_OK größe = zwölf"));
    CHECK(terminal.shows("kv> "));
    terminal.signal(SIGKILL);
  }
  Terminal terminal(state.path);
  CHECK(terminal.shows("kv> "));
  terminal.type("\x10\r");  // Ctrl-P, the line before
  CHECK(terminal.shows("PUT_OK größe = zwölf"));
  CHECK(terminal.shows("kv> "));
  terminal.type("\x04");
  CHECK(terminal.exit_status() == 0);
}

TEST_CASE("terminal: SIGTERM ends the shell, tidily") {
  const StateDirectory state;
  Terminal terminal(state.path);
  CHECK(terminal.shows("kv> "));
  terminal.signal(SIGTERM);
  CHECK(terminal.exit_status() == 128 + SIGTERM);
}
