// Who has a data directory open, without touching its lock: to try the lock is to hold it for a moment, in which a
// server could not start.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace kv {

// The process that holds the lock of the data directory `path`, by the kernel's list of locks. nullopt: none, or
// none that can be seen from here (one on another machine or in another container).
std::optional<std::uint64_t> lock_holder(const std::string& path);

}  // namespace kv
