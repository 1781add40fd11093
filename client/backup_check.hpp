// Looks at all of a backup while its bytes come, from a file or a server: checksums, order, totals, and that its
// records make sense. It keeps none of them, so a backup of any size needs little memory.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "common/snapshot_format.hpp"
#include "common/snapshot_members.hpp"

namespace kv::client {

// What a whole backup says of itself.
struct BackupSummary {
  snapshot::Header header;    // position and term
  snapshot::Members members;  // and the cluster's id
  snapshot::Totals totals;    // keys, bytes of keys and values, content digest
  std::uint64_t sessions = 0;
  std::uint64_t size = 0;  // of the backup itself
};

class BackupCheck {
 public:
  struct Problem {
    std::uint64_t offset = 0;
    std::string what;
  };
  // Gets every item, in the order of the keys.
  using TakeItem = std::function<void(const snapshot::Item&)>;

  explicit BackupCheck(TakeItem take_item = {}) : take_item_(std::move(take_item)) {}

  // Nothing more may be taken after a Problem.
  std::optional<Problem> take(std::string_view bytes);
  // After the last bytes.
  std::optional<Problem> finish() const;
  // After a finish() without a Problem.
  const BackupSummary& summary() const { return summary_; }

 private:
  using Wrong = std::optional<std::string>;

  Wrong take_part(const snapshot::Header& header);
  Wrong take_part(const snapshot::Reader::Block& block);
  Wrong take_part(const snapshot::Reader::End& end) const;
  Wrong take_record(const snapshot::State& state);
  Wrong take_record(const snapshot::Item& item);
  Wrong take_record(const snapshot::Session& session);
  Wrong take_record(const snapshot::DeletionsFloor& floor);
  Wrong take_record(const snapshot::Deletion& deletion);

  TakeItem take_item_;
  snapshot::Reader reader_;
  BackupSummary summary_;  // as far as it has come
  bool has_state_ = false;
  std::string last_key_;
  std::string last_session_;
  bool has_deletions_ = false;
  std::uint64_t last_deletion_ = 0;
};

}  // namespace kv::client
