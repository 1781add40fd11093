#include "client/options.hpp"

#include <utility>

#include "client/grammar.hpp"
#include "common/text.hpp"

namespace kv::client {
namespace {

std::variant<Invocation, UsageError> parse(Place place, const GlobalOptions& defaults,
                                           const std::vector<std::string>& words) {
  try {
    return Grammar(place, defaults).parse(words);
  } catch (BadUsage& bad) {
    return std::move(bad.error);
  }
}

}  // namespace

std::variant<Invocation, UsageError> parse_arguments(const std::vector<std::string>& words) {
  return parse(Place::program, GlobalOptions(), words);
}

std::variant<Invocation, UsageError> parse_shell_words(const std::vector<std::string>& words,
                                                       const GlobalOptions& defaults) {
  return parse(Place::shell, defaults, words);
}

Outline program_outline() {
  return Grammar(Place::program, GlobalOptions()).outline();
}

Outline shell_outline() {
  return Grammar(Place::shell, GlobalOptions()).outline();
}

std::string token_text(const Token& token) {
  return token.cluster + ":" + std::to_string(token.ts);
}

std::optional<Token> parse_token(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  Token token;
  if (colon != std::string::npos) {
    if (colon == 0) return std::nullopt;
    token.cluster = text.substr(0, colon);
  }
  const std::optional<std::uint64_t> ts = parse_number(std::string_view(text).substr(colon + 1));
  if (!ts || *ts > max_integer) return std::nullopt;
  token.ts = *ts;
  return token;
}

}  // namespace kv::client
