// The commands that the shell runs: one in front, and those that go on while the next line is being typed.
//
// A job owns all that its command works with, so it may end at any time. What it prints goes to streams that the
// shell gives it, and is flushed when there is a whole line. One thread.
#pragma once

#include <asio/io_context.hpp>
#include <cstdint>
#include <exception>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "client/client.hpp"
#include "client/commands.hpp"
#include "client/options.hpp"
#include "client/outcome.hpp"
#include "client/output.hpp"
#include "client/session.hpp"

namespace kv::client {

class Jobs {
 public:
  Jobs(asio::io_context& io, Client& client, Session& session) : io_(io), client_(client), session_(session) {}

  // Runs the command until it has ended or, where it waits for what may take long, has gone to the background: then
  // there is its number instead of an exit status. Ctrl-C ends what is in front.
  struct Ran {
    std::optional<Exit> exit;
    std::uint64_t number = 0;
  };
  Ran run(const Invocation& invocation, const Screen& screen, std::string line);

  struct Shown {
    std::uint64_t number = 0;
    std::string line;
  };
  std::vector<Shown> in_background();
  // False: there is none of this number.
  bool cancel(std::uint64_t number);
  void cancel_all();

 private:
  struct Job {
    std::uint64_t number = 0;
    std::string line;
    std::unique_ptr<Client> own_client;  // of a watch, which may change its server while others ask
    Printer printer;
    std::optional<Context> context;
    std::vector<std::weak_ptr<Call>> calls;  // once it is in the background
    bool is_parked = false;
    bool is_cancelled = false;
    std::optional<Exit> exit;
    std::exception_ptr failed;

    explicit Job(Printer its_printer) : printer(std::move(its_printer)) {}
  };

  std::unique_ptr<Client> client_for(const Command& command) const;
  void start(const std::shared_ptr<Job>& job, asio::awaitable<Exit> work);
  void interrupt(Job& job);
  void forget_ended();

  asio::io_context& io_;
  Client& client_;
  Session& session_;
  std::list<std::shared_ptr<Job>> background_;
  std::uint64_t last_number_ = 0;
};

}  // namespace kv::client
