#include "tests/sim/clients.hpp"

#include <algorithm>
#include <cstdio>
#include <utility>

namespace kv::sim {
namespace {

constexpr Time reconnect_pause = 100 * ms;
constexpr Time retry_pause = 30 * ms;
constexpr Time patience = second;  // with a server that lets a request's own time-out pass

// It need not come to an end: nobody may write the key.
bool waits_for_newer(const message::Request& request) {
  const auto* get = std::get_if<message::Get>(&request.body);
  return get && get->newer_than;
}

}  // namespace

Clients::Clients(World& world, const Judge& judge, std::vector<std::unique_ptr<Node>>& nodes,
                 Connections& connections)
    : world_(world), nodes_(nodes), connections_(connections), requests_(world, judge) {}

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
    client.memory.writes_in_session = world_.random.percent(50);
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
  world_.scheduler.after(connections_.delay(), [this, index, to] {
    Client& connecting = clients_[index];
    connecting.connecting = false;
    if (!nodes_[to]->is_up()) {
      world_.scheduler.after(reconnect_pause, [this, index] { connect(index); });
      return;
    }
    Connections::Ends ends{[this, index](const message::Answer& answer) { arrive(index, answer); },
                           [this, index] { lose(index); }};
    connecting.connection = Connection{connections_.open(connecting.name, to, std::move(ends)), false, {}};
    say_init(index);
  });
}

void Clients::say_init(std::size_t index) {
  message::Request init;
  init.id = connections_.next_request();
  init.timeout_ms = 1000;
  init.body = message::Init{};
  const ClientId id = clients_[index].connection->id;
  connections_.send(id, std::move(init));
  world_.scheduler.after(second + patience, [this, index, id] {
    const auto& connection = clients_[index].connection;
    if (connection && connection->id == id && !connection->ready) lose(index);
  });
}

void Clients::begin_session(std::size_t index, std::uint64_t applied) {
  Client& client = clients_[index];
  if (!client.memory.session.empty()) return;
  char uuid[37];
  std::snprintf(uuid, sizeof uuid, "%08zx-0000-4000-8000-%012zx", index, std::size_t{++client.sessions});
  client.memory.session = uuid;
  client.memory.session_from = applied;
}

void Clients::arrive(std::size_t index, const message::Answer& answer) {
  Client& client = clients_[index];
  if (std::holds_alternative<message::WaitForResponse>(answer.body)) return note_wait(client, answer);
  if (!client.connection->ready) {
    const auto* ok = std::get_if<message::InitOk>(&answer.body);
    if (!ok) return lose(index);
    client.connection->ready = true;
    begin_session(index, ok->applied);
    for (const std::size_t operation : std::exchange(client.waiting, {})) attempt(operation);
    return;
  }
  const auto asked = client.connection->asked.find(answer.id.value_or(0));
  if (asked == client.connection->asked.end()) return;
  const std::size_t operation = asked->second;
  client.connection->asked.erase(asked);
  settle(operation, answer);
}

void Clients::note_wait(const Client& client, const message::Answer& answer) {
  const auto asked = client.connection->asked.find(answer.id.value_or(0));
  if (asked == client.connection->asked.end()) return;
  if (waits_for_newer(operations_[asked->second].request)) world_.coverage.note(Fault::wait_for_newer);
}

void Clients::lose(std::size_t index) {
  Client& client = clients_[index];
  if (!client.connection) return;
  const Connection connection = std::move(*std::exchange(client.connection, std::nullopt));
  connections_.close(connection.id);
  for (const auto& [request, operation] : connection.asked) unknown(operation);
  if (!client.waiting.empty()) connect(index);
}

void Clients::reset(std::size_t index) {
  if (!clients_[index].connection) return;
  world_.coverage.note(Fault::client_reset);
  world_.tell(clients_[index].name, "loses its connection");
  lose(index);
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
  attempt(open(client, requests_.draw(client.memory)));
}

std::size_t Clients::open(Client& client, message::Request request) {
  const std::size_t number = transcript_.begin(client.name, request);
  Operation operation;
  operation.client = client.index;
  operation.request = std::move(request);
  operation.give_up = world_.now() + world_.random.between(1, 4) * second;
  operations_.push_back(std::move(operation));
  ++client.open;
  return number;
}

