#include "tests/checkers/history.hpp"

namespace kv::history {
namespace {

std::string spell_answer(const Operation& operation) {
  if (operation.conflict) {
    return ", conflict, " + (*operation.conflict ? "ts " + std::to_string(*operation.conflict) : "absent");
  }
  if (operation.outcome != Outcome::ok) return "";
  const std::string ts = ", ts " + std::to_string(operation.ts);
  if (operation.function == Function::put) return ts;
  if (operation.function == Function::del) return ts + (operation.found ? ", found" : ", not found");
  return (operation.read ? ", " + quote(*operation.read) + ts : ", absent") + ", applied " +
         std::to_string(operation.applied);
}

}  // namespace

std::string_view to_string(Function function) {
  switch (function) {
    case Function::put:
      return "put";
    case Function::del:
      return "delete";
    case Function::get:
      break;
  }
  return "get";
}

std::string_view to_string(Consistency consistency) {
  switch (consistency) {
    case Consistency::session:
      return "session";
    case Consistency::linearizable:
      return "linearizable";
    case Consistency::local:
      break;
  }
  return "local";
}

std::string_view to_string(Outcome outcome) {
  switch (outcome) {
    case Outcome::ok:
      return "ok";
    case Outcome::fail:
      return "fail";
    case Outcome::info:
      break;
  }
  return "info";
}

std::string quote(std::string_view text) {
  constexpr std::size_t longest = 40;
  constexpr char digits[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text.substr(0, longest)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || c == '"' || c == '\\') {
      out += {'\\', 'x', digits[byte >> 4], digits[byte & 15]};
    } else {
      out += c;
    }
  }
  out += '"';
  if (text.size() > longest) out += "...(" + std::to_string(text.size()) + " bytes)";
  return out;
}

std::string spell(const Operation& operation) {
  std::string out = "#" + std::to_string(operation.number) + " ";
  if (!operation.session.empty()) out += operation.session + " ";
  if (operation.function == Function::get) out += std::string(to_string(operation.consistency)) + " ";
  out += std::string(to_string(operation.function)) + " " + quote(operation.key);
  if (operation.function == Function::put) out += "=" + quote(operation.value);
  if (operation.if_ts) out += " if_ts " + std::to_string(*operation.if_ts);
  if (operation.asked_ts) out += " asking for " + std::to_string(operation.asked_ts);
  out += " [" + std::to_string(operation.invoked) + ", " +
         (operation.ended == never ? "..." : std::to_string(operation.ended)) + "]: ";
  out += std::string(to_string(operation.outcome)) + spell_answer(operation);
  return operation.node.empty() ? out : out + " (" + operation.node + ")";
}

}  // namespace kv::history
