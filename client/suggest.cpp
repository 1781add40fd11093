#include "client/suggest.hpp"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

namespace kv::client {
namespace {

constexpr std::size_t longest_word = 24;  // nobody mistypes a longer one

std::string lower(std::string_view text) {
  std::string result(text);
  for (char& c : result) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return result;
}

// How many letters were added, left out, changed, or swapped with their neighbour.
std::size_t distance(const std::string& a, const std::string& b) {
  std::vector<std::vector<std::size_t>> cost(a.size() + 1, std::vector<std::size_t>(b.size() + 1));
  for (std::size_t i = 0; i <= a.size(); ++i) {
    for (std::size_t j = 0; j <= b.size(); ++j) {
      if (i == 0 || j == 0) {
        cost[i][j] = i + j;
        continue;
      }
      const std::size_t change = cost[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      cost[i][j] = std::min({cost[i - 1][j] + 1, cost[i][j - 1] + 1, change});
      const bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
      if (swapped) cost[i][j] = std::min(cost[i][j], cost[i - 2][j - 2] + 1);
    }
  }
  return cost[a.size()][b.size()];
}

// What people type who come from other stores.
constexpr std::array<std::pair<std::string_view, std::string_view>, 13> synonyms = {{
    {"set", "put"},
    {"write", "put"},
    {"store", "put"},
    {"read", "get"},
    {"fetch", "get"},
    {"rm", "del"},
    {"remove", "del"},
    {"info", "status"},
    {"members", "status"},
    {"save", "backup"},
    {"snapshot", "backup"},
    {"export", "dump"},
    {"import", "load"},
}};

}  // namespace

std::string nearest_word(std::string_view word, const std::vector<std::string>& known) {
  if (word.empty() || word.size() > longest_word) return "";
  const std::string typed = lower(word);
  for (const auto& [other, ours] : synonyms) {
    if (typed == other && std::find(known.begin(), known.end(), ours) != known.end()) return std::string(ours);
  }
  std::string best;
  // A third of the word may be wrong, one letter at least: "x" is near to nothing.
  std::size_t allowed = std::min<std::size_t>(2, std::max<std::size_t>(1, typed.size() / 3));
  if (typed.size() < 2) return "";
  for (const std::string& candidate : known) {
    const std::size_t apart = distance(typed, lower(candidate));
    if (apart > allowed || apart >= candidate.size()) continue;
    if (best.empty() || apart < allowed) best = candidate;
    allowed = apart;
  }
  return best;
}

}  // namespace kv::client
