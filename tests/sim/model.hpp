// What the committed commands mean, told a second time: a plain reading of docs/protocol.md, PUT, DELETE, LIST and
// TXN, that shares no code with the servers' store and keeps every version of every key, so that any answer can be
// compared with the state at its position.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "common/message.hpp"
#include "server/command.hpp"

namespace kv::sim {

class Model {
 public:
  struct Version {
    std::uint64_t position = 0;
    std::optional<std::string> value;  // nullopt: absent from this position on
  };
  // What a position's PUT or DELETE did. Nothing: another command, or a repeated or refused write.
  struct Effect {
    std::string key;
    std::optional<std::string> value;  // nullopt: it was a DELETE
    bool found = false;                // the key was there before
  };
  // A transaction that was done for the first time, and what each operation of it came to.
  struct TxnResult {
    std::optional<std::string> value;  // of a GET
    std::uint64_t ts = 0;
    bool found = false;  // of a DELETE
  };
  struct TxnEffect {
    message::Txn txn;
    bool succeeded = false;
    std::vector<TxnResult> results;

    const std::vector<message::TxnOperation>& done() const { return succeeded ? txn.then : txn.otherwise; }
  };
  // A key that is another after a position than before it; a position's stand in the order of its operations.
  struct Change {
    std::uint64_t ts = 0;
    std::string key;
    std::optional<std::string> value;  // nullopt: deleted
  };
  struct Page {
    std::vector<std::pair<std::string, const Version*>> items;
    bool more = false;
  };

  explicit Model(std::size_t sessions_kept) : sessions_kept_(sessions_kept) {}

  // Positions follow each other from 1. nullptr: a no-op.
  void apply(std::uint64_t position, const command::Command* command);

  // The key's version at a position; nullptr: it was never written up to there.
  const Version* at(const std::string& key, std::uint64_t position) const;
  // What the position's command did; nullptr: nothing.
  const Effect* effect(std::uint64_t position) const;
  const TxnEffect* txn(std::uint64_t position) const;  // likewise
  // Of all positions, one after the other.
  const std::vector<Change>& changes() const { return changes_; }
  // The place in changes() of the first behind the position.
  std::size_t first_change_after(std::uint64_t position) const;
  // What a LIST gets from the state of that position.
  Page list(const std::string& prefix, const std::string& after, std::size_t limit, std::uint64_t position) const;
  // All keys that were ever written, with their versions.
  const std::map<std::string, std::vector<Version>>& keys() const { return keys_; }

 private:
  struct Session {
    std::map<std::uint64_t, bool> answered;  // seq
    std::uint64_t dropped_through = 0;
    std::uint64_t last_used = 0;
  };

  void write(std::uint64_t position, const std::string& key, const std::optional<std::uint64_t>& if_ts,
             const std::optional<command::Session>& session, const std::optional<std::string>& value);
  void transact(std::uint64_t position, const command::Txn& txn);
  const Version* newest(const std::string& key) const;  // nullptr: absent
  void set(std::uint64_t position, const std::string& key, const std::optional<std::string>& value);
  bool is_first(std::uint64_t position, const command::Session& asked);

  std::size_t sessions_kept_;
  std::map<std::string, std::vector<Version>> keys_;
  std::map<std::uint64_t, Effect> effects_;
  std::map<std::uint64_t, TxnEffect> txns_;
  std::vector<Change> changes_;
  std::map<std::string, Session> sessions_;
  std::uint64_t forgotten_through_ = 0;
};

}  // namespace kv::sim
