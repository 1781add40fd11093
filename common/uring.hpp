// A ring by Linux' io_uring(7). Not every kernel has it (Linux 6.1 does) and many sandboxes forbid it, so a loop
// has to work without.
#pragma once

#include <asio/io_context.hpp>
#include <string>

namespace kv {

struct UringSizes {
  unsigned submissions = 256;   // more in a turn take another system call
  unsigned completions = 4096;  // in memory shared with the kernel; more wait in its own
};

// From now on connections of `loop` use it, which this thread alone runs. Empty, or why there is none.
std::string open_uring(asio::io_context& loop, UringSizes sizes = {});

}  // namespace kv
