// kvd::Client for Asio's coroutines: any number of requests under way at the same time, on one io_context.
//
//   asio::awaitable<void> work(kvd::AsyncClient& client) {
//     const kvd::Result<kvd::Read> colour = co_await client.get("colour");
//     …
//   }
//
// Asio is used without Boost and compiled separately: the CMake target kvd::client brings the definitions that
// every source of the program which includes Asio needs (ASIO_STANDALONE, ASIO_SEPARATE_COMPILATION and others).
#pragma once

#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <chrono>
#include <cstdint>
#include <kvd/types.hpp>
#include <memory>
#include <optional>
#include <string>

namespace kvd {

class AsyncClient;

// The changes of a key or a prefix, as they are made: each once, in order, from whichever server is up. The
// AsyncClient must outlive it, and it its coroutines.
class AsyncWatch {
 public:
  ~AsyncWatch();
  AsyncWatch(AsyncWatch&&) noexcept;
  AsyncWatch& operator=(AsyncWatch&&) noexcept;

  // The next ones; one call at a time. A failure is the end of the watch.
  asio::awaitable<Result<Changes>> next();
  // Where another watch goes on: all changes up to there have been given out. nullopt: it has not begun yet.
  std::optional<std::uint64_t> position() const;
  // next() ends with Error::Kind::cancelled.
  void cancel();

 private:
  friend class AsyncClient;
  struct Inside;
  explicit AsyncWatch(std::unique_ptr<Inside> inside);
  std::unique_ptr<Inside> inside_;
};

// Used from the thread that runs the io_context, which must outlive it. Must itself outlive its coroutines:
// cancel() ends them, and they have ended when each has returned.
class AsyncClient {
 public:
  // Throws std::invalid_argument for an endpoint that is none.
  AsyncClient(asio::io_context& io, Options options);
  ~AsyncClient();
  AsyncClient(const AsyncClient&) = delete;
  AsyncClient& operator=(const AsyncClient&) = delete;

  // As in Client. Writes of one key that are under way at the same time may be applied in any order.
  asio::awaitable<Result<ClusterInfo>> connect();
  asio::awaitable<Result<Written>> put(std::string key, std::string value, WriteOptions options = {});
  asio::awaitable<Result<Deleted>> del(std::string key, WriteOptions options = {});
  asio::awaitable<Result<Read>> get(std::string key, ReadOptions options = {});
  asio::awaitable<Result<List>> list(std::string prefix, ListOptions options = {});
  asio::awaitable<Result<TxnDone>> txn(Txn txn, std::optional<std::chrono::milliseconds> timeout = {});
  AsyncWatch watch(std::string key, WatchOptions options = {});
  AsyncWatch watch_prefix(std::string prefix, WatchOptions options = {});
  std::uint64_t last_seen() const;

  // What is under way ends with Error::Kind::cancelled.
  void cancel();

 private:
  AsyncWatch watch(std::string what, bool prefix, const WatchOptions& options);

  struct Inside;
  std::unique_ptr<Inside> inside_;
};

}  // namespace kvd
