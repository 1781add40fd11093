#include "client/txn.hpp"

#include <utility>
#include <variant>

namespace kv::client {

asio::awaitable<Exit> txn(Context& context, message::Txn request) {
  const std::string what = "txn";
  if (const std::optional<Exit> failed = co_await reach_cluster(context, what)) co_return *failed;
  const std::shared_ptr<Call> call = context.client.new_call(context.options.timeout);
  Client::Body body = std::move(request);
  const Outcome outcome = co_await context.client.request(call, std::move(body));
  if (const auto* failure = std::get_if<Failure>(&outcome)) co_return fail(context, what, *failure);
  const Reply& reply = std::get<Reply>(outcome);
  const auto& ok = std::get<message::TxnOk>(reply.body);
  for (const message::TxnResult& result : ok.results) context.session.learn(result.key, ok.ts);
  context.printer.txn_ok(ok, reply);
  co_return ok.succeeded ? Exit::done : Exit::negative;
}

}  // namespace kv::client
