#include "common/ring.hpp"

#include <utility>

namespace kv {
namespace {

// Asio's way for a loop to own something: as one of its services.
class Keeper : public asio::execution_context::service {
 public:
  static inline asio::execution_context::id id;

  explicit Keeper(asio::execution_context& loop) : service(loop) {}

  std::unique_ptr<Ring> ring;

 private:
  void shutdown() override { ring.reset(); }
};

}  // namespace

Ring* Ring::of(asio::execution_context& loop) {
  return asio::use_service<Keeper>(loop).ring.get();
}

void Ring::give(asio::execution_context& loop, std::unique_ptr<Ring> ring) {
  asio::use_service<Keeper>(loop).ring = std::move(ring);
}

}  // namespace kv
