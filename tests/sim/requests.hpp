// What clients ask, drawn at random from what each of them remembers.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/judge.hpp"
#include "tests/sim/world.hpp"

namespace kv::sim {

// Of one client, from one request to the next.
struct Memory {
  bool writes_in_session = false;
  std::uint64_t seq = 0;
  std::uint64_t session_from = 0;
  std::string session;  // of its writes; empty: none begun
  std::map<std::string, std::uint64_t> timestamps;
  std::string listed;  // the last key of a LIST that said that there are more; empty: it begins from the front

  void learn(const std::string& key, std::uint64_t ts);
  void learn(const message::Txn& asked, const message::TxnOk& ok);
  void learn(const message::ListOk& ok);
};

class Requests {
 public:
  Requests(World& world, const Judge& judge) : world_(world), judge_(judge) {}

  // Its values are still to be named.
  message::Request draw(Memory& memory);

 private:
  std::string draw_key();
  std::optional<message::WriteSession> next_in_session(Memory& memory);
  std::optional<std::uint64_t> draw_condition(Memory& memory, const std::string& key);
  message::Get draw_get(Memory& memory);
  message::Get draw_newer(Memory& memory, const std::string& key);
  message::List draw_list(Memory& memory);
  message::Txn draw_txn(Memory& memory);
  std::vector<message::TxnOperation> draw_operations(bool writes);
  message::Consistency draw_consistency();
  std::optional<std::uint64_t> draw_future();

  World& world_;
  const Judge& judge_;
};

bool is_read(const message::Request& request);
bool has_session(const message::Request& request);
// Gives the values that it writes names of their own, which begin with this.
void name_values(World& world, message::Request& request, const std::string& name);
// Whether its values have names.
bool is_named(const message::Request& request);

}  // namespace kv::sim
