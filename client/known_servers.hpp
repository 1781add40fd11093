// What the default endpoint led to last time: the members of its cluster, so that a later kvctl finds the others
// when that one server is down. A convenience, kept beside the timestamps: where it can't be read or written,
// kvctl does without.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/address.hpp"

namespace kv::client {

struct KnownServers {
  std::string cluster;  // those addresses count only where they lead to this one
  std::vector<Address> members;
  bool operator==(const KnownServers&) const = default;
};

// nullopt: nothing is known.
std::optional<KnownServers> load_known_servers(const std::filesystem::path& directory);
// Writes only where it differs from what is there.
void save_known_servers(const std::filesystem::path& directory, const KnownServers& known);

}  // namespace kv::client
