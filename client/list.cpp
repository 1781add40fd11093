#include "client/list.hpp"

#include <algorithm>
#include <iterator>
#include <utility>
#include <variant>
#include <vector>

namespace kv::client {
namespace {

message::List request_for(Context& context, const ListCommand& command) {
  message::List request;
  request.prefix = command.prefix;
  request.after = command.after;
  request.keys_only = !command.values;
  request.consistency = context.options.consistency;
  // Any key may be in it.
  if (request.consistency != message::Consistency::local) request.ts = context.session.highest_position();
  if (command.at_least) request.ts = std::max(request.ts, command.at_least->ts);
  return request;
}

}  // namespace

asio::awaitable<Exit> list(Context& context, ListCommand command) {
  const std::string what = command.prefix.empty() ? "list" : name_of_command("list", command.prefix);
  if (const std::optional<Exit> failed = co_await reach_cluster(context, what)) co_return *failed;
  if (command.at_least) {
    if (const std::optional<Exit> refused = refuse_token(context, what, *command.at_least)) co_return *refused;
  }
  message::List request = request_for(context, command);
  std::uint64_t left = command.limit.value_or(max_integer);
  std::vector<message::ListItem> together;  // for a table
  for (bool more = true; more && left > 0;) {
    request.limit = std::min(left, max_list_items);
    const std::shared_ptr<Call> call = context.client.new_call(context.options.timeout);  // for each page
    Client::Body body = request;
    Client::WaitHandler on_wait = wait_handler(context);
    Outcome outcome = co_await context.client.request(call, std::move(body), std::move(on_wait));
    if (const auto* failure = std::get_if<Failure>(&outcome)) co_return fail(context, what, *failure);
    auto& page = std::get<message::ListOk>(std::get<Reply>(outcome).body);
    context.session.learn_for_all(page.applied);
    request.ts = std::max(request.ts, page.applied);  // the next page is not older
    left -= std::min<std::uint64_t>(left, page.items.size());
    more = page.more && !page.items.empty();
    if (!page.items.empty()) request.after = page.items.back().key;
    if (context.options.format == Format::table) {
      std::move(page.items.begin(), page.items.end(), std::back_inserter(together));
    } else {
      context.printer.list(page.items, command.values);
    }
  }
  if (context.options.format == Format::table) context.printer.list(together, command.values);
  co_return Exit::done;
}

}  // namespace kv::client
