// What each command does: ask the cluster, remember the timestamps, print the answer, and say how it went.
#pragma once

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <functional>
#include <optional>
#include <string>
#include <variant>

#include "client/client.hpp"
#include "client/options.hpp"
#include "client/outcome.hpp"
#include "client/output.hpp"
#include "client/session.hpp"

namespace kv::client {

// What commands work with. The shell keeps client and session from one line to the next.
struct Context {
  asio::io_context& io;
  Client& client;
  Session& session;
  Printer& printer;
  GlobalOptions options;
  // Called when the command has begun to wait for what may take long; empty: nobody minds.
  std::function<void()> parked = {};
};

// ---- What the commands share

// Prints it.
Exit fail(Context& context, const std::string& what, const Failure& failure);
// Until a server has answered, so that it is known whose timestamps are meant; an exit status: none has, which is
// told.
asio::awaitable<std::optional<Exit>> reach_cluster(Context& context, std::string what);
// Tells of each WAIT_FOR_RESPONSE, and that the command is parked.
Client::WaitHandler wait_handler(Context& context);
// Of another cluster than the servers'; told.
std::optional<Exit> refuse_token(Context& context, const std::string& what, const Token& token);

// ---- All of them

// Runs one command to its end; Ctrl-C ends the command, not the process. Local files are opened, and a value is
// read, before any server is asked. For all but the shell, which is shell.hpp.
Exit execute(Context& context, const Command& command);
// The same in two steps, for who has others under way. What may block (files, standard input) is done at once; what
// remains may be run at any time, and then needs end(); an exit status where nothing remains.
std::variant<Exit, asio::awaitable<Exit>> begin(Context& context, const Command& command);
Exit end(Context& context, Exit exit);

}  // namespace kv::client
