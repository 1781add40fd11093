#include "client/watch.hpp"

#include <utility>
#include <variant>

#include "client/watching.hpp"
#include "common/text.hpp"

namespace kv::client {
namespace {

message::Watch request_for(const WatchCommand& command) {
  message::Watch request;
  (command.is_prefix ? request.prefix : request.key) = command.what;
  request.from_ts = command.from;
  return request;
}

void tell_place(Context& context, const Watching::Place& place) {
  if (place.why_left.empty() && !context.options.verbose) return;
  const std::string why = place.why_left.empty() ? "" : place.why_left + ": ";
  context.printer.remark(why + "watching at " + place.server + ", changes behind " +
                         std::to_string(place.position) + "\n");
}

std::string how_to_go_on(std::uint64_t shown, const Failure& failure) {
  const std::string all = "all changes up to " + std::to_string(shown) + " were shown";
  const std::optional<std::uint64_t> oldest = failure.error ? failure.error->oldest : std::nullopt;
  if (!oldest || *oldest <= shown + 1)
    return all + ": watch --from " + std::to_string(shown) + " goes on from there\n";
  const std::string known_from = std::to_string(*oldest - 1);
  return all + ", those behind it up to " + known_from +
         " are known to no server that answers: list shows what there is now, watch --from " + known_from +
         " what comes behind them\n";
}

}  // namespace

asio::awaitable<Exit> watch(Context& context, WatchCommand command) {
  const std::string what = name_of_command(command.is_prefix ? "watch --prefix" : "watch", command.what);
  if (const std::optional<Exit> failed = co_await reach_cluster(context, what)) co_return *failed;
  std::function<void(const Watching::Place&)> on_place = [&context](const Watching::Place& place) {
    tell_place(context, place);
    if (context.parked) context.parked();
  };
  message::Watch request = request_for(command);
  Watching watching(context.client, std::move(request), context.session.highest_position(), context.options.timeout,
                    std::move(on_place));
  for (;;) {
    const std::variant<Watching::Changes, Failure> next = co_await watching.next();
    if (const auto* failure = std::get_if<Failure>(&next)) {
      if (failure->kind == Failure::Kind::interrupted) co_return Exit::interrupted;
      const Exit exit = fail(context, what, *failure);
      if (const auto position = watching.position()) context.printer.remark(how_to_go_on(*position, *failure));
      co_return exit;
    }
    for (const message::Event& event : std::get<Watching::Changes>(next)) context.printer.event(event);
    if (!context.printer.flush()) co_return Exit::done;  // which execute() tells
  }
}

asio::awaitable<Exit> wait(Context& context, WaitCommand command) {
  const std::string what = name_of_command("wait", command.key);
  if (const std::optional<Exit> failed = co_await reach_cluster(context, what)) co_return *failed;
  const std::shared_ptr<Call> call = context.client.new_call(context.options.timeout);
  message::Get request;
  request.key = command.key;
  request.ts = context.session.position_of(command.key);
  request.newer_than = command.newer_than;
  if (!command.newer_than) {
    Client::Body now = request;
    const Outcome outcome = co_await context.client.request(call, std::move(now));
    if (const auto* failure = std::get_if<Failure>(&outcome)) co_return fail(context, what, *failure);
    const auto& ok = std::get<message::GetOk>(std::get<Reply>(outcome).body);
    request.newer_than = ok.value ? ok.ts : ok.applied;
  }
  Client::Body body = std::move(request);
  Client::WaitHandler on_wait = [&context](const message::WaitForResponse&) {
    if (context.parked) context.parked();
  };
  const Outcome outcome = co_await context.client.request(call, std::move(body), std::move(on_wait));
  if (const auto* failure = std::get_if<Failure>(&outcome)) co_return fail(context, what, *failure);
  const Reply& reply = std::get<Reply>(outcome);
  const auto& ok = std::get<message::GetOk>(reply.body);
  context.session.learn(command.key, ok.value ? ok.ts : ok.applied);
  context.printer.get_ok(ok, reply, false);
  co_return ok.value ? Exit::done : Exit::negative;
}

}  // namespace kv::client
