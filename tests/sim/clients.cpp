#include "tests/sim/clients.hpp"

#include <algorithm>
#include <utility>

#include "tests/sim/describe.hpp"

namespace kv::sim {
namespace {

constexpr Time reconnect_pause = 100 * ms;
constexpr Time retry_pause = 30 * ms;
constexpr Time patience = second;  // with a server that lets a request's own time-out pass
constexpr std::uint64_t far_ahead = 1000;

std::string key_of(const message::Request& request) {
  if (const auto* put = std::get_if<message::Put>(&request.body)) return put->key;
  if (const auto* del = std::get_if<message::Delete>(&request.body)) return del->key;
  return std::get<message::Get>(request.body).key;
}

bool is_read(const message::Request& request) {
  return std::holds_alternative<message::Get>(request.body);
}

history::Consistency to_history(message::Consistency consistency) {
  switch (consistency) {
    case message::Consistency::linearizable:
      return history::Consistency::linearizable;
    case message::Consistency::local:
      return history::Consistency::local;
    case message::Consistency::session:
      break;
  }
  return history::Consistency::session;
}

bool has_session(const message::Request& request) {
  if (const auto* put = std::get_if<message::Put>(&request.body)) return put->session.has_value();
  const auto* del = std::get_if<message::Delete>(&request.body);
  return del && del->session;
}

}  // namespace

Clients::Clients(World& world, Judge& judge, std::vector<std::unique_ptr<Node>>& nodes)
    : world_(world), judge_(judge), nodes_(nodes) {}

Time Clients::delay() {
  return world_.random.skewed(world_.plan.delay);
}

Clients::Client& Clients::add_client(std::vector<NodeIndex> servers) {
  Client& client = clients_.emplace_back();
  client.index = clients_.size() - 1;
  client.name = "c" + std::to_string(clients_.size());
  client.servers = std::move(servers);
  return client;
}

void Clients::start() {
  std::vector<NodeIndex> all;
  for (NodeIndex i = 0; i < nodes_.size(); ++i) all.push_back(i);
  for (std::size_t i = 0; i < world_.plan.clients; ++i) {
    Client& client = add_client(all);
    client.writes_in_session = world_.random.percent(50);
    client.pipeline = world_.plan.pipeline;
  }
  for (std::size_t i = 0; i < clients_.size(); ++i) think(i);
}

bool Clients::is_idle() const {
  return std::all_of(clients_.begin(), clients_.end(), [](const Client& client) { return client.open == 0; });
}

// ---- Connections

void Clients::connect(std::size_t index) {
  Client& client = clients_[index];
  if (client.connection || client.connecting) return;
  client.connecting = true;
  const NodeIndex to = world_.random.pick(client.servers);
  world_.scheduler.after(delay(), [this, index, to] {
    Client& connecting = clients_[index];
    connecting.connecting = false;
    if (!nodes_[to]->is_up()) {
      world_.scheduler.after(reconnect_pause, [this, index] { connect(index); });
      return;
    }
    Connection connection;
    connection.id = next_connection_++;
    connection.node = to;
    connection.process = nodes_[to]->process();
    by_connection_[connection.id] = index;
    connecting.connection = std::move(connection);
    say_init(index);
  });
}

void Clients::say_init(std::size_t index) {
  message::Request init;
  init.id = next_request_++;
  init.timeout_ms = 1000;
  init.body = message::Init{};
  const ClientId id = clients_[index].connection->id;
  send(index, std::move(init));
  world_.scheduler.after(second + patience, [this, index, id] {
    const auto& connection = clients_[index].connection;
    if (connection && connection->id == id && !connection->ready) lose(index);
  });
}

void Clients::send(std::size_t index, message::Request request) {
  Connection& connection = *clients_[index].connection;
  connection.last_request = std::max(connection.last_request, world_.now() + delay());
  if (world_.tells()) {
    world_.tell(clients_[index].name, "-> " + nodes_[connection.node]->name() + "  " + describe(request));
  }
  world_.scheduler.at(connection.last_request, [this, node = connection.node, process = connection.process,
                                                id = connection.id, request = std::move(request)] {
    if (nodes_[node]->process() != process || !by_connection_.contains(id)) return;
    nodes_[node]->hand([this, node, id, request] {
      judge_.asked(nodes_[node]->name(), id, request);
      nodes_[node]->replica().request(id, request);
      nodes_[node]->poke();
    });
  });
}

void Clients::answer(ClientAnswer answer) {
  const auto found = by_connection_.find(answer.client);
  if (found == by_connection_.end()) return;
  const std::size_t index = found->second;
  mix_into(world_.hash, answer.answer);
  Connection& connection = *clients_[index].connection;
  connection.last_answer = std::max(connection.last_answer, world_.now() + delay());
  world_.scheduler.at(connection.last_answer, [this, index, id = answer.client, body = std::move(answer.answer)] {
    arrive(index, id, body);
  });
}

void Clients::arrive(std::size_t index, ClientId id, const message::Answer& answer) {
  Client& client = clients_[index];
  if (!client.connection || client.connection->id != id) return;
  if (world_.tells()) {
    world_.tell(nodes_[client.connection->node]->name(), "-> " + client.name + "  " + describe(answer));
  }
  if (std::holds_alternative<message::WaitForResponse>(answer.body)) return;
  if (!client.connection->ready) {
    const auto* ok = std::get_if<message::InitOk>(&answer.body);
    if (!ok) return lose(index);
    client.connection->ready = true;
    if (client.session.empty()) {
      client.session = client.name + "-writes-" + std::to_string(++client.sessions);
      client.session_from = ok->applied;
    }
    for (const std::size_t operation : std::exchange(client.waiting, {})) attempt(operation);
    return;
  }
  const auto asked = client.connection->asked.find(answer.id.value_or(0));
  if (asked == client.connection->asked.end()) return;
  const std::size_t operation = asked->second;
  client.connection->asked.erase(asked);
  settle(operation, answer);
}

void Clients::lose(std::size_t index) {
  Client& client = clients_[index];
  if (!client.connection) return;
  const Connection connection = std::move(*std::exchange(client.connection, std::nullopt));
  by_connection_.erase(connection.id);
  Node& node = *nodes_[connection.node];
  if (node.process() == connection.process) {
    world_.scheduler.after(delay(), [this, &node, process = connection.process, id = connection.id] {
      if (node.process() != process) return;
      node.hand([this, &node, id] {
        judge_.gone(id);
        node.replica().client_gone(id);
        node.poke();
      });
    });
  }
  for (const auto& [request, operation] : connection.asked) unknown(operation);
  if (!client.waiting.empty()) connect(index);
}

void Clients::reset(std::size_t index) {
  if (!clients_[index].connection) return;
  world_.coverage.note(Fault::client_reset);
  world_.tell(clients_[index].name, "loses its connection");
  lose(index);
}

void Clients::node_ended(NodeIndex node, End end) {
  if (end == End::silence) return;  // they find out by waiting
  for (std::size_t i = 0; i < clients_.size(); ++i) {
    const auto& connection = clients_[i].connection;
    if (!connection || connection->node != node) continue;
    world_.scheduler.after(delay(), [this, i, id = connection->id] {
      if (clients_[i].connection && clients_[i].connection->id == id) lose(i);
    });
  }
}

// ---- What is asked

void Clients::think(std::size_t index) {
  if (std::exchange(clients_[index].thinking, true)) return;
  world_.scheduler.after(world_.random.skewed(world_.plan.think), [this, index] {
    Client& client = clients_[index];
    client.thinking = false;
    if (stopped_ || client.open >= client.pipeline) return;
    begin(index);
    if (client.open < client.pipeline) think(index);
  });
}

void Clients::begin(std::size_t index) {
  Client& client = clients_[index];
  attempt(open(client, draw(client)));
}

std::size_t Clients::open(Client& client, message::Request request) {
  const std::size_t number = operations_.size();
  history::Operation entry;
  entry.number = number;
  entry.session = client.name;
  entry.key = key_of(request);
  entry.invoked = ++clock_;
  if (const auto* put = std::get_if<message::Put>(&request.body)) {
    entry.function = history::Function::put;
    entry.if_ts = put->if_ts;
  } else if (const auto* del = std::get_if<message::Delete>(&request.body)) {
    entry.function = history::Function::del;
    entry.if_ts = del->if_ts;
  } else {
    const auto& get = std::get<message::Get>(request.body);
    entry.consistency = to_history(get.consistency);
    entry.asked_ts = get.ts;
  }
  Operation operation;
  operation.client = client.index;
  operation.request = std::move(request);
  operation.give_up = world_.now() + world_.random.between(1, 4) * second;
  operations_.push_back(std::move(operation));
  history_.push_back(std::move(entry));
  name_value(operations_.back(), history_.back());
  ++client.open;
  return number;
}

message::Request Clients::draw(Client& client) {
  Random& random = world_.random;
  const std::string key = "k" + std::to_string(random.below(world_.plan.keys));
  message::Request request;
  request.timeout_ms = random.between(100, 1500);
  const std::uint64_t what = random.below(100);
  if (what >= 55) {
    request.body = draw_get(client, key);
    return request;
  }
  std::optional<message::WriteSession> session;
  if (client.writes_in_session && !client.session.empty()) {
    session = message::WriteSession{client.session, ++client.seq, client.session_from};
  }
  const std::optional<std::uint64_t> if_ts = draw_condition(client, key);
  if (what < 45) {
    request.body = message::Put{key, "", if_ts, session};
  } else {
    request.body = message::Delete{key, if_ts, session};
  }
  return request;
}

std::optional<std::uint64_t> Clients::draw_condition(Client& client, const std::string& key) {
  const std::uint64_t drawn = world_.random.below(10);
  if (drawn == 0) return 0;
  if (drawn < 3) return client.timestamps[key];
  return std::nullopt;
}

message::Get Clients::draw_get(Client& client, const std::string& key) {
  const std::uint64_t drawn = world_.random.below(100);
  if (drawn < 40) return {key, 0, message::Consistency::linearizable};
  if (drawn < 50) return {key, 0, message::Consistency::local};
  const std::uint64_t ts = client.timestamps[key];
  if (drawn < 55 && world_.plan.has(Fault::read_of_the_future)) {
    world_.coverage.note(Fault::read_of_the_future);
    const std::uint64_t ahead = world_.random.one_in(2) ? far_ahead : 1;
    return {key, judge_.committed() + ahead, message::Consistency::session};
  }
  return {key, ts, message::Consistency::session};
}

void Clients::learn(Client& client, const std::string& key, std::uint64_t ts) {
  std::uint64_t& known = client.timestamps[key];
  known = std::max(known, ts);
}

// ---- One operation, from its first attempt to its end

void Clients::attempt(std::size_t number) {
  Operation& op = operations_[number];
  Client& client = clients_[op.client];
  if (!client.connection || !client.connection->ready) {
    client.waiting.push_back(number);
    watch(number, op.attempts);
    return connect(op.client);
  }
  ++op.attempts;
  if (op.attempts > 1 && !is_read(op.request)) world_.coverage.note(Fault::write_retried);
  op.request.id = next_request_++;
  name_value(op, history_[number]);
  client.connection->asked[op.request.id] = number;
  send(op.client, op.request);
  watch(number, op.attempts);
}

// An attempt without a session is a write of its own: what the one before it was refused with stays true.
void Clients::name_value(Operation& op, history::Operation& entry) {
  auto* put = std::get_if<message::Put>(&op.request.body);
  if (!put) return;
  if (!put->session || put->value.empty()) {
    put->value = entry.session + "-" + std::to_string(entry.number);
    if (!put->session) put->value += "." + std::to_string(op.attempts);
    put->value.append(world_.random.below(world_.plan.value_bytes + 1), '.');
  }
  entry.value = put->value;
}

// A server that lets the time-out pass is given up, and so is an operation that takes too long.
void Clients::watch(std::size_t number, std::uint64_t attempt_number) {
  const Time wait = operations_[number].request.timeout_ms.value_or(1000) * ms + patience;
  world_.scheduler.after(wait, [this, number, attempt_number] {
    Operation& op = operations_[number];
    if (op.ended || op.attempts != attempt_number) return;
    Client& client = clients_[op.client];
    if (client.connection && client.connection->asked.contains(op.request.id)) return lose(op.client);
    if (world_.now() < op.give_up || op.until_done) return watch(number, attempt_number);
    std::erase(client.waiting, number);
    end(number, op.may_be_done ? history::Outcome::info : history::Outcome::fail);
  });
}

void Clients::settle(std::size_t number, const message::Answer& answer) {
  Operation& op = operations_[number];
  history::Operation& entry = history_[number];
  Client& client = clients_[op.client];
  if (client.connection) entry.node = nodes_[client.connection->node]->name();
  if (const auto* error = std::get_if<message::Error>(&answer.body)) return settle_error(number, *error);
  if (const auto* put_ok = std::get_if<message::PutOk>(&answer.body)) {
    entry.ts = put_ok->ts;
    learn(client, entry.key, entry.ts);
  } else if (const auto* delete_ok = std::get_if<message::DeleteOk>(&answer.body)) {
    entry.ts = delete_ok->ts;
    entry.found = delete_ok->found;
    learn(client, entry.key, entry.ts);
  } else if (const auto* get_ok = std::get_if<message::GetOk>(&answer.body)) {
    entry.ts = get_ok->ts;
    entry.read = get_ok->value;
    entry.applied = get_ok->applied;
    learn(client, entry.key, get_ok->value ? get_ok->ts : get_ok->applied);
  }
  end(number, history::Outcome::ok);
}

void Clients::settle_error(std::size_t number, const message::Error& error) {
  Operation& op = operations_[number];
  switch (error.code) {
    case message::Code::conflict:
      history_[number].conflict = error.ts;
      return end(number, history::Outcome::fail);
    case message::Code::unknown_outcome:
      return unknown(number);
    case message::Code::session_expired:
      clients_[op.client].session.clear();  // a new one begins with the next INIT
      lose(op.client);
      return end(number, op.may_be_done ? history::Outcome::info : history::Outcome::fail);
    case message::Code::no_space:
      if (!op.until_done || world_.plan.quota == 0) return retry(number);
      // A leader has said so: that is all that can be expected where the data may not grow.
      if (op.done) std::exchange(op.done, nullptr)();
      return end(number, op.may_be_done ? history::Outcome::info : history::Outcome::fail);
    default:
      return retry(number);
  }
}

// The attempt may have done it: only a session makes it safe to try again.
void Clients::unknown(std::size_t number) {
  Operation& op = operations_[number];
  if (is_read(op.request)) return retry(number);
  op.may_be_done = true;
  if (has_session(op.request)) return retry(number);
  if (!op.until_done) return end(number, history::Outcome::info);
  // Another write of the same key does as well.
  Client& client = clients_[op.client];
  message::Request again = op.request;
  std::function<void()> done = std::move(op.done);
  end(number, history::Outcome::info);
  const std::size_t next = open(client, std::move(again));
  operations_[next].until_done = true;
  operations_[next].done = std::move(done);
  retry(next);
}

void Clients::retry(std::size_t number) {
  Operation& op = operations_[number];
  if (world_.now() >= op.give_up && !op.until_done) {
    return end(number, op.may_be_done ? history::Outcome::info : history::Outcome::fail);
  }
  // Another server may know better.
  if (clients_[op.client].servers.size() > 1 && world_.random.percent(50)) lose(op.client);
  world_.scheduler.after(world_.random.skewed(retry_pause), [this, number] {
    if (!operations_[number].ended) attempt(number);
  });
}

void Clients::end(std::size_t number, history::Outcome outcome) {
  Operation& op = operations_[number];
  if (std::exchange(op.ended, true)) return;
  history_[number].outcome = outcome;
  if (outcome != history::Outcome::info) history_[number].ended = ++clock_;
  Client& client = clients_[op.client];
  --client.open;
  if (outcome == history::Outcome::ok && op.done) op.done();
  if (op.client < world_.plan.clients) think(op.client);
}

// ---- For the cluster

void Clients::put_until_done(NodeIndex node, std::function<void()> done) {
  Client& client = add_client({node});
  message::Request request;
  request.timeout_ms = 500;
  request.body = message::Put{"k0", "", {}, {}};
  const std::size_t number = open(client, std::move(request));
  operations_[number].until_done = true;
  operations_[number].done = std::move(done);
  attempt(number);
}

void Clients::read_all(const std::vector<NodeIndex>& nodes) {
  for (std::size_t key = 0; key < world_.plan.keys; ++key) {
    Client& client = add_client(nodes);
    message::Request request;
    request.timeout_ms = 1000;
    request.body = message::Get{"k" + std::to_string(key), 0, message::Consistency::linearizable};
    const std::size_t number = open(client, std::move(request));
    operations_[number].until_done = true;
    attempt(number);
  }
}

}  // namespace kv::sim
