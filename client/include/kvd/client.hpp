// The client library of kvd: puts, gets, lists and watches keys of a cluster, from any of its servers.
//
//   kvd::Options options;
//   options.endpoints = {"127.0.0.1:7401"};
//   kvd::Client client(options);
//   kvd::Result<kvd::Written> put = client.put("colour", "blue");
//   if (!put) std::cerr << put.error().text << "\n";
//   std::cout << client.get("colour").value().value.value_or("(absent)") << "\n";
//
// What it does for its caller: learns the other servers and follows them when they move; asks another one where one
// is down, hangs or is behind; sends a write again until its fate is known, in such a way that it is applied once;
// remembers how far it has seen each key, so that it reads its own writes and never goes back in time on a key.
//
// kvd::Client blocks. kvd::AsyncClient (kvd/async_client.hpp) is the same for Asio's coroutines.
#pragma once

#include <chrono>
#include <cstdint>
#include <kvd/types.hpp>
#include <memory>
#include <optional>
#include <string>

namespace kvd {

class Client;

// The changes of a key or a prefix, as they are made: each once, in order, from whichever server is up. Belongs to
// its Client, which must outlive it (and may be moved).
class Watch {
 public:
  ~Watch();
  Watch(Watch&&) noexcept;
  Watch& operator=(Watch&&) noexcept;

  // Waits for the next ones. A failure is the end of the watch.
  Result<Changes> next();
  // The same, but nullopt if there are none for so long.
  std::optional<Result<Changes>> next(std::chrono::milliseconds patience);
  // Where another watch goes on: all changes up to there have been given out. nullopt: it has not begun yet.
  std::optional<std::uint64_t> position() const;

 private:
  friend class Client;
  struct Inside;
  explicit Watch(std::unique_ptr<Inside> inside);
  std::unique_ptr<Inside> inside_;
};

// For one thread at a time. Connects when it is first used. Between calls nothing runs.
class Client {
 public:
  // Throws std::invalid_argument for an endpoint that is none.
  explicit Client(Options options = {});
  ~Client();
  Client(Client&&) noexcept;
  Client& operator=(Client&&) noexcept;

  // Optional: whether there is a server.
  Result<ClusterInfo> connect();

  Result<Written> put(std::string key, std::string value, WriteOptions options = {});
  Result<Deleted> del(std::string key, WriteOptions options = {});
  Result<Read> get(std::string key, ReadOptions options = {});

  // A page of the keys that begin with `prefix`.
  Result<List> list(std::string prefix, ListOptions options = {});
  Result<TxnDone> txn(Txn txn, std::optional<std::chrono::milliseconds> timeout = {});
  Watch watch(std::string key, WatchOptions options = {});
  Watch watch_prefix(std::string prefix, WatchOptions options = {});

  // The highest position of what was written and read. Whoever reads with it as `at_least` sees all of that.
  std::uint64_t last_seen() const;

 private:
  struct Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace kvd
