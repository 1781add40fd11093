#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <exception>
#include <kvd/async_client.hpp>
#include <kvd/client.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>

#include "client/run.hpp"

namespace kvd {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

struct Client::Inside {
  explicit Inside(Options options) : client(io, std::move(options)) {}

  asio::io_context io{1};
  AsyncClient client;
};

Client::Client(Options options) : inside_(std::make_unique<Inside>(std::move(options))) {}
Client::~Client() = default;
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;

Result<ClusterInfo> Client::connect() {
  return kv::client::run(inside_->io, inside_->client.connect());
}

Result<Written> Client::put(std::string key, std::string value, WriteOptions options) {
  return kv::client::run(inside_->io, inside_->client.put(std::move(key), std::move(value), std::move(options)));
}

Result<Deleted> Client::del(std::string key, WriteOptions options) {
  return kv::client::run(inside_->io, inside_->client.del(std::move(key), std::move(options)));
}

Result<Read> Client::get(std::string key, ReadOptions options) {
  return kv::client::run(inside_->io, inside_->client.get(std::move(key), std::move(options)));
}

Result<List> Client::list(std::string prefix, ListOptions options) {
  return kv::client::run(inside_->io, inside_->client.list(std::move(prefix), std::move(options)));
}

Result<TxnDone> Client::txn(Txn txn, std::optional<milliseconds> timeout) {
  return kv::client::run(inside_->io, inside_->client.txn(std::move(txn), timeout));
}

std::uint64_t Client::last_seen() const {
  return inside_->client.last_seen();
}

// ---- Watches -------------------------------------------------------------------------------------------

// A next() that has run out of patience stays asked, and the one after it takes what comes of it.
struct Watch::Inside {
  Inside(asio::io_context& context, AsyncWatch what) : io(context), watch(std::move(what)) {}
  ~Inside() {
    watch.cancel();
    while (asked && !answer && !failed) run_one(std::nullopt);
  }

  std::optional<Result<Changes>> next(std::optional<steady_clock::time_point> until) {
    if (!asked) ask();
    while (!answer && !failed) {
      if (until && steady_clock::now() >= *until) return std::nullopt;
      run_one(until);
    }
    asked = false;
    if (failed) std::rethrow_exception(std::exchange(failed, nullptr));
    return std::exchange(answer, std::nullopt);
  }

  void ask() {
    asked = true;
    asio::co_spawn(io, watch.next(), [this](std::exception_ptr error, Result<Changes> changes) {
      failed = error;
      if (!error) answer = std::move(changes);
    });
  }

  void run_one(std::optional<steady_clock::time_point> until) {
    if (io.stopped()) io.restart();
    const std::size_t done = until ? io.run_one_until(*until) : io.run_one();
    if (done == 0 && !until) throw std::logic_error("a watch waits for nothing");
  }

  asio::io_context& io;
  AsyncWatch watch;
  bool asked = false;
  std::exception_ptr failed;
  std::optional<Result<Changes>> answer;
};

Watch::Watch(std::unique_ptr<Inside> inside) : inside_(std::move(inside)) {}
Watch::~Watch() = default;
Watch::Watch(Watch&&) noexcept = default;
Watch& Watch::operator=(Watch&&) noexcept = default;

Watch Client::watch(std::string key, WatchOptions options) {
  AsyncWatch watch = inside_->client.watch(std::move(key), options);
  return Watch(std::make_unique<Watch::Inside>(inside_->io, std::move(watch)));
}

Watch Client::watch_prefix(std::string prefix, WatchOptions options) {
  AsyncWatch watch = inside_->client.watch_prefix(std::move(prefix), options);
  return Watch(std::make_unique<Watch::Inside>(inside_->io, std::move(watch)));
}

Result<Changes> Watch::next() {
  return *inside_->next(std::nullopt);
}

std::optional<Result<Changes>> Watch::next(milliseconds patience) {
  return inside_->next(steady_clock::now() + patience);
}

std::optional<std::uint64_t> Watch::position() const {
  return inside_->watch.position();
}

}  // namespace kvd
