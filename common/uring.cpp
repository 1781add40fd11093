#include "common/uring.hpp"

#include <liburing.h>
#include <sys/eventfd.h>

#include <array>
#include <asio/buffer.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "common/ring.hpp"

namespace kv {
namespace {

// A turn submits what has gathered and takes what has come, with one system call; as long as one brings something
// to do, another follows. Only when one doesn't is the kernel asked to ring (an event descriptor that Asio waits
// for).
class Uring final : public Ring {
 public:
  explicit Uring(asio::io_context& loop) : loop_(loop), bell_(loop) {}
  ~Uring() override;
  Uring(const Uring&) = delete;
  Uring& operator=(const Uring&) = delete;

  // 0, or why it can't be used (-errno).
  int open(UringSizes sizes);

  void receive(int socket, std::span<char> room, bool waits, Operation& operation) override;
  void send(int socket, std::string_view bytes, Operation& operation) override;

 private:
  io_uring_sqe* take_entry();
  void begin(io_uring_sqe* entry, Operation* operation);
  void turn_soon();
  void turn();
  void submit();
  void collect();
  void deliver();
  bool has_something() const;
  void listen();

  asio::io_context& loop_;
  asio::posix::stream_descriptor bell_;
  std::uint64_t rings_ = 0;  // what is read from it
  io_uring ring_{};
  bool is_open_ = false;
  bool turn_is_due_ = false;
  bool listens_ = false;
  std::size_t under_way_ = 0;
  std::vector<std::pair<Operation*, int>> results_;  // not told yet
  std::vector<std::pair<Operation*, int>> delivered_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // what waits on the loop may outlive this
};

int Uring::open(UringSizes sizes) {
  io_uring_params parameters{};
  // What has come is put into its place when this thread asks for it, all of it at once, and not in between.
  parameters.flags =
      IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
  parameters.cq_entries = sizes.completions;
  if (const int result = io_uring_queue_init_params(sizes.submissions, &ring_, &parameters); result != 0)
    return result;
  is_open_ = true;
  const int bell = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (bell < 0) return -errno;
  bell_.assign(bell);
  return io_uring_register_eventfd(&ring_, bell);
}

// The kernel may use an operation's bytes until it has said that it won't.
Uring::~Uring() {
  if (!is_open_) return;
  turn_is_due_ = true;  // the last one is here
  io_uring_sqe* const cancel = take_entry();
  io_uring_prep_cancel(cancel, nullptr, IORING_ASYNC_CANCEL_ANY);
  begin(cancel, nullptr);
  while (under_way_ > 0) {
    io_uring_submit_and_wait(&ring_, 1);
    collect();
    for (const auto& [operation, result] : std::exchange(results_, {})) {
      --under_way_;
      if (operation) operation->abandon();
    }
  }
  io_uring_queue_exit(&ring_);
}

void Uring::receive(int socket, std::span<char> room, bool waits, Operation& operation) {
  io_uring_sqe* const entry = take_entry();
  io_uring_prep_recv(entry, socket, room.data(), room.size(), 0);
  if (waits) entry->ioprio |= IORING_RECVSEND_POLL_FIRST;
  begin(entry, &operation);
}

void Uring::send(int socket, std::string_view bytes, Operation& operation) {
  io_uring_sqe* const entry = take_entry();
  io_uring_prep_send(entry, socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  begin(entry, &operation);
}

io_uring_sqe* Uring::take_entry() {
  io_uring_sqe* entry = nullptr;
  while (!(entry = io_uring_get_sqe(&ring_))) submit();
  return entry;
}

// What the kernel does not take yet, for want of memory or of room for results, stays for another time.
void Uring::submit() {
  const int result = io_uring_submit_and_get_events(&ring_);
  if (result < 0 && result != -EBUSY && result != -EAGAIN && result != -EINTR && result != -ENOMEM)
    throw std::system_error(-result, std::system_category(), "io_uring");
  collect();
}

void Uring::collect() {
  std::array<io_uring_cqe*, 64> found{};
  while (const unsigned count = io_uring_peek_batch_cqe(&ring_, found.data(), found.size())) {
    for (unsigned i = 0; i < count; ++i)
      results_.emplace_back(static_cast<Operation*>(io_uring_cqe_get_data(found[i])), found[i]->res);
    io_uring_cq_advance(&ring_, count);
  }
}

void Uring::begin(io_uring_sqe* entry, Operation* operation) {
  io_uring_sqe_set_data(entry, operation);
  ++under_way_;
  turn_soon();
}

// Behind what the loop has to do already, so that all of that goes along.
void Uring::turn_soon() {
  if (std::exchange(turn_is_due_, true)) return;
  asio::post(loop_, [this, alive = std::weak_ptr(alive_)] {
    if (!alive.expired()) turn();
  });
}

void Uring::turn() {
  turn_is_due_ = false;
  io_uring_cq_eventfd_toggle(&ring_, false);
  submit();
  deliver();
  if (turn_is_due_) return;
  listen();
  io_uring_cq_eventfd_toggle(&ring_, true);
  // Either the kernel sees that it has to ring, or what it has done before is seen here.
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (has_something()) turn_soon();
}

bool Uring::has_something() const {
  return io_uring_sq_ready(&ring_) > 0 || io_uring_cq_ready(&ring_) > 0 ||
         (IO_URING_READ_ONCE(*ring_.sq.kflags) & IORING_SQ_TASKRUN) != 0;
}

// Those that were there at first: what they bring about is another turn's.
void Uring::deliver() {
  std::swap(results_, delivered_);
  under_way_ -= delivered_.size();
  for (const auto& [operation, result] : delivered_) operation->done(result);
  delivered_.clear();
  if (!results_.empty()) turn_soon();
}

// Only while something is under way, so that a loop that has nothing else to do ends.
void Uring::listen() {
  if (under_way_ == 0 && listens_) {
    std::error_code ignored;
    bell_.cancel(ignored);
  }
  if (under_way_ == 0 || std::exchange(listens_, true)) return;
  bell_.async_read_some(asio::buffer(&rings_, sizeof rings_),
                        [this, alive = std::weak_ptr(alive_)](std::error_code, std::size_t) {
                          if (alive.expired()) return;
                          listens_ = false;
                          if (turn_is_due_) return;
                          turn();
                        });
}

}  // namespace

std::string open_uring(asio::io_context& loop, UringSizes sizes) {
  if (Ring::of(loop)) return {};
  auto ring = std::make_unique<Uring>(loop);
  if (const int result = ring->open(sizes); result != 0) return std::system_category().message(-result);
  Ring::give(loop, std::move(ring));
  return {};
}

}  // namespace kv
