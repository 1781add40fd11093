// The cluster's members as a snapshot's state record holds them: a command (docs/formats.md, "A command"), of which
// a reader of backups needs this one kind. The servers' own reader of all commands is server/command.hpp.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace kv::snapshot {

struct Member {
  std::string node;
  std::string identity;
  std::string peer_address;
  std::string client_address;
  bool operator==(const Member&) const = default;
};

struct Members {
  std::string cluster;
  std::vector<Member> members;  // sorted by node, no two alike
  bool operator==(const Members&) const = default;
};

// nullopt: the bytes are no such command, or one of another version.
std::optional<Members> decode_members(std::string_view bytes);

}  // namespace kv::snapshot
