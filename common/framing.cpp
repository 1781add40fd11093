#include "common/framing.hpp"

#include <algorithm>
#include <cassert>
#include <cstring>

namespace kv {
namespace {

constexpr std::size_t zeros_behind = 4;        // what the JSON decoder may read past a frame
constexpr std::size_t always_kept = 64 << 10;  // a buffer of this size is never given back

std::uint32_t big_endian(const char* bytes) {
  const auto at = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[i])); };
  return at(0) << 24 | at(1) << 16 | at(2) << 8 | at(3);
}

}  // namespace

FrameReader::FrameReader(std::size_t max_frame) : max_frame_(max_frame) {}

std::span<char> FrameReader::prepare(std::size_t at_least) {
  restore_overwritten();
  const std::size_t needed = buffered() + at_least + zeros_behind;
  const bool too_small = buffer_.size() < needed;
  const bool far_too_big = buffer_.size() > always_kept && buffer_.size() / 4 > needed;
  if (too_small || far_too_big) {
    // At least twice what there was, or a frame that comes in many pieces would be copied as many times.
    std::vector<char> other(too_small ? std::max(needed, 2 * buffered()) : needed);
    std::copy(buffer_.begin() + static_cast<std::ptrdiff_t>(begin_),
              buffer_.begin() + static_cast<std::ptrdiff_t>(end_), other.begin());
    buffer_ = std::move(other);
    end_ -= begin_;
    begin_ = 0;
  } else if (begin_ == end_ || buffer_.size() - end_ < at_least + zeros_behind) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, buffered());
    end_ -= begin_;
    begin_ = 0;
  }
  return {buffer_.data() + end_, buffer_.size() - zeros_behind - end_};
}

void FrameReader::commit(std::size_t count) {
  restore_overwritten();
  assert(end_ + count + zeros_behind <= buffer_.size());
  end_ += count;
}

FrameReader::Result FrameReader::next(std::string_view& body) {
  restore_overwritten();
  if (broken_) return Result::bad_length;
  if (buffered() < frame_header_bytes) return Result::incomplete;
  const std::uint32_t length = big_endian(buffer_.data() + begin_);
  if (length == 0 || length > max_frame_) {
    bad_length_ = length;
    broken_ = true;
    return Result::bad_length;
  }
  if (buffered() - frame_header_bytes < length) return Result::incomplete;
  body = {buffer_.data() + begin_ + frame_header_bytes, length};
  begin_ += frame_header_bytes + length;

  overwritten_at_ = begin_;
  overwritten_count_ = std::min(zeros_behind, buffered());
  std::memcpy(overwritten_, buffer_.data() + begin_, overwritten_count_);
  std::memset(buffer_.data() + begin_, 0, zeros_behind);
  return Result::frame;
}

std::size_t FrameReader::buffered() const {
  return end_ - begin_;
}

void FrameReader::restore_overwritten() {
  if (overwritten_count_ == 0) return;
  std::memcpy(buffer_.data() + overwritten_at_, overwritten_, overwritten_count_);
  overwritten_count_ = 0;
}

std::size_t begin_frame(std::string& out) {
  const std::size_t start = out.size();
  out.append(frame_header_bytes, '\0');
  return start;
}

void finish_frame(std::string& out, std::size_t start) {
  const std::size_t length = out.size() - start - frame_header_bytes;
  assert(length <= UINT32_MAX);
  for (std::size_t i = 0; i < frame_header_bytes; ++i) {
    out[start + i] = static_cast<char>(length >> (8 * (frame_header_bytes - 1 - i)));
  }
}

}  // namespace kv
