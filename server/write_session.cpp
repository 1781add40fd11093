#include "server/write_session.hpp"

#include <algorithm>

namespace kv {
namespace {

auto place_of(auto& answers, std::uint64_t seq) {
  return std::lower_bound(answers.begin(), answers.end(), seq,
                          [](const snapshot::Answer& answer, std::uint64_t bound) { return answer.seq < bound; });
}

}  // namespace

const snapshot::Answer* WriteSession::find(std::uint64_t seq) const {
  const auto place = place_of(answers, seq);
  return place != answers.end() && place->seq == seq ? &*place : nullptr;
}

void WriteSession::add(const snapshot::Answer& answer) {
  if (answers.size() >= answers_kept_per_session) {
    if (answer.seq < answers.front().seq) {
      dropped_through = answer.seq;
      return;
    }
    drop_first();
  }
  answers.insert(place_of(answers, answer.seq), answer);
  results_bytes += answer.results.size();
  while (results_bytes > results_kept_per_session && answers.size() > 1) drop_first();
}

void WriteSession::drop_first() {
  dropped_through = answers.front().seq;
  results_bytes -= answers.front().results.size();
  answers.pop_front();
}

}  // namespace kv
