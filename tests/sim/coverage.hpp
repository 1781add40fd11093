// What is checked and what is made to go wrong, each with a counter: a rule that was never exercised, or a fault
// that never happened, is a hole in the simulation and not a success.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace kv::sim {

enum class Rule : std::uint8_t {
  one_leader_a_term,
  one_vote_a_term,
  log_matching,
  leader_completeness,
  committed_alike,
  commit_own_term,
  commit_on_majority,
  durable_before_promised,
  only_grows,
  recovery_exact,
  damage_found,
  snapshot_true,
  disk_error_final,
  ends_for_cause,
  known_identity,
  answer_on_majority,
  equal_digests,
  state_as_modelled,
  read_is_true,
  read_is_fresh,
  read_is_current,
  newer_is_newer,
  newer_not_missed,
  list_is_true,
  txn_as_modelled,
  watch_in_order,
  watch_complete,
  watch_ends_for_cause,
  nothing_behind_the_end,
  events_only_when_taken,
  followers_have_all,
  one_final_answer,
  no_means_no,
  order_kept,
  every_request_answered,
  answers_again,
  leader_stays,
  converges,
  history_holds,
  count
};

enum class Fault : std::uint8_t {
  kill,
  power_loss,
  kill_in_recovery,
  terminate,
  pause,
  cut_one_way,
  partition,
  isolate,
  bridge,
  link_reset,
  message_lost,
  message_twice,
  message_overtaken,
  message_late,
  client_reset,
  slow_disk,
  hung_disk,
  failed_sync,
  failed_write,
  full_disk,
  torn_write,
  lost_name,
  lost_pages,
  bit_flip,
  snapshot_damaged,
  behind_the_log,
  wipe,
  wipe_given_back,
  clock_drift,
  write_retried,
  read_of_the_future,
  wait_for_newer,
  txn_retried,
  watch_resumed,
  watch_of_the_past,
  watch_of_the_future,
  watch_cancelled,
  watch_compacted,
  watch_overloaded,
  watch_shut_down,
  events_not_taken,
  count
};

inline constexpr std::size_t rules = static_cast<std::size_t>(Rule::count);
inline constexpr std::size_t faults = static_cast<std::size_t>(Fault::count);

std::string_view name_of(Rule rule);
std::string_view name_of(Fault fault);

// A plain block of numbers: the processes that run seeds hand it to each other as bytes.
struct Coverage {
  std::array<std::uint64_t, rules> checked{};
  std::array<std::uint64_t, faults> happened{};

  void note(Rule rule) { ++checked[static_cast<std::size_t>(rule)]; }
  void note(Fault fault) { ++happened[static_cast<std::size_t>(fault)]; }
  std::uint64_t all_faults() const;
  void add(const Coverage& other);
};

}  // namespace kv::sim
