// What a server says to a client, as a value.
#pragma once

#include <cstdint>

#include "common/message.hpp"

namespace kv {

// A client connection, by a number of the host's that is never used again.
using ClientId = std::uint64_t;

struct ClientAnswer {
  ClientId client = 0;
  message::Answer answer;
  // Of a watch that goes on or has ended: beside the one final answer of each request.
  bool unasked = false;
};

}  // namespace kv
