#include "server/direct_writer.hpp"

#include <linux/aio_abi.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <asio/buffer.hpp>
#include <cassert>
#include <cerrno>
#include <new>
#include <utility>

namespace kv {
namespace {

static_assert(sizeof(aio_context_t) <= sizeof(std::uint64_t));

// Memory for O_DIRECT begins where a page does; a sector would do for nearly all disks.
constexpr std::size_t alignment = 4096;

// glibc has no wrappers for these; libaio's are no more than this, and lack RWF_DSYNC.
long io_setup(unsigned events, std::uint64_t* context) {
  aio_context_t made = 0;
  const long result = ::syscall(SYS_io_setup, events, &made);
  *context = result == 0 ? made : 0;
  return result;
}
long io_destroy(std::uint64_t context) {
  return ::syscall(SYS_io_destroy, static_cast<aio_context_t>(context));
}
long io_submit_one(std::uint64_t context, iocb* request) {
  return ::syscall(SYS_io_submit, static_cast<aio_context_t>(context), 1, &request);
}
long io_get_one(std::uint64_t context, io_event* event) {
  timespec at_once{};
  return ::syscall(SYS_io_getevents, static_cast<aio_context_t>(context), 1, 1, event, &at_once);
}

// Of this write alone: it would have had to wait for something but the disk, or there was no memory for it.
bool is_passing(int error) {
  return error == EAGAIN || error == ENOMEM || error == EINTR;
}

// Of a file, a file system or a kernel that can't do it.
bool is_refusal(int error) {
  return error == EINVAL || error == EOPNOTSUPP || error == ENOSYS || error == EPERM;
}

}  // namespace

DirectWriter::DirectWriter(asio::io_context& loop) : event_(loop) {
  const int event = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (event < 0) return;
  event_.assign(event);
  if (io_setup(1, &context_) != 0) return;
  memory_.reset(static_cast<char*>(std::aligned_alloc(alignment, most_bytes)));
  if (!memory_) throw std::bad_alloc();
  listen();
}

DirectWriter::~DirectWriter() {
  give_up();
}

void DirectWriter::give_up() {
  if (context_ != 0) io_destroy(std::exchange(context_, 0));
  std::error_code ignored;
  event_.cancel(ignored);
}

bool DirectWriter::start(int file, std::uint64_t offset, std::span<const std::string_view> pieces, Done done) {
  assert(!done_ && "one write at a time");
  if (context_ == 0) return false;
  std::size_t bytes = 0;
  for (const std::string_view piece : pieces) {
    if (piece.size() > most_bytes - bytes) return false;
    bytes += piece.copy(memory_.get() + bytes, piece.size());
  }
  iocb request{};
  request.aio_fildes = static_cast<std::uint32_t>(file);
  request.aio_lio_opcode = IOCB_CMD_PWRITE;
  // What would make the loop wait (pages in the way, a lock, a full queue) is refused; a frozen file system is not.
  request.aio_rw_flags = RWF_DSYNC | RWF_NOWAIT;
  request.aio_buf = reinterpret_cast<std::uintptr_t>(memory_.get());
  request.aio_nbytes = bytes;
  request.aio_offset = static_cast<std::int64_t>(offset);
  request.aio_flags = IOCB_FLAG_RESFD;
  request.aio_resfd = static_cast<std::uint32_t>(event_.native_handle());
  if (io_submit_one(context_, &request) != 1) {
    if (!is_passing(errno)) give_up();
    return false;
  }
  bytes_ = bytes;
  done_ = std::move(done);
  return true;
}

void DirectWriter::listen() {
  event_.async_read_some(asio::buffer(&events_, sizeof events_),
                         [this, alive = std::weak_ptr(alive_)](std::error_code error, std::size_t) {
                           if (!error && !alive.expired()) finish();
                         });
}

void DirectWriter::finish() {
  io_event event{};
  if (io_get_one(context_, &event) != 1) return listen();
  const Done done = std::exchange(done_, nullptr);
  const int error = event.res < 0 ? static_cast<int>(-event.res) : 0;
  if (is_refusal(error)) {
    give_up();
  } else {
    listen();
  }
  if (error == 0 && static_cast<std::uint64_t>(event.res) == bytes_) return done(Outcome::durable, 0);
  // Of one that was cut short, the other way will tell why.
  if (error == 0 || is_passing(error) || is_refusal(error)) return done(Outcome::refused, 0);
  done(Outcome::failed, error);
}

}  // namespace kv
