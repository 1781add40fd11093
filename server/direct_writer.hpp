// Writes to a file, durably, without anybody waiting for it: not the loop, and no thread that would have to be
// woken up for it and wake up the loop again. This is Linux' asynchronous I/O (io_submit(2)) past the kernel's
// pages, with RWF_DSYNC, by which a write is done when an fdatasync after it would be; then it tells an event
// descriptor, to which the loop listens.
//
// Not every file system and sandbox has it: so each write may be refused, and has to be made in another way then.
// It owns its memory; the file is the caller's, and stays open until the write is done. All is the loop's thread's.
#pragma once

#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <span>
#include <string_view>

namespace kv {

class DirectWriter {
 public:
  static constexpr std::size_t most_bytes = 1 << 20;  // of one write

  explicit DirectWriter(asio::io_context& loop);
  // Waits for the write that is under way, of which nobody is told any more.
  ~DirectWriter();
  DirectWriter(const DirectWriter&) = delete;
  DirectWriter& operator=(const DirectWriter&) = delete;

  enum class Outcome {
    durable,
    refused,  // nothing is known to be written, and nothing is wrong with the disk
    failed,   // with an errno
  };
  using Done = std::function<void(Outcome, int error)>;

  // One at a time: the pieces, one behind the other. `file` is File::direct()'s; `offset` and their length together
  // are whole blocks of the disk. `done` is called in a later turn of the loop. False: it is refused at once, and
  // `done` is not called.
  bool start(int file, std::uint64_t offset, std::span<const std::string_view> pieces, Done done);
  bool is_busy() const { return done_ != nullptr; }
  // False: it refuses all, for good.
  bool is_available() const { return context_ != 0; }

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };

  void give_up();
  void listen();
  void finish();

  asio::posix::stream_descriptor event_;
  std::uint64_t events_ = 0;   // what is read from it
  std::uint64_t context_ = 0;  // the kernel's aio_context_t; 0: it has none for us, or no longer
  std::unique_ptr<char, Free> memory_;
  std::size_t bytes_ = 0;                                       // of the write that is under way
  Done done_;                                                   // of it; empty: there is none
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // what waits on the loop may outlive this
};

}  // namespace kv
