// Bytes <-> frames: a 4-byte big-endian length, then so many bytes. Pure: no sockets, no JSON.
//
// A FrameReader owns the receive buffer of one connection. The connection asks it for room, reads into that,
// says how much came, and takes out whole frames. Memory grows with what has really been received, never
// with what a length announces, and shrinks again after a big frame.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace kv {

inline constexpr std::size_t default_max_frame = 4 << 20;
inline constexpr std::size_t peer_max_frame = 16 << 20;
inline constexpr std::size_t frame_header_bytes = 4;

class FrameReader {
 public:
  explicit FrameReader(std::size_t max_frame);

  // Room for at least `at_least` more bytes behind those already received.
  std::span<char> prepare(std::size_t at_least);
  // `count` bytes have been written to the start of the span that prepare() gave.
  void commit(std::size_t count);

  enum class Result { frame, incomplete, bad_length };
  // The next whole frame's body. The view stays valid, with four zero bytes behind it, until the next call of
  // any member that is not const. bad_length: zero or above max_frame; the stream can't be followed any
  // further, and every later call says the same; `bad_length()` is what was announced.
  Result next(std::string_view& body);
  std::uint32_t bad_length() const { return bad_length_; }

  // Bytes received and not yet handed out: not 0 while a frame is under way.
  std::size_t buffered() const;
  void set_max_frame(std::size_t max_frame) { max_frame_ = max_frame; }

 private:
  void restore_overwritten();

  std::vector<char> buffer_;
  std::size_t begin_ = 0;  // of what is not handed out yet
  std::size_t end_ = 0;    // of what was received
  std::size_t max_frame_;
  std::uint32_t bad_length_ = 0;
  bool broken_ = false;
  // The zero bytes behind a frame lie on top of the next one's first bytes, which are kept here meanwhile.
  char overwritten_[4] = {};
  std::size_t overwritten_at_ = 0;
  std::size_t overwritten_count_ = 0;
};

// Appends a frame to `out`: the length is filled in once `finish` knows it. Usage:
//   const std::size_t start = begin_frame(out);  …append the body…;  finish_frame(out, start);
std::size_t begin_frame(std::string& out);
void finish_frame(std::string& out, std::size_t start);

}  // namespace kv
