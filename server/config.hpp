// What kvd was told: flags, environment and config file, checked and put into one struct.
//
// A flag beats an environment variable (KVD_ and the flag's name), which beats the file. Nothing outside this
// file knows where a value came from.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>

#include "common/address.hpp"
#include "common/log.hpp"

namespace kv {

struct ServerConfig {
  std::string name = "n1";
  Address listen{"127.0.0.1", 7401};
  Address peer_listen{"127.0.0.1", 7501};
  bool peer_listen_given = false;
  std::map<std::string, Address> cluster;  // name -> peer address; empty: a single server, or as the log says
  std::string data_dir = "kvd-data";
  std::optional<Address> advertise;       // default: what is listened on
  std::optional<Address> peer_advertise;  // default: this server's address in `cluster`
  std::string preferred_leader;
  std::chrono::milliseconds heartbeat_interval{100};
  std::chrono::milliseconds election_timeout{1000};
  std::chrono::milliseconds delay_replication{0};
  std::uint64_t snapshot_every = 100'000;  // entries
  std::uint64_t quota = 2ull << 30;        // bytes of keys and values; 0: no limit
  std::string restore;                     // a backup's file to begin from; empty: none
  std::uint64_t max_value = 1 << 20;
  std::uint64_t max_connections = 10'000;
  std::optional<bool> io_uring;  // whether to have the kernel work by it; not set: if it does
  LogOptions log;
};

// The program is done with this: help or version was printed (0), or the command line is wrong (2).
struct ExitNow {
  int status = 0;
};

std::variant<ServerConfig, ExitNow> read_config(int argc, const char* const* argv);

}  // namespace kv
