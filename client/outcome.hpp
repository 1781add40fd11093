// What becomes of a request: an answer, or one of a few ways of having none, each with kvctl's exit status and
// a sentence for a person. Values only.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/message.hpp"

namespace kv::client {

// kvctl's exit statuses, as its manual page has them.
enum class Exit : int {
  done = 0,
  negative = 1,         // no such key, conflict, no leader
  usage = 2,            // also: a local file could not be read or written
  no_server = 3,        // none reached: nothing was sent
  refused = 4,          // a server refused, or did not answer a read in time
  unknown_outcome = 5,  // a write may or may not have been applied
  interrupted = 130,    // Ctrl-C
};

struct Reply {
  std::variant<message::InitOk, message::PutOk, message::DeleteOk, message::GetOk, message::ListOk, message::TxnOk,
               message::StatusOk>
      body;
  std::string node;
  std::string cluster;
};

struct Failure {
  enum class Kind {
    no_server,        // nothing was sent
    refused,          // `error` says why; the request was not applied
    no_answer,        // a read that was sent and not answered
    unknown_outcome,  // a write that was sent and may have been applied
    interrupted,      // by Ctrl-C
  };
  Kind kind = Kind::no_server;
  std::string where;  // "n2 (127.0.0.1:7402)": the server that was asked last
  std::string node;   // its name alone
  // What that server said, where it said anything.
  std::optional<message::Error> error;
  // How far it said it was and what it was asked for, where it said that; and who leads, as far as is known.
  std::optional<std::uint64_t> applied;
  std::optional<std::uint64_t> asked;
  std::string leader;
  // What else went wrong: "the server closed the connection".
  std::string why;
  // no_server: "127.0.0.1:7401: connection refused", one for each address.
  std::vector<std::string> attempts;
  // interrupted: a write is under way, and may be applied.
  bool maybe_applied = false;
};

using Outcome = std::variant<Reply, Failure>;

Exit exit_of(const Failure& failure);
// One line without the final newline, for stderr: what failed, where, why, what next. `what` is the command as
// the user knows it: `put "colour"`.
std::string describe(const std::string& what, const Failure& failure);
// The same without what next, which is said in kvctl's words.
std::string explain(const std::string& what, const Failure& failure);

}  // namespace kv::client
