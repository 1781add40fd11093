// Gets a backup of a cluster from one of its servers, whichever is up: asks for the state of now, takes it part by
// part over one connection, and looks at it while it comes. Where a server ends, hangs, or sends what is damaged,
// it begins again at another.
//
// It gives up when nothing has come for `patience`. The Client, the file and the Progress must outlive it.
#pragma once

#include <asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>

#include "client/backup_check.hpp"
#include "client/call.hpp"
#include "client/client.hpp"
#include "client/new_file.hpp"
#include "client/outcome.hpp"
#include "client/progress.hpp"
#include "client/server_pool.hpp"

namespace kv::client {

struct FetchOptions {
  std::string what;      // the command, for messages
  std::uint64_t ts = 0;  // the backup is of this position or a later one
  std::chrono::milliseconds patience{60'000};
};

struct Fetched {
  BackupSummary summary;
  std::string node;
};

// Why a command ends, ready to be shown.
struct Ending {
  Exit exit = Exit::refused;
  std::string text;
};

class BackupFetch {
 public:
  // `file` gets the backup, all of it or, after an Ending, something of no use.
  BackupFetch(Client& client, std::shared_ptr<Call> call, FetchOptions options, NewFile& file, Progress& progress);

  asio::awaitable<std::variant<Fetched, Ending>> run();

 private:
  using ServerPtr = ServerPool::ServerPtr;
  // Begin again, at another server if the pool knows a better one; `why` is for when nothing better comes.
  struct Again {
    Failure why;
  };
  using Result = std::variant<Fetched, Ending, Again>;

  // A backup that is being taken from one server.
  struct Transfer {
    std::shared_ptr<Link> link;
    BackupCheck check;
    std::uint64_t snapshot = 0;
    std::uint64_t size = 0;
    std::uint64_t written = 0;                      // of size
    std::uint64_t asked_up_to = 0;                  // what is behind this has not been asked for
    std::uint64_t part_bytes = 0;                   // of the first part: the others are as long
    std::size_t under_way = 0;                      // requests
    std::map<std::uint64_t, std::string> too_soon;  // parts that have overtaken others, by offset
    Clock::time_point silent_since = Clock::now();
  };

  asio::awaitable<Result> take_from(ServerPtr server);
  std::optional<Result> take_answer(message::Answer answer, const ServerPtr& server, Transfer& transfer);
  std::optional<Result> take_part(message::BackupOk part, const ServerPtr& server, Transfer& transfer);
  std::optional<Result> take_bytes(const std::string& bytes, const ServerPtr& server, Transfer& transfer);
  std::optional<Result> judge(message::Error error, const ServerPtr& server);
  std::optional<Result> finish(const ServerPtr& server, Transfer& transfer);
  Result damaged(const BackupCheck::Problem& problem, const ServerPtr& server);
  Result nonsense(const ServerPtr& server, const std::string& what);
  Result lost(const ServerPtr& server, std::string why);
  void ask(Transfer& transfer, message::Backup request);
  void ask_for_more(Transfer& transfer);
  asio::awaitable<void> pause(std::chrono::milliseconds length);
  Ending give_up(const Failure& failure) const;

  Client& client_;
  std::shared_ptr<Call> call_;
  FetchOptions options_;
  NewFile& file_;
  Progress& progress_;
  std::chrono::milliseconds begin_patience_;  // for the first part, of one server
  std::chrono::milliseconds part_patience_;   // for the others
  Clock::time_point give_up_at_;
  std::size_t damaged_ = 0;  // how often one was
};

}  // namespace kv::client
