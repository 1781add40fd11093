#include "client/outcome.hpp"

#include "common/text.hpp"

namespace kv::client {
namespace {

constexpr std::size_t max_message_bytes = 1024;  // of what a server says: it is shown to a person

// "n2 has applied 41, you asked for 57; the leader is n1"
std::string describe_position(const Failure& failure) {
  std::string text = escape_control(failure.node) + " has applied " + std::to_string(*failure.applied) +
                     ", you asked for " + std::to_string(*failure.asked);
  return text +
         (failure.leader.empty() ? "; it knows no leader" : "; the leader is " + escape_control(failure.leader));
}

std::string describe_timeout(Failure failure) {
  const message::Error& error = *failure.error;
  // What was waited for was something else than this position: its own words say it better.
  if (!error.applied || !error.ts || *error.ts <= *error.applied) {
    const std::string text = escape_control(error.message, max_message_bytes);
    return error.leader && !error.leader->empty() ? text + "; the leader is " + escape_control(*error.leader)
                                                  : text;
  }
  failure.applied = error.applied;
  failure.asked = error.ts;
  if (error.leader) failure.leader = *error.leader;
  return describe_position(failure);
}

std::string advice_for(message::Code code) {
  switch (code) {
    case message::Code::timeout:
      return "; try again, or give it more time with --timeout";
    case message::Code::no_leader:
      return "; look at kvctl status";
    case message::Code::overloaded:
    case message::Code::shutting_down:
      return "; try again in a moment";
    case message::Code::cluster_mismatch:
      return "; timestamps of one cluster mean nothing in another: name the right servers with --endpoints, or "
             "another session file with --session";
    default:
      return "";
  }
}

std::string describe_refused(const std::string& what, const Failure& failure) {
  const message::Error& error = *failure.error;
  if (error.code == message::Code::conflict) {
    std::string text = what + ": conflict: ";
    if (!error.ts) return text + escape_control(error.message, max_message_bytes);
    return text + (*error.ts == 0 ? "the key is absent (ts 0)" : "the key's ts is " + std::to_string(*error.ts));
  }
  std::string text = what + ": ";
  if (error.code == message::Code::timeout) {
    text += "no answer in time: " + describe_timeout(failure);
  } else {
    if (!failure.where.empty()) text += failure.where + " refused: ";
    text += std::string(name_of(error.code)) + ": " + escape_control(error.message, max_message_bytes);
  }
  return text;
}

std::string describe_unknown(const std::string& what, const Failure& failure) {
  std::string text = what + ": the outcome is not known: the write was sent to " + failure.where;
  if (failure.error) {
    text += ", which said " + std::string(name_of(failure.error->code)) + ": " +
            escape_control(failure.error->message, max_message_bytes);
  } else {
    text += " and not answered in time";
    if (!failure.why.empty()) text += " (" + failure.why + ")";
  }
  return text + "; it may have been applied or may still be";
}

std::string describe_no_server(const Failure& failure) {
  std::string text = "no server reached: ";
  for (std::size_t i = 0; i < failure.attempts.size(); ++i) text += (i == 0 ? "" : "; ") + failure.attempts[i];
  return text;
}

std::string describe_no_answer(const std::string& what, const Failure& failure) {
  std::string text = what + ": no answer from " + failure.where + " in time";
  if (!failure.why.empty()) text += " (" + failure.why + ")";
  if (failure.applied && failure.asked) text += ": " + describe_position(failure);
  return text;
}

// What next, in kvctl's words, with what joins it to the rest; empty: nothing that it knows of.
std::string advice(const Failure& failure) {
  switch (failure.kind) {
    case Failure::Kind::no_server:
      return "; start one with kvd, or name others with --endpoints";
    case Failure::Kind::refused:
      if (failure.error->code == message::Code::conflict) {
        return failure.error->ts ? ", not the one given with --if-ts" : "";
      }
      return advice_for(failure.error->code);
    case Failure::Kind::no_answer:
      return advice_for(message::Code::timeout);
    case Failure::Kind::unknown_outcome:
      return ": look with kvctl get before you repeat it";
    case Failure::Kind::interrupted:
      return "";
  }
  return "";
}

}  // namespace

Exit exit_of(const Failure& failure) {
  switch (failure.kind) {
    case Failure::Kind::no_server:
      return Exit::no_server;
    case Failure::Kind::refused:
      return failure.error && failure.error->code == message::Code::conflict ? Exit::negative : Exit::refused;
    case Failure::Kind::no_answer:
      return Exit::refused;
    case Failure::Kind::unknown_outcome:
      return Exit::unknown_outcome;
    case Failure::Kind::interrupted:
      return Exit::interrupted;
  }
  return Exit::refused;
}

std::string describe(const std::string& what, const Failure& failure) {
  return explain(what, failure) + advice(failure);
}

std::string explain(const std::string& what, const Failure& failure) {
  switch (failure.kind) {
    case Failure::Kind::no_server:
      return describe_no_server(failure);
    case Failure::Kind::refused:
      return describe_refused(what, failure);
    case Failure::Kind::no_answer:
      return describe_no_answer(what, failure);
    case Failure::Kind::unknown_outcome:
      return describe_unknown(what, failure);
    case Failure::Kind::interrupted:
      return what + ": interrupted" +
             (failure.maybe_applied ? "; the write was sent, its outcome is not known" : "");
  }
  return what;
}

}  // namespace kv::client
