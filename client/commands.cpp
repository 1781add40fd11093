#include "client/commands.hpp"

#include <algorithm>
#include <chrono>
#include <utility>
#include <variant>

#include "client/backup.hpp"
#include "client/bench.hpp"
#include "client/diagnosis.hpp"
#include "client/dump.hpp"
#include "client/input_lines.hpp"
#include "client/interrupt_guard.hpp"
#include "client/list.hpp"
#include "client/load.hpp"
#include "client/run.hpp"
#include "client/txn.hpp"
#include "client/txn_script.hpp"
#include "client/value_source.hpp"
#include "client/watch.hpp"
#include "common/text.hpp"

namespace kv::client {

Exit fail(Context& context, const std::string& what, const Failure& failure) {
  context.printer.failure(what, failure);
  return exit_of(failure);
}

asio::awaitable<std::optional<Exit>> reach_cluster(Context& context, std::string what) {
  const std::shared_ptr<Call> call = context.client.new_call(context.options.timeout);
  const Outcome connected = co_await context.client.connect(call);
  if (const auto* failure = std::get_if<Failure>(&connected)) co_return fail(context, what, *failure);
  context.session.attach(context.client.cluster());
  co_return std::nullopt;
}

Client::WaitHandler wait_handler(Context& context) {
  return [&context](const message::WaitForResponse& wait) {
    context.printer.wait(wait);
    if (context.parked) context.parked();
  };
}

std::optional<Exit> refuse_token(Context& context, const std::string& what, const Token& token) {
  const std::string& cluster = context.client.cluster();
  if (token.cluster.empty() || token.cluster == cluster) return std::nullopt;
  context.printer.error(what + ": CLUSTER_MISMATCH: the token is of cluster " + escape_control(token.cluster) +
                        ", the servers are of " + escape_control(cluster) +
                        "; its timestamp means nothing there: name the right servers with --endpoints");
  return Exit::refused;
}

namespace {

// A server that does not answer STATUS within this is shown as unreachable, unless --timeout says otherwise.
constexpr std::chrono::milliseconds status_patience{2000};

// Only what the protocol's own limits say; all else is for the servers to judge.
std::optional<Exit> refuse_key(Context& context, const std::string& what, const std::string& key) {
  if (key.size() <= max_key_bytes) return std::nullopt;
  context.printer.error(what + ": TOO_LARGE: the key has " + std::to_string(key.size()) + " bytes; at most " +
                        std::to_string(max_key_bytes));
  return Exit::refused;
}

asio::awaitable<Exit> put(Context& context, message::Put put, std::string what) {
  const std::shared_ptr<Call> call = context.client.new_call(context.options.timeout);
  const Outcome connected = co_await context.client.connect(call);
  if (const auto* failure = std::get_if<Failure>(&connected)) co_return fail(context, what, *failure);
  context.session.attach(context.client.cluster());

  Client::Body body = put;
  const Outcome outcome = co_await context.client.request(call, std::move(body));
  if (const auto* failure = std::get_if<Failure>(&outcome)) {
    if (put.if_ts != 0 || exit_of(*failure) != Exit::negative) co_return fail(context, what, *failure);
    context.printer.error(what + ": conflict: the key is there already, with ts " +
                          std::to_string(failure->error->ts.value_or(0)));
    co_return Exit::negative;
  }
  const Reply& reply = std::get<Reply>(outcome);
  const auto& ok = std::get<message::PutOk>(reply.body);
  context.session.learn(put.key, ok.ts);
  context.printer.put_ok(put, ok, reply);
  co_return Exit::done;
}

asio::awaitable<Exit> del(Context& context, message::Delete del, std::string what) {
  const std::shared_ptr<Call> call = context.client.new_call(context.options.timeout);
  const Outcome connected = co_await context.client.connect(call);
  if (const auto* failure = std::get_if<Failure>(&connected)) co_return fail(context, what, *failure);
  context.session.attach(context.client.cluster());

  Client::Body body = del;
  const Outcome outcome = co_await context.client.request(call, std::move(body));
  if (const auto* failure = std::get_if<Failure>(&outcome)) co_return fail(context, what, *failure);
  const Reply& reply = std::get<Reply>(outcome);
  const auto& ok = std::get<message::DeleteOk>(reply.body);
  context.session.learn(del.key, ok.ts);
  context.printer.delete_ok(ok, reply);
  co_return Exit::done;
}

asio::awaitable<Exit> get(Context& context, GetCommand command, std::string what) {
  const std::shared_ptr<Call> call = context.client.new_call(context.options.timeout);
  const Outcome connected = co_await context.client.connect(call);
  if (const auto* failure = std::get_if<Failure>(&connected)) co_return fail(context, what, *failure);
  context.session.attach(context.client.cluster());

  message::Get request;
  request.key = command.key;
  request.consistency = context.options.consistency;
  if (request.consistency != message::Consistency::local) request.ts = context.session.position_of(command.key);
  if (command.after) {
    if (const std::optional<Exit> refused = refuse_token(context, what, *command.after)) co_return *refused;
    request.ts = std::max(request.ts, command.after->ts);
  }
  Client::Body body = std::move(request);
  Client::WaitHandler on_wait = wait_handler(context);
  const Outcome outcome = co_await context.client.request(call, std::move(body), std::move(on_wait));
  if (const auto* failure = std::get_if<Failure>(&outcome)) co_return fail(context, what, *failure);
  const Reply& reply = std::get<Reply>(outcome);
  const auto& ok = std::get<message::GetOk>(reply.body);
  context.session.learn(command.key, ok.value ? ok.ts : ok.applied);
  context.printer.get_ok(ok, reply, command.raw);
  co_return ok.value ? Exit::done : Exit::negative;
}

asio::awaitable<Exit> status(Context& context) {
  const auto patience =
      context.options.timeout_given ? context.options.timeout : std::min(context.options.timeout, status_patience);
  const std::shared_ptr<Call> call = context.client.new_call(patience);
  const std::vector<NodeStatus> rows = co_await context.client.status(call);
  if (call->interrupted()) {
    context.printer.error("status: interrupted");
    co_return Exit::interrupted;
  }
  Failure none_reached;
  for (const NodeStatus& row : rows) {
    const auto* why = std::get_if<std::string>(&row.result);
    if (why) none_reached.attempts.push_back(row.address + ": " + escape_control(*why));
  }
  if (none_reached.attempts.size() == rows.size()) co_return fail(context, "status", none_reached);
  context.printer.status(rows);
  co_return has_leader(rows) ? Exit::done : Exit::negative;
}

asio::awaitable<Exit> init(Context& context, InitCommand command) {
  const std::string remembered = context.session.remembered_cluster();
  context.client.restart(std::move(command.endpoints), remembered);
  const std::shared_ptr<Call> call = context.client.new_call(context.options.timeout);
  const Outcome connected = co_await context.client.connect(call);
  if (const auto* failure = std::get_if<Failure>(&connected)) co_return fail(context, "init", *failure);
  context.session.attach(context.client.cluster());
  const Reply& reply = std::get<Reply>(connected);
  context.printer.init_ok(std::get<message::InitOk>(reply.body), context.client.server_count());
  co_return Exit::done;
}

using Begun = std::variant<Exit, asio::awaitable<Exit>>;

struct Executor {
  Context& context;

