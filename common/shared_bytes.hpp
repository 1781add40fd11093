// Bytes that are shared and never changed: a command, which the log, the disk and each peer's message hold; an
// event, of which all get the same who watch.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <string_view>
#include <utility>

namespace kv {

// There are millions of them in memory, so the bytes, their length and the count of their owners are one block.
// Owners may be on any thread. Null is not the same as no bytes.
class SharedBytes {
 public:
  SharedBytes() = default;
  SharedBytes(std::nullptr_t) {}
  explicit SharedBytes(std::string_view bytes) : block_(new (allocate(bytes.size())) Block{bytes.size()}) {
    if (!bytes.empty()) std::memcpy(block_->bytes(), bytes.data(), bytes.size());
  }
  SharedBytes(const SharedBytes& other) noexcept : block_(other.block_) {
    if (block_) block_->owners.fetch_add(1, std::memory_order_relaxed);
  }
  SharedBytes(SharedBytes&& other) noexcept : block_(std::exchange(other.block_, nullptr)) {}
  SharedBytes& operator=(SharedBytes other) noexcept {
    std::swap(block_, other.block_);
    return *this;
  }
  ~SharedBytes() {
    if (!block_ || block_->owners.fetch_sub(1, std::memory_order_acq_rel) != 1) return;
    block_->~Block();
    ::operator delete(block_);
  }

  explicit operator bool() const { return block_ != nullptr; }
  // Of one that is not null. Valid as long as an owner is left.
  std::string_view operator*() const { return {block_->bytes(), block_->size}; }
  std::size_t size() const { return block_ ? block_->size : 0; }

  // The same bytes; null is not the same as none.
  friend bool operator==(const SharedBytes& a, const SharedBytes& b) {
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

}  // namespace kv
