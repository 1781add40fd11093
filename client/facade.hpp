// Between the client library's public types (client/include/kvd/types.hpp) and those that it works with.
#pragma once

#include <cstddef>
#include <kvd/types.hpp>
#include <optional>
#include <string>

#include "client/client.hpp"
#include "client/outcome.hpp"
#include "common/message.hpp"

namespace kv::client {

// Throws std::invalid_argument for an endpoint that is none.
ClientOptions to_internal(const kvd::Options& options);
message::Consistency to_internal(kvd::Consistency consistency);
message::Txn to_internal(kvd::Txn txn);

kvd::Error to_public(const std::string& what, const Failure& failure);
kvd::List to_public(message::ListOk ok);
kvd::TxnDone to_public(message::TxnOk ok);
kvd::Change to_public(message::Event event);

// `put "colour"`: a call as an error names it.
std::string name_of_call(const char* verb, const std::string& key);

// What no server would take is not sent. nullopt: nothing is wrong.
std::optional<kvd::Error> refuse_key(const std::string& what, const std::string& key);
std::optional<kvd::Error> refuse_prefix(const std::string& what, const std::string& prefix);
std::optional<kvd::Error> refuse_value(const std::string& what, std::size_t bytes);
std::optional<kvd::Error> refuse_txn(const std::string& what, const kvd::Txn& txn);

}  // namespace kv::client