// ---- One operation, from its first attempt to its end

void Clients::attempt(std::size_t number) {
  Operation& op = operations_[number];
  Client& client = clients_[op.client];
  if (!client.connection || !client.connection->ready) {
    client.waiting.push_back(number);
    look_after(number, op.attempts);
    return connect(op.client);
  }
  ++op.attempts;
  if (op.attempts > 1 && !is_read(op.request)) {
    const bool is_txn = std::holds_alternative<message::Txn>(op.request.body);
    world_.coverage.note(is_txn ? Fault::txn_retried : Fault::write_retried);
  }
  op.request.id = connections_.next_request();
  name(number);
  client.connection->asked[op.request.id] = number;
  connections_.send(client.connection->id, op.request);
  look_after(number, op.attempts);
}

// An attempt without a session is a write of its own: what the one before it was refused with stays true.
void Clients::name(std::size_t number) {
  Operation& op = operations_[number];
  const bool in_session = has_session(op.request);
  if (in_session && is_named(op.request)) return;
  std::string name = clients_[op.client].name + "-" + std::to_string(number);
  if (!in_session) name += "." + std::to_string(op.attempts);
  name_values(world_, op.request, name);
  transcript_.asks(number, op.request);
}

// A server that lets the time-out pass is given up, and so is an operation that takes too long.
void Clients::look_after(std::size_t number, std::uint64_t attempt_number) {
  const Time wait = operations_[number].request.timeout_ms.value_or(1000) * ms + patience;
  world_.scheduler.after(wait, [this, number, attempt_number] {
    Operation& op = operations_[number];
    if (op.ended || op.attempts != attempt_number) return;
    Client& client = clients_[op.client];
    if (client.connection && client.connection->asked.contains(op.request.id)) return lose(op.client);
    if (world_.now() < op.give_up || op.until_done) return look_after(number, attempt_number);
    std::erase(client.waiting, number);
    end(number, op.may_be_done ? history::Outcome::info : history::Outcome::fail);
  });
}

void Clients::settle(std::size_t number, const message::Answer& answer) {
  Operation& op = operations_[number];
  Client& client = clients_[op.client];
  transcript_.answered(number, nodes_[connections_.node(client.connection->id)]->name(), answer);
  Memory& memory = client.memory;
  if (const auto* error = std::get_if<message::Error>(&answer.body)) return settle_error(number, *error);
  if (const auto* put_ok = std::get_if<message::PutOk>(&answer.body)) {
    memory.learn(put_ok->key, put_ok->ts);
  } else if (const auto* delete_ok = std::get_if<message::DeleteOk>(&answer.body)) {
    memory.learn(delete_ok->key, delete_ok->ts);
  } else if (const auto* get_ok = std::get_if<message::GetOk>(&answer.body)) {
    memory.learn(get_ok->key, get_ok->value ? get_ok->ts : get_ok->applied);
  } else if (const auto* list_ok = std::get_if<message::ListOk>(&answer.body)) {
    memory.learn(*list_ok);
  } else if (const auto* txn_ok = std::get_if<message::TxnOk>(&answer.body)) {
    memory.learn(std::get<message::Txn>(op.request.body), *txn_ok);
  }
  end(number, history::Outcome::ok);
}

void Clients::settle_error(std::size_t number, const message::Error& error) {
  Operation& op = operations_[number];
  switch (error.code) {
    case message::Code::conflict:
      return end(number, history::Outcome::fail);
    case message::Code::timeout:
      if (waits_for_newer(op.request)) return end(number, history::Outcome::fail);
      return retry(number);
    case message::Code::unknown_outcome:
      return unknown(number);
    case message::Code::session_expired:
      clients_[op.client].memory.session.clear();  // a new one begins with the next INIT
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
  transcript_.ended(number, outcome);
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
  request.body = message::Put{world_.plan.key(0), "", {}, {}};
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
    request.body = message::Get{world_.plan.key(key), 0, message::Consistency::linearizable};
    const std::size_t number = open(client, std::move(request));
    operations_[number].until_done = true;
    attempt(number);
  }
}

}  // namespace kv::sim
