#include "common/uring.hpp"

#include <liburing.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <asio/buffer.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/post.hpp>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <deque>
#include <memory>
#include <system_error>
#include <utility>
#include <vector>

#include "common/ring.hpp"

namespace kv {
namespace {

constexpr int results_a_turn = 128;  // then the clock, the disk and the others' turns have theirs

// What the kernel may say of itself now and not at another time.
bool is_passing(int result) {
  return result == -EAGAIN || result == -EBUSY || result == -EINTR || result == -ENOMEM;
}

// A turn submits what has gathered and takes what has come; as long as that brings something to do, another
// follows. Only when it doesn't is the kernel asked to ring (an event descriptor that Asio waits for).
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
  void submit() override;

 private:
  struct Result {
    Operation* operation;
    int value;
  };

  int make_bell();
  int try_it();
  void begin(io_uring_sqe entry, Operation* operation);
  bool fill_up();
  void collect();
  void turn_soon();
  void turn();
  void deliver();
  bool has_something() const;
  void listen();
  void abandon_all();

  asio::io_context& loop_;
  asio::posix::stream_descriptor bell_;
  std::uint64_t rings_ = 0;  // what is read from it
  io_uring ring_{};
  bool is_open_ = false;
  bool turn_is_due_ = false;
  bool listens_ = false;
  std::size_t under_way_ = 0;
  std::deque<io_uring_sqe> waiting_;  // for a place among the submissions
  std::vector<Result> results_;
  std::vector<Result> delivered_;  // some of those; the operations before next_ have been told
  std::size_t next_ = 0;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // what waits on the loop may outlive this
};

int Uring::open(UringSizes sizes) {
  io_uring_params parameters{};
  // What has come is put into its place when this thread asks for it, and not in between.
  parameters.flags =
      IORING_SETUP_CQSIZE | IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG;
  parameters.cq_entries = sizes.completions;
  if (const int result = io_uring_queue_init_params(sizes.submissions, &ring_, &parameters); result != 0)
    return result;
  is_open_ = true;
  if (const int result = make_bell(); result != 0) return result;
  return try_it();
}

int Uring::make_bell() {
  const int bell = ::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (bell < 0) return -errno;
  std::error_code refused;
  bell_.assign(bell, refused);
  if (refused) {
    ::close(bell);
    return -refused.value();
  }
  return io_uring_register_eventfd(&ring_, bell);
}

// A sandbox may let a ring be made, and not be used.
int Uring::try_it() {
  io_uring_sqe* const nothing = io_uring_get_sqe(&ring_);
  io_uring_prep_nop(nothing);
  io_uring_sqe_set_data(nothing, nullptr);
  io_uring_cqe* completion = nullptr;
  if (const int result = io_uring_submit_and_wait(&ring_, 1); result < 0) return result;
  if (const int result = io_uring_peek_cqe(&ring_, &completion); result < 0) return result;
  io_uring_cqe_seen(&ring_, completion);
  return 0;
}

Uring::~Uring() {
  if (!is_open_) return;
  if (under_way_ > 0) abandon_all();
  io_uring_queue_exit(&ring_);
}

// The kernel may use an operation's bytes until it has said that it won't: if it can't be asked, they stay for
// ever.
void Uring::abandon_all() {
  turn_is_due_ = true;  // none is posted any more
  io_uring_sqe cancel{};
  io_uring_prep_cancel(&cancel, nullptr, IORING_ASYNC_CANCEL_ANY);
  begin(cancel, nullptr);
  while (under_way_ > 0) {
    fill_up();
    // Until the cancellation is among them, nothing is waited for.
    const int result = io_uring_submit_and_wait(&ring_, waiting_.empty() ? 1 : 0);
    if (result < 0 && !is_passing(result)) return;
    collect();
    delivered_.erase(delivered_.begin(), delivered_.begin() + static_cast<std::ptrdiff_t>(std::exchange(next_, 0)));
    delivered_.insert(delivered_.end(), results_.begin(), results_.end());
    results_.clear();
    under_way_ -= delivered_.size();
    for (const Result& one : std::exchange(delivered_, {}))
      if (one.operation) one.operation->abandon();
  }
}

void Uring::receive(int socket, std::span<char> room, bool waits, Operation& operation) {
  io_uring_sqe entry{};
  io_uring_prep_recv(&entry, socket, room.data(), room.size(), 0);
  if (waits) entry.ioprio |= IORING_RECVSEND_POLL_FIRST;
  begin(entry, &operation);
}

void Uring::send(int socket, std::string_view bytes, Operation& operation) {
  io_uring_sqe entry{};
  io_uring_prep_send(&entry, socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  begin(entry, &operation);
}

void Uring::begin(io_uring_sqe entry, Operation* operation) {
  io_uring_sqe_set_data(&entry, operation);
  ++under_way_;
  io_uring_sqe* const place = waiting_.empty() ? io_uring_get_sqe(&ring_) : nullptr;
  if (place) {
    *place = entry;
  } else {
    waiting_.push_back(entry);
  }
  turn_soon();
}

// Whether any that waited has got a place.
bool Uring::fill_up() {
  bool any = false;
  while (!waiting_.empty()) {
    io_uring_sqe* const place = io_uring_get_sqe(&ring_);
    if (!place) break;
    *place = waiting_.front();
    waiting_.pop_front();
    any = true;
  }
  return any;
}

// What the kernel does not take yet, for want of memory or of room for results, stays for another turn.
void Uring::submit() {
  do {
    const int result = io_uring_submit_and_get_events(&ring_);
    if (result < 0 && !is_passing(result)) throw std::system_error(-result, std::system_category(), "io_uring");
    collect();
  } while (fill_up());
}

void Uring::collect() {
  std::array<io_uring_cqe*, 64> found{};
  while (const unsigned count = io_uring_peek_batch_cqe(&ring_, found.data(), found.size())) {
    for (unsigned i = 0; i < count; ++i)
      results_.push_back({static_cast<Operation*>(io_uring_cqe_get_data(found[i])), found[i]->res});
    io_uring_cq_advance(&ring_, count);
  }
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

void Uring::deliver() {
  if (next_ == delivered_.size()) {
    delivered_.clear();
    next_ = 0;
    std::swap(results_, delivered_);
  }
  for (int told = 0; told < results_a_turn && next_ < delivered_.size(); ++told) {
    const Result result = delivered_[next_++];
    --under_way_;
    result.operation->done(result.value);
  }
  if (next_ < delivered_.size() || !results_.empty()) turn_soon();
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
                          if (!turn_is_due_) turn();
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
