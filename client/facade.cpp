#include "client/facade.hpp"

#include <stdexcept>
#include <utility>
#include <variant>
#include <vector>

#include "common/address.hpp"
#include "common/text.hpp"

namespace kv::client {
namespace {

kvd::Error::Kind kind_of(message::Code code) {
  switch (code) {
    case message::Code::conflict:
      return kvd::Error::Kind::conflict;
    case message::Code::timeout:
      return kvd::Error::Kind::timeout;
    case message::Code::compacted:
      return kvd::Error::Kind::compacted;
    default:
      return kvd::Error::Kind::refused;
  }
}

kvd::Error::Kind kind_of(const Failure& failure) {
  switch (failure.kind) {
    case Failure::Kind::no_server:
      return kvd::Error::Kind::no_server;
    case Failure::Kind::refused:
      return failure.error ? kind_of(failure.error->code) : kvd::Error::Kind::refused;
    case Failure::Kind::no_answer:
      return kvd::Error::Kind::timeout;
    case Failure::Kind::unknown_outcome:
      return kvd::Error::Kind::unknown_outcome;
    case Failure::Kind::interrupted:
      return kvd::Error::Kind::cancelled;
  }
  return kvd::Error::Kind::refused;
}

message::Operation to_internal(kvd::Operation::Kind kind) {
  switch (kind) {
    case kvd::Operation::Kind::put:
      return message::Operation::put;
    case kvd::Operation::Kind::del:
      return message::Operation::erase;
    case kvd::Operation::Kind::get:
      return message::Operation::get;
  }
  return message::Operation::get;
}

kvd::Operation::Kind to_public(message::Operation operation) {
  switch (operation) {
    case message::Operation::put:
      return kvd::Operation::Kind::put;
    case message::Operation::erase:
      return kvd::Operation::Kind::del;
    case message::Operation::get:
      return kvd::Operation::Kind::get;
  }
  return kvd::Operation::Kind::get;
}

std::vector<message::TxnOperation> to_internal(std::vector<kvd::Operation> operations) {
  std::vector<message::TxnOperation> result;
  for (kvd::Operation& operation : operations) {
    message::TxnOperation& step = result.emplace_back();
    step.op = to_internal(operation.kind);
    step.key = std::move(operation.key);
    if (step.op == message::Operation::put) step.value = std::move(operation.value);
  }
  return result;
}

kvd::Error refusal(message::Code code, std::string text) {
  kvd::Error error;
  error.kind = kvd::Error::Kind::refused;
  error.code = name_of(code);
  error.text = std::move(text);
  return error;
}

std::optional<kvd::Error> too_long(const std::string& what, const char* part, std::size_t bytes, std::size_t most) {
  if (bytes <= most) return std::nullopt;
  return refusal(message::Code::too_large,
                 what + ": " + part + " has " + std::to_string(bytes) + " bytes; at most " + std::to_string(most));
}

std::optional<kvd::Error> refuse_operations(const std::string& what,
                                            const std::vector<kvd::Operation>& operations) {
  if (operations.size() > max_txn_operations) {
    return refusal(message::Code::bad_request, what + ": more than 128 operations");
  }
  for (const kvd::Operation& operation : operations) {
    if (auto wrong = refuse_key(what, operation.key)) return wrong;
    if (auto wrong = refuse_value(what, operation.value.size())) return wrong;
  }
  return std::nullopt;
}

}  // namespace

ClientOptions to_internal(const kvd::Options& options) {
  ClientOptions result;
  for (const std::string& text : options.endpoints) {
    const auto address = parse_address(text);
    if (const auto* wrong = std::get_if<AddressError>(&address)) throw std::invalid_argument(wrong->text);
    result.endpoints.push_back(std::get<Address>(address));
  }
  if (result.endpoints.empty()) throw std::invalid_argument("no endpoints: at least one server must be named");
  result.cluster = options.cluster;
  result.name = std::string("libkvd ") + version;
  if (!options.name.empty()) result.name = options.name + " (" + result.name + ")";
  return result;
}

message::Consistency to_internal(kvd::Consistency consistency) {
  switch (consistency) {
    case kvd::Consistency::session:
      return message::Consistency::session;
    case kvd::Consistency::linearizable:
      return message::Consistency::linearizable;
    case kvd::Consistency::local:
      return message::Consistency::local;
  }
  return message::Consistency::session;
}

message::Txn to_internal(kvd::Txn txn) {
  message::Txn result;
  for (kvd::Condition& condition : txn.conditions)
    result.conditions.push_back({std::move(condition.key), condition.ts});
  result.then = to_internal(std::move(txn.then));
  result.otherwise = to_internal(std::move(txn.otherwise));
  return result;
}

kvd::Error to_public(const std::string& what, const Failure& failure) {
  kvd::Error error;
  error.kind = kind_of(failure);
  error.text = explain(what, failure);
  if (failure.error) error.code = name_of(failure.error->code);
  error.node = failure.node;
  error.leader = failure.leader;
  if (error.kind == kvd::Error::Kind::conflict) error.current_ts = failure.error->ts;
  error.applied = failure.applied;
  error.asked = failure.asked;
  error.maybe_applied = failure.maybe_applied || failure.kind == Failure::Kind::unknown_outcome;
  return error;
}

kvd::List to_public(message::ListOk ok) {
  kvd::List list;
  for (message::ListItem& item : ok.items)
    list.items.push_back({std::move(item.key), std::move(item.value), item.ts});
  list.more = ok.more;
  list.applied = ok.applied;
  list.node = std::move(ok.node);
  return list;
}

kvd::TxnDone to_public(message::TxnOk ok) {
  kvd::TxnDone done;
  done.ts = ok.ts;
  done.succeeded = ok.succeeded;
  for (message::TxnResult& result : ok.results) {
    done.steps.push_back(
        {to_public(result.op), std::move(result.key), std::move(result.value), result.ts, result.found});
  }
  return done;
}

kvd::Change to_public(message::Event event) {
  return {std::move(event.key), std::move(event.value), event.ts};
}

std::string name_of_call(const char* verb, const std::string& key) {
  return std::string(verb) + " \"" + escape_control(key) + "\"";
}

std::optional<kvd::Error> refuse_key(const std::string& what, const std::string& key) {
  if (key.empty()) return refusal(message::Code::bad_request, what + ": the key is empty");
  return refuse_prefix(what, key);
}

std::optional<kvd::Error> refuse_prefix(const std::string& what, const std::string& prefix) {
  if (!is_valid_utf8(prefix)) return refusal(message::Code::bad_request, what + ": the key is not valid UTF-8");
  return too_long(what, "the key", prefix.size(), max_key_bytes);
}

std::optional<kvd::Error> refuse_value(const std::string& what, std::size_t bytes) {
  return too_long(what, "the value", bytes, max_value_bytes);
}

std::optional<kvd::Error> refuse_txn(const std::string& what, const kvd::Txn& txn) {
  if (txn.conditions.size() > max_txn_operations) {
    return refusal(message::Code::bad_request, what + ": more than 128 conditions");
  }
  for (const kvd::Condition& condition : txn.conditions) {
    if (auto wrong = refuse_key(what, condition.key)) return wrong;
  }
  if (auto wrong = refuse_operations(what, txn.then)) return wrong;
  return refuse_operations(what, txn.otherwise);
}

}  // namespace kv::client
