// A command's bytes: shared, never changed. The log, the disk and each peer's message hold the same ones.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

namespace kv::raft {

// A log has millions of them in memory, so the bytes, their length and the count of their owners are one block.
// Owners may be on any thread. Null, which is not the same as no bytes, stands for the no-op at the start of a
// term.
class Payload {
 public:
  Payload() = default;
  Payload(std::nullptr_t) {}
  explicit Payload(std::string_view bytes) : block_(new (allocate(bytes.size())) Block{bytes.size()}) {
    if (!bytes.empty()) std::memcpy(block_->bytes(), bytes.data(), bytes.size());
  }
  Payload(const Payload& other) noexcept : block_(other.block_) {
    if (block_) block_->owners.fetch_add(1, std::memory_order_relaxed);
  }
  Payload(Payload&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  Payload& operator=(Payload other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~Payload() {
    if (!block_ || block_->owners.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    block_->~Block();
    ::operator delete(block_);
  }

  explicit operator bool() const { return block_ != nullptr; }
  // Of one that is not null. Valid as long as an owner is left.
  std::string_view operator*() const { return {block_->bytes(), block_->size}; }
  std::size_t size() const { return block_ ? block_->size : 0; }

  // The same bytes; null is not the same as none.
  friend bool operator==(const Payload& a, const Payload& b) {
    return a.block_ == b.block_ || (a && b && *a == *b);
  }

 private:
  struct Block {
    std::size_t size;
    std::atomic<std::uint32_t> owners{1};

    char* bytes() { return reinterpret_cast<char*>(this + 1); }  // they follow
  };

  static void* allocate(std::size_t bytes) { return ::operator new(sizeof(Block) + bytes); }

  Block* block_ = nullptr;
};

}  // namespace kv::raft
