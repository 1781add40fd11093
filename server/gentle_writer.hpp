// Writes a big file from its beginning to its end, a part at a time, so that no other file's sync has to wait long
// because of it. The parts go to the disk past the kernel's pages (O_DIRECT): nothing that could be written at the
// wrong moment piles up there, and few parts need the file system's journal to be written: some file systems take
// such writes and keep pages all the same, so each 64 of them are synced. Where they are refused, each part is.
//
// It owns the file. Nothing is durable before finish().
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "server/file.hpp"

namespace kv {

class GentleWriter {
 public:
  // Of an empty file. A part is whole blocks. Throws std::bad_alloc.
  GentleWriter(std::unique_ptr<File> file, std::size_t part_bytes);

  // May keep some of them until more come. Throws FileError; then nothing is known of what is in the file.
  void append(std::string_view bytes);
  // All of them are durable.
  void finish();

  std::uint64_t bytes() const { return written_ + waiting_; }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };

  void write_part();

  std::unique_ptr<File> file_;
  std::size_t part_bytes_;
  std::unique_ptr<char, Free> part_;
  std::size_t waiting_ = 0;    // bytes of it
  std::uint64_t written_ = 0;  // bytes before it
  bool past_pages_ = true;     // until it is refused
  std::uint64_t parts_past_pages_ = 0;
};

}  // namespace kv
