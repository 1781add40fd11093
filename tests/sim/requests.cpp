#include "tests/sim/requests.hpp"

#include <algorithm>

namespace kv::sim {
namespace {

constexpr std::uint64_t far_ahead = 1000;

// Calls it with each value that the request writes.
void each_value(message::Request& request, const auto& call) {
  if (auto* put = std::get_if<message::Put>(&request.body)) call(put->value);
  auto* txn = std::get_if<message::Txn>(&request.body);
  if (!txn) return;
  for (auto* operations : {&txn->then, &txn->otherwise}) {
    for (message::TxnOperation& operation : *operations) {
      if (operation.value) call(*operation.value);
    }
  }
}

}  // namespace

bool is_read(const message::Request& request) {
  return std::holds_alternative<message::Get>(request.body) || std::holds_alternative<message::List>(request.body);
}

bool has_session(const message::Request& request) {
  if (const auto* put = std::get_if<message::Put>(&request.body)) return put->session.has_value();
  if (const auto* txn = std::get_if<message::Txn>(&request.body)) return txn->session.has_value();
  const auto* del = std::get_if<message::Delete>(&request.body);
  return del && del->session;
}

void name_values(World& world, message::Request& request, const std::string& name) {
  std::uint64_t number = 0;
  each_value(request, [&](std::string& value) {
    value = number == 0 ? name : name + "/" + std::to_string(number);
    ++number;
    value.append(world.random.below(world.plan.value_bytes + 1), '.');
  });
}

bool is_named(const message::Request& request) {
  bool named = true;
  message::Request copy = request;
  each_value(copy, [&](const std::string& value) { named = named && !value.empty(); });
  return named;
}

// ---- What is remembered

void Memory::learn(const std::string& key, std::uint64_t ts) {
  std::uint64_t& known = timestamps[key];
  known = std::max(known, ts);
}

void Memory::learn(const message::Txn& asked, const message::TxnOk& ok) {
  const auto& operations = ok.succeeded ? asked.then : asked.otherwise;
  for (const message::TxnOperation& operation : operations) learn(operation.key, ok.ts);
}

void Memory::learn(const message::ListOk& ok) {
  for (const message::ListItem& item : ok.items) learn(item.key, item.ts);
  listed = ok.more ? ok.items.back().key : "";
}

// ---- What is asked

std::string Requests::draw_key() {
  return world_.plan.key(world_.random.below(world_.plan.keys));
}

message::Request Requests::draw(Memory& memory) {
  Random& random = world_.random;
  message::Request request;
  request.timeout_ms = random.between(100, 1500);
  const std::uint64_t what = random.below(100);
  if (what < 48) {
    const std::string key = draw_key();
    const auto session = next_in_session(memory);
    const auto if_ts = draw_condition(memory, key);
    if (what < 40) {
      request.body = message::Put{key, "", if_ts, session};
    } else {
      request.body = message::Delete{key, if_ts, session};
    }
  } else if (what < 60) {
    request.body = draw_txn(memory);
  } else if (what < 67) {
    request.body = draw_list(memory);
  } else {
    request.body = draw_get(memory);
  }
  return request;
}

std::optional<message::WriteSession> Requests::next_in_session(Memory& memory) {
  if (!memory.writes_in_session || memory.session.empty()) return std::nullopt;
  return message::WriteSession{memory.session, ++memory.seq, memory.session_from};
}

std::optional<std::uint64_t> Requests::draw_condition(Memory& memory, const std::string& key) {
  const std::uint64_t drawn = world_.random.below(10);
  if (drawn == 0) return 0;
  if (drawn < 3) return memory.timestamps[key];
  return std::nullopt;
}

message::Consistency Requests::draw_consistency() {
  const std::uint64_t drawn = world_.random.below(100);
  if (drawn < 40) return message::Consistency::linearizable;
  return drawn < 50 ? message::Consistency::local : message::Consistency::session;
}

// A position that nobody has reached, now and then.
std::optional<std::uint64_t> Requests::draw_future() {
  if (!world_.plan.has(Fault::read_of_the_future) || !world_.random.one_in(10)) return std::nullopt;
  world_.coverage.note(Fault::read_of_the_future);
  return judge_.committed() + (world_.random.one_in(2) ? far_ahead : 1);
}

message::Get Requests::draw_get(Memory& memory) {
  const std::string key = draw_key();
  if (world_.random.one_in(6)) return draw_newer(memory, key);
  message::Get get{key, 0, draw_consistency()};
  if (get.consistency != message::Consistency::session) return get;
  get.ts = draw_future().value_or(memory.timestamps[key]);
  return get;
}

message::Get Requests::draw_newer(Memory& memory, const std::string& key) {
  message::Get get{key, 0, draw_consistency(), memory.timestamps[key]};
  if (world_.random.one_in(4)) get.newer_than = world_.random.below(judge_.committed() + 2);
  if (get.consistency == message::Consistency::session) get.ts = memory.timestamps[key];
  return get;
}

message::List Requests::draw_list(Memory& memory) {
  static const std::vector<std::string> prefixes = {"", "k", "kk", "k1", "none"};
  message::List list;
  list.prefix = world_.random.one_in(2) ? "k" : world_.random.pick(prefixes);
  if (!memory.listed.empty() && world_.random.percent(80)) list.after = memory.listed;
  if (world_.random.one_in(6)) list.after = draw_key();
  if (world_.random.percent(70)) list.limit = world_.random.below(4) + 1;
  list.keys_only = world_.random.one_in(4);
  list.consistency = draw_consistency();
  if (list.consistency == message::Consistency::session) {
    list.ts = draw_future().value_or(memory.timestamps[draw_key()]);
  }
  return list;
}

// If it deletes it also puts, so that it can be found in the log if nobody says what became of it.
message::Txn Requests::draw_txn(Memory& memory) {
  message::Txn txn;
  for (std::uint64_t left = world_.random.below(3); left > 0; --left) {
    const std::string key = draw_key();
    const std::uint64_t ts = draw_condition(memory, key).value_or(memory.timestamps[key]);
    txn.conditions.push_back({key, ts});
  }
  const bool writes = !world_.random.one_in(6);
  if (writes) txn.then.push_back({message::Operation::put, draw_key(), ""});
  for (auto& operation : draw_operations(writes)) txn.then.push_back(std::move(operation));
  if (!txn.conditions.empty()) txn.otherwise = draw_operations(writes);
  txn.session = next_in_session(memory);
  return txn;
}

std::vector<message::TxnOperation> Requests::draw_operations(bool writes) {
  std::vector<message::TxnOperation> operations;
  for (std::uint64_t left = world_.random.below(5); left > 0; --left) {
    const std::string key = draw_key();
    const std::uint64_t what = writes ? world_.random.below(4) : 3;
    if (what < 2) {
      operations.push_back({message::Operation::put, key, ""});
    } else {
      operations.push_back({what == 2 ? message::Operation::erase : message::Operation::get, key, {}});
    }
  }
  return operations;
}

}  // namespace kv::sim
