#include "common/message.hpp"

#include <array>
#include <cstddef>

#include "common/message_fields.hpp"

namespace kv::message {
namespace {

// In the order of the enums.
constexpr std::array<std::string_view, 12> code_names{
    "BAD_REQUEST",     "TOO_LARGE", "CONFLICT",         "NO_LEADER", "TIMEOUT",    "UNKNOWN_OUTCOME",
    "SESSION_EXPIRED", "COMPACTED", "CLUSTER_MISMATCH", "NO_SPACE",  "OVERLOADED", "SHUTTING_DOWN"};
constexpr std::array<std::string_view, 3> consistency_names{"session", "linearizable", "local"};
constexpr std::array<std::string_view, 3> operation_names{"PUT", "DELETE", "GET"};

static_assert(code_names[static_cast<std::size_t>(Code::shutting_down)] == "SHUTTING_DOWN");
static_assert(consistency_names[static_cast<std::size_t>(Consistency::local)] == "local");
static_assert(operation_names[static_cast<std::size_t>(Operation::get)] == "GET");

template <class Enum, std::size_t n>
std::optional<Enum> find_name(const std::array<std::string_view, n>& names, std::string_view name) {
  for (std::size_t i = 0; i < n; ++i) {
    if (names[i] == name) return static_cast<Enum>(i);
  }
  return std::nullopt;
}

}  // namespace

std::string_view name_of(Code code) {
  return code_names[static_cast<std::size_t>(code)];
}
std::optional<Code> code_named(std::string_view name) {
  return find_name<Code>(code_names, name);
}

std::string_view name_of(Consistency consistency) {
  return consistency_names[static_cast<std::size_t>(consistency)];
}
std::optional<Consistency> consistency_named(std::string_view name) {
  return find_name<Consistency>(consistency_names, name);
}

std::string_view name_of(Operation operation) {
  return operation_names[static_cast<std::size_t>(operation)];
}
std::optional<Operation> operation_named(std::string_view name) {
  return find_name<Operation>(operation_names, name);
}

std::string_view type_of(const Request& request) {
  return type_name_of(request.body);
}
std::string_view type_of(const Answer& answer) {
  return type_name_of(answer.body);
}
std::string_view type_of(const Peer& peer) {
  return type_name_of(peer);
}

}  // namespace kv::message
