#include "client/txn_script.hpp"

#include <optional>
#include <utility>
#include <vector>

#include "client/words.hpp"
#include "common/text.hpp"

namespace kv::client {
namespace {

using message::Operation;
using Words = std::vector<std::string>;
// What is wrong with a line; nothing if it is right.
using Wrong = std::optional<std::string>;

// At newlines and at ; outside of quotes, behind no backslash.
std::vector<std::string_view> split_lines(std::string_view script) {
  std::vector<std::string_view> lines;
  std::size_t begin = 0;
  char quote = 0;
  for (std::size_t i = 0; i < script.size(); ++i) {
    const char c = script[i];
    if (c == '\\' && quote != '\'') {
      ++i;
    } else if (quote != 0) {
      if (c == quote) quote = 0;
    } else if (c == '\'' || c == '"') {
      quote = c;
    } else if (c == '\n' || c == ';') {
      lines.push_back(script.substr(begin, i - begin));
      begin = i + 1;
    }
  }
  if (begin < script.size()) lines.push_back(script.substr(begin));
  return lines;
}

Wrong wrong_key(const std::string& key) {
  if (key.empty()) return "the key is empty";
  if (key.size() > max_key_bytes) return "the key has " + std::to_string(key.size()) + " bytes; at most 4096";
  if (!is_valid_utf8(key)) return "the key is not valid UTF-8";
  return std::nullopt;
}

class Script {
 public:
  message::Txn txn;

  Wrong take(const Words& words) {
    const std::string& what = words.front();
    if (what == "if") return take_condition(words);
    if (what == "then") return take_then(words);
    if (what == "else") return take_else(words);
    return take_operation(words);
  }

 private:
  Wrong take_condition(const Words& words) {
    if (part_ != Part::conditions) return "if comes after what is to be done: conditions come first";
    if (words.size() != 3) return "write: if KEY TS, or: if KEY absent";
    const std::optional<std::uint64_t> ts = words[2] == "absent" ? 0 : parse_number(words[2]);
    if (!ts || *ts > max_integer) return "\"" + escape_control(words[2]) + "\" is no timestamp, nor absent";
    txn.conditions.push_back({words[1], *ts});
    if (txn.conditions.size() > max_txn_operations) return "more than 128 conditions";
    return wrong_key(words[1]);
  }
  Wrong take_then(const Words& words) {
    if (words.size() != 1) return "then stands alone; what is to be done comes in the next lines";
    if (part_ != Part::conditions) return "then comes too late";
    part_ = Part::then;
    return std::nullopt;
  }
  Wrong take_else(const Words& words) {
    if (words.size() != 1) return "else stands alone; what is to be done comes in the next lines";
    if (part_ == Part::otherwise) return "else comes twice";
    if (txn.conditions.empty()) return "else without a condition would never be done";
    part_ = Part::otherwise;
    return std::nullopt;
  }
  Wrong take_operation(const Words& words) {
    const std::string& what = words.front();
    const auto op = what == "put" ? Operation::put : what == "del" ? Operation::erase : Operation::get;
    if (op == Operation::get && what != "get") {
      return "\"" + escape_control(what) + "\" is none of if, then, else, put, del, get";
    }
    const std::size_t size = op == Operation::put ? 3 : 2;
    if (words.size() != size) return "write: " + what + (op == Operation::put ? " KEY VALUE" : " KEY");
    message::TxnOperation operation{op, words[1], {}};
    if (op == Operation::put) operation.value = words[2];
    if (part_ == Part::conditions) part_ = Part::then;
    auto& list = part_ == Part::otherwise ? txn.otherwise : txn.then;
    list.push_back(std::move(operation));
    if (list.size() > max_txn_operations) return "more than 128 operations";
    return wrong_key(words[1]);
  }

  enum class Part { conditions, then, otherwise };
  Part part_ = Part::conditions;
};

}  // namespace

std::variant<message::Txn, ScriptProblem> parse_txn(std::string_view text) {
  Script script;
  std::size_t number = 0;
  for (const std::string_view line : split_lines(text)) {
    ++number;
    const std::variant<Words, WordsError> words = split_words(line);
    Wrong wrong;
    if (const auto* error = std::get_if<WordsError>(&words)) {
      wrong = error->text;
    } else if (const Words& some = std::get<Words>(words); !some.empty()) {
      wrong = script.take(some);
    }
    if (wrong) return ScriptProblem{"line " + std::to_string(number) + ": " + *wrong};
  }
  if (script.txn.then.empty() && script.txn.otherwise.empty()) {
    return ScriptProblem{"there is nothing to do in the script: write put, del or get lines"};
  }
  return std::move(script.txn);
}

}  // namespace kv::client