  Begun operator()(const PutCommand& command) const {
    const std::string what = name_of_command("put", command.key);
    if (const std::optional<Exit> refused = refuse_key(context, what, command.key)) return *refused;
    std::variant<std::string, ValueProblem> value = read_value(command);
    if (const auto* problem = std::get_if<ValueProblem>(&value)) {
      context.printer.error(what + ": " + problem->text);
      return problem->too_large ? Exit::refused : Exit::usage;
    }
    message::Put request;
    request.key = command.key;
    request.value = std::move(std::get<std::string>(value));
    request.if_ts = command.if_ts;
    return put(context, std::move(request), what);
  }

  Begun operator()(const GetCommand& command) const {
    const std::string what = name_of_command("get", command.key);
    if (const std::optional<Exit> refused = refuse_key(context, what, command.key)) return *refused;
    return get(context, command, what);
  }

  Begun operator()(const DeleteCommand& command) const {
    const std::string what = name_of_command("del", command.key);
    if (const std::optional<Exit> refused = refuse_key(context, what, command.key)) return *refused;
    message::Delete request;
    request.key = command.key;
    request.if_ts = command.if_ts;
    return del(context, std::move(request), what);
  }

  Begun operator()(const ListCommand& command) const { return list(context, command); }
  Begun operator()(const WatchCommand& command) const {
    if (command.is_prefix) return watch(context, command);
    const std::string what = name_of_command("watch", command.what);
    if (const std::optional<Exit> refused = refuse_key(context, what, command.what)) return *refused;
    return watch(context, command);
  }
  Begun operator()(const WaitCommand& command) const {
    const std::string what = name_of_command("wait", command.key);
    if (const std::optional<Exit> refused = refuse_key(context, what, command.key)) return *refused;
    return wait(context, command);
  }
  Begun operator()(const TxnCommand& command) const {
    std::variant<std::string, ValueProblem> script = read_word(command.script, "");
    if (const auto* problem = std::get_if<ValueProblem>(&script)) {
      context.printer.error("txn: " + problem->text);
      return Exit::usage;
    }
    std::variant<message::Txn, ScriptProblem> request = parse_txn(std::get<std::string>(script));
    if (const auto* problem = std::get_if<ScriptProblem>(&request)) {
      context.printer.error("txn: " + problem->text);
      return Exit::usage;
    }
    return txn(context, std::get<message::Txn>(std::move(request)));
  }
  Begun operator()(const StatusCommand&) const { return status(context); }
  Begun operator()(const BackupSaveCommand& command) const { return backup_save(context, command); }
  Begun operator()(const BackupVerifyCommand& command) const { return backup_verify(context, command); }
  Begun operator()(const DumpCommand& command) const { return dump(context, command); }
  Begun operator()(const LoadCommand& command) const {
    std::variant<InputLines, FileProblem> input = InputLines::open(command.file);
    if (const auto* problem = std::get_if<FileProblem>(&input)) {
      context.printer.error("load: " + problem->text);
      return Exit::usage;
    }
    return load(context, command, std::get<InputLines>(std::move(input)));
  }
  Begun operator()(const BenchCommand& command) const { return bench(context, command); }
  Begun operator()(const InitCommand& command) const { return init(context, command); }
  Begun operator()(const ShowText& show) const {
    context.printer.text(show.text);
    return Exit::done;
  }
  // The shell's own.
  Begun operator()(const JobsCommand&) const { return Exit::done; }
  Begun operator()(const CancelCommand&) const { return Exit::done; }
  Begun operator()(const ShellCommand&) const { return Exit::done; }
  Begun operator()(const QuitCommand&) const { return Exit::done; }
};

}  // namespace

Begun begin(Context& context, const Command& command) {
  return std::visit(Executor{context}, command);
}

Exit end(Context& context, Exit exit) {
  if (context.printer.flush()) return exit;
  context.printer.error("cannot write the output: is the disk full?");
  return exit == Exit::done ? Exit::usage : exit;
}

Exit execute(Context& context, const Command& command) {
  Begun begun = begin(context, command);
  if (const auto* exit = std::get_if<Exit>(&begun)) return end(context, *exit);
  const InterruptGuard guard(context.io, context.client);
  return end(context, run(context.io, std::get<asio::awaitable<Exit>>(std::move(begun))));
}

}  // namespace kv::client
