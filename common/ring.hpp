// Where connections put their receives and sends when a loop does many of them at once: a ring that the kernel
// works off, all of a turn of the loop with one system call (uring.hpp makes one). A loop without one has its
// sockets wait and then be read one by one (Asio). Its loop owns it, and all is that loop's thread's.
#pragma once

#include <asio/execution_context.hpp>
#include <memory>
#include <span>
#include <string_view>

namespace kv {

class Ring {
 public:
  // What is under way: it and its bytes stay where they are until one of these is called, in a later turn or at the
  // loop's end.
  class Operation {
   public:
    virtual ~Operation() = default;
    // Bytes; 0: the end, of a receive; less: -errno.
    virtual void done(int result) = 0;
    // There will be no result: the loop is being destroyed.
    virtual void abandon() = 0;
  };

  virtual ~Ring() = default;

  // The loop's; nullptr: it has none.
  static Ring* of(asio::execution_context& loop);
  static void give(asio::execution_context& loop, std::unique_ptr<Ring> ring);

  // `waits`: nothing is there yet, most likely, so it is not looked for at first.
  virtual void receive(int socket, std::span<char> room, bool waits, Operation& operation) = 0;
  virtual void send(int socket, std::string_view bytes, Operation& operation) = 0;
  // Begins what was asked for now, and not at the end of this turn.
  virtual void submit() = 0;
};

}  // namespace kv
