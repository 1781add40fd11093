// A segment of the log that is open, and what is done to its bytes. Private to wal.cpp and wal_recovery.cpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "server/wal.hpp"
#include "server/wal_format.hpp"

namespace kv {
namespace wal {

// How much is read at once, and how much is written where nothing but zeros is written.
inline constexpr std::uint64_t slice_bytes = 1 << 20;
// What disks write at once: of what is smaller most have to read the rest and write it again, and could lose that
// with their power.
inline constexpr std::uint64_t block_bytes = 4096;

inline std::uint64_t up_to_multiple(std::uint64_t bytes, std::uint64_t of) {
  return (bytes + of - 1) / of * of;
}
inline std::uint64_t down_to_multiple(std::uint64_t bytes, std::uint64_t of) {
  return bytes / of * of;
}

// The first `bytes` of a slice of zeros.
inline std::string_view zeros(std::uint64_t bytes) {
  static const std::string slice(slice_bytes, '\0');
  return std::string_view(slice).substr(0, bytes);
}

inline void write_zeros(File& file, std::uint64_t offset, std::uint64_t bytes) {
  while (bytes > 0) {
    const std::string_view piece = zeros(std::min(bytes, slice_bytes));
    file.write_at(offset, piece);
    offset += piece.size();
    bytes -= piece.size();
  }
}

}  // namespace wal

struct Wal::Segment {
  std::uint64_t number = 0;
  std::uint64_t bytes = 0;
  std::uint64_t salt = 0;
  std::unique_ptr<File> file;
  std::uint64_t end = wal::sector_bytes;  // of its batches
  std::uint64_t zeroed =
      wal::sector_bytes;   // up to here the file system has written zeros, and not just promised them
  std::string last_block;  // of what is before `end`, what is in the same block as that

  std::uint64_t room() const { return bytes - end; }
  std::uint64_t block() const { return wal::down_to_multiple(end, wal::block_bytes); }
  // Moves the end behind the next ones.
  void add(std::string_view more) {
    const std::uint64_t old_block = block();
    end += more.size();
    if (block() != old_block) last_block.clear();
    last_block.append(more.substr(more.size() - std::min<std::uint64_t>(more.size(), end - block())));
  }
};

}  // namespace kv
