// `kvctl backup`: save writes a consistent backup of a running cluster to a file, verify looks at such a file.
#pragma once

#include <asio/awaitable.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <variant>

#include "client/backup_fetch.hpp"
#include "client/commands.hpp"
#include "client/new_file.hpp"
#include "client/options.hpp"
#include "client/outcome.hpp"

namespace kv::client {

asio::awaitable<Exit> backup_save(Context& context, BackupSaveCommand command);
asio::awaitable<Exit> backup_verify(Context& context, BackupVerifyCommand command);

// What `dump` needs as well.

// How long to wait while nothing comes: --timeout, or a time that fits to commands which take long.
std::chrono::milliseconds patience_of(const GlobalOptions& options);

// A backup of the running cluster in which all that this user has written is.
asio::awaitable<std::variant<Fetched, Ending>> fetch_backup(Context& context, std::shared_ptr<Call> call,
                                                            std::string what, NewFile& file);

// Gives the bytes of a backup file to `check`, and lets other handlers run meanwhile. An Ending if it cannot be
// read, is damaged (Exit::negative), or Ctrl-C was pressed.
asio::awaitable<std::optional<Ending>> read_backup(std::shared_ptr<Call> call, std::string what, std::string path,
                                                   BackupCheck& check);

}  // namespace kv::client
