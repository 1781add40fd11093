// The names of the log's files (docs/formats.md, "The directory").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace kv::wal {

std::string segment_name(std::uint64_t number);     // "0000000000000001.wal"
std::string unfinished_name(std::uint64_t number);  // of a segment that is being made: "0000000000000001.wal.tmp"
bool is_segment_name(std::string_view name);
bool is_unfinished_name(std::string_view name);
std::uint64_t number_of(const std::string& name);  // of one that begins with a number

}  // namespace kv::wal
