#include <algorithm>
#include <asio/awaitable.hpp>
#include <asio/io_context.hpp>
#include <kvd/async_client.hpp>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "client/async_watch.hpp"
#include "client/client.hpp"
#include "client/facade.hpp"
#include "client/outcome.hpp"
#include "client/timestamps.hpp"
#include "common/message.hpp"

namespace kvd {

namespace internal = kv::client;
namespace message = kv::message;
using internal::Failure;
using internal::Outcome;
using internal::Reply;
using std::chrono::milliseconds;

struct AsyncClient::Inside {
  Inside(asio::io_context& io, const Options& options)
      : client(io, internal::to_internal(options)), timeout(options.timeout) {}

  asio::awaitable<Outcome> request(internal::Client::Body body, std::optional<milliseconds> other) {
    return client.request(client.new_call(other.value_or(timeout)), std::move(body));
  }

  internal::Client client;
  milliseconds timeout;
  internal::Timestamps timestamps;  // of the one cluster that the client talks to
};

AsyncClient::AsyncClient(asio::io_context& io, Options options) : inside_(std::make_unique<Inside>(io, options)) {}
AsyncClient::~AsyncClient() = default;

asio::awaitable<Result<ClusterInfo>> AsyncClient::connect() {
  const Outcome outcome = co_await inside_->client.connect(inside_->client.new_call(inside_->timeout));
  if (const auto* failure = std::get_if<Failure>(&outcome)) co_return internal::to_public("connect", *failure);
  ClusterInfo info;
  info.cluster = inside_->client.cluster();
  info.leader = inside_->client.leader();
  info.servers = inside_->client.server_count();
  co_return info;
}

asio::awaitable<Result<Written>> AsyncClient::put(std::string key, std::string value, WriteOptions options) {
  const std::string what = internal::name_of_call("put", key);
  if (std::optional<Error> wrong = internal::refuse_key(what, key)) co_return std::move(*wrong);
  if (std::optional<Error> wrong = internal::refuse_value(what, value.size())) co_return std::move(*wrong);
  message::Put put;
  put.key = key;
  put.value = std::move(value);
  put.if_ts = options.if_ts;
  internal::Client::Body body = std::move(put);
  const Outcome outcome = co_await inside_->request(std::move(body), options.timeout);
  if (const auto* failure = std::get_if<Failure>(&outcome)) co_return internal::to_public(what, *failure);
  Written written;
  written.ts = std::get<message::PutOk>(std::get<Reply>(outcome).body).ts;
  inside_->timestamps.learn(key, written.ts);
  co_return written;
}

asio::awaitable<Result<Deleted>> AsyncClient::del(std::string key, WriteOptions options) {
  const std::string what = internal::name_of_call("del", key);
  if (std::optional<Error> wrong = internal::refuse_key(what, key)) co_return std::move(*wrong);
  message::Delete del;
  del.key = key;
  del.if_ts = options.if_ts;
  internal::Client::Body body = std::move(del);
  const Outcome outcome = co_await inside_->request(std::move(body), options.timeout);
  if (const auto* failure = std::get_if<Failure>(&outcome)) co_return internal::to_public(what, *failure);
  const auto& ok = std::get<message::DeleteOk>(std::get<Reply>(outcome).body);
  inside_->timestamps.learn(key, ok.ts);
  Deleted deleted;
  deleted.ts = ok.ts;
  deleted.found = ok.found;
  co_return deleted;
}

asio::awaitable<Result<Read>> AsyncClient::get(std::string key, ReadOptions options) {
  const std::string what = internal::name_of_call("get", key);
  if (std::optional<Error> wrong = internal::refuse_key(what, key)) co_return std::move(*wrong);
  message::Get get;
  get.key = key;
  get.consistency = internal::to_internal(options.consistency);
  if (options.consistency == Consistency::session) {
    get.ts = std::max(inside_->timestamps.position_of(key), options.at_least);
  }
  get.newer_than = options.newer_than;
  internal::Client::Body body = std::move(get);
  Outcome outcome = co_await inside_->request(std::move(body), options.timeout);
  if (const auto* failure = std::get_if<Failure>(&outcome)) co_return internal::to_public(what, *failure);
  Reply& reply = std::get<Reply>(outcome);
  auto& ok = std::get<message::GetOk>(reply.body);
  inside_->timestamps.learn(key, ok.value ? ok.ts : ok.applied);
  Read read;
  read.value = std::move(ok.value);
  read.ts = ok.ts;
  read.applied = ok.applied;
  read.node = reply.node;
  co_return read;
}

asio::awaitable<Result<List>> AsyncClient::list(std::string prefix, ListOptions options) {
  const std::string what = internal::name_of_call("list", prefix);
  if (std::optional<Error> wrong = internal::refuse_prefix(what, prefix)) co_return std::move(*wrong);
  if (std::optional<Error> wrong = internal::refuse_prefix(what, options.after)) co_return std::move(*wrong);
  message::List request;
  request.prefix = std::move(prefix);
  request.after = options.after;
  request.limit = std::min<std::uint64_t>(options.limit.value_or(kv::max_list_items), kv::max_list_items);
  request.keys_only = options.keys_only;
  request.consistency = internal::to_internal(options.consistency);
  if (options.consistency == Consistency::session) {
    request.ts = std::max(inside_->timestamps.highest(), options.at_least);  // any key may be in it
  }
  internal::Client::Body body = std::move(request);
  Outcome outcome = co_await inside_->request(std::move(body), options.timeout);
  if (const auto* failure = std::get_if<Failure>(&outcome)) co_return internal::to_public(what, *failure);
  List list = internal::to_public(std::get<message::ListOk>(std::move(std::get<Reply>(outcome).body)));
  inside_->timestamps.learn_for_all(list.applied);
  co_return list;
}

asio::awaitable<Result<TxnDone>> AsyncClient::txn(Txn txn, std::optional<milliseconds> timeout) {
  const std::string what = "txn";
  if (std::optional<Error> wrong = internal::refuse_txn(what, txn)) co_return std::move(*wrong);
  internal::Client::Body body = internal::to_internal(std::move(txn));
  Outcome outcome = co_await inside_->request(std::move(body), timeout);
  if (const auto* failure = std::get_if<Failure>(&outcome)) co_return internal::to_public(what, *failure);
  TxnDone done = internal::to_public(std::get<message::TxnOk>(std::move(std::get<Reply>(outcome).body)));
  for (const TxnDone::Step& step : done.steps) inside_->timestamps.learn(step.key, done.ts);
  co_return done;
}

AsyncWatch AsyncClient::watch(std::string key, WatchOptions options) {
  return watch(std::move(key), false, options);
}

AsyncWatch AsyncClient::watch_prefix(std::string prefix, WatchOptions options) {
  return watch(std::move(prefix), true, options);
}

AsyncWatch AsyncClient::watch(std::string what, bool prefix, const WatchOptions& options) {
  const std::string name = internal::name_of_call(prefix ? "watch_prefix" : "watch", what);
  std::optional<Error> wrong = prefix ? internal::refuse_prefix(name, what) : internal::refuse_key(name, what);
  message::Watch request;
  (prefix ? request.prefix : request.key) = std::move(what);
  request.from_ts = options.from;
  return AsyncWatch(std::make_unique<AsyncWatch::Inside>(inside_->client, std::move(request), name,
                                                         std::move(wrong), inside_->timestamps.highest(),
                                                         options.timeout.value_or(inside_->timeout)));
}

std::uint64_t AsyncClient::last_seen() const {
  return inside_->timestamps.highest();
}

void AsyncClient::cancel() {
  inside_->client.interrupt();
}

}  // namespace kvd
