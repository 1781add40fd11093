// Frames: whatever bytes arrive, in whatever pieces, the same frames come out as docs/protocol.md has them when
// it is read over the whole stream at once; a length out of bounds is told for good; memory follows what
// has been received; and encoding the frames again gives the stream's own bytes.
//
// Input: a byte for the limit, the pieces in which the stream arrives, and how the stream is put together.
#include <algorithm>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/framing.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

using namespace kv;
using fuzz::Input;
using fuzz::require;

constexpr std::size_t limits[] = {1, 16, 300, 70'000, 300'000, default_max_frame, peer_max_frame, 0xffffffff};

// How many bytes arrive at once, how much room is asked for, and whether all whole frames are taken out.
struct Piece {
  std::size_t size = 1;
  std::size_t room = 1;
  bool drain = true;
};

Piece take_piece(Input& input) {
  const std::size_t size = input.byte();
  const std::size_t more = input.byte();
  Piece piece;
  piece.size = 1 + ((size & 63) << (size >> 6) * 4);  // up to 256 KiB
  piece.room = piece.size + (more & 127) * 16;
  piece.drain = (more & 128) == 0;
  return piece;
}

// Arbitrary bytes, and frames that would take too much input to spell out.
std::string make_stream(Input& input) {
  std::string stream;
  while (!input.empty()) {
    const unsigned kind = input.byte() % 4;
    if (kind == 0) {
      stream += input.bytes(input.byte());
      continue;
    }
    const std::size_t start = begin_frame(stream);
    if (kind == 1) stream += input.bytes(input.byte());
    if (kind == 2) stream.append(input.word() * std::size_t{2}, static_cast<char>(input.byte()));
    finish_frame(stream, start);  // kind 3: an empty one, which is not allowed
    if (stream.size() > 200'000) break;
  }
  return stream;
}

// What the protocol says of a stream, read at once.
struct Expected {
  std::vector<std::string_view> frames;
  std::size_t bytes = 0;  // of these frames, with their lengths
  bool broken = false;
  std::uint32_t bad_length = 0;
};

Expected read_at_once(std::string_view stream, std::size_t max_frame) {
  Expected expected;
  while (stream.size() - expected.bytes >= frame_header_bytes) {
    std::uint32_t length = 0;
    for (const char c : stream.substr(expected.bytes, frame_header_bytes)) {
      length = length * 256 + static_cast<unsigned char>(c);
    }
    if (length == 0 || length > max_frame) {
      expected.broken = true;
      expected.bad_length = length;
      break;
    }
    const std::string_view rest = stream.substr(expected.bytes + frame_header_bytes);
    if (rest.size() < length) break;
    expected.frames.push_back(rest.substr(0, length));
    expected.bytes += frame_header_bytes + length;
  }
  return expected;
}

class Connection {
 public:
  Connection(const Expected& expected, std::size_t max_frame) : expected_(expected), reader_(max_frame) {}

  void receive(std::string_view bytes, std::size_t room) {
    const std::size_t needed = reader_.buffered() + room + 4;
    const std::span<char> span = reader_.prepare(room);
    require(span.size() >= room, "prepare() gives the room that was asked for");
    require(span.size() <= std::max<std::size_t>(64 << 10, 4 * needed), "memory follows what was received");
    span.back() = '!';  // all of it may be written to
    bytes.copy(span.data(), bytes.size());
    reader_.commit(bytes.size());
    received_ += bytes.size();
  }

  // Takes out the next frame; false: there is none.
  bool take() {
    std::string_view body;
    const FrameReader::Result result = reader_.next(body);
    if (result == FrameReader::Result::frame) {
      require(taken_ < expected_.frames.size(), "no frame comes out that did not go in");
      require(body == expected_.frames[taken_], "a frame's body is what went in");
      require(std::memcmp(body.data() + body.size(), "\0\0\0\0", 4) == 0, "four zero bytes follow a frame");
      taken_bytes_ += frame_header_bytes + body.size();
      ++taken_;
    }
    if (result == FrameReader::Result::bad_length) {
      require(expected_.broken && taken_ == expected_.frames.size(), "only a bad length is called one");
      require(reader_.bad_length() == expected_.bad_length, "bad_length() is what was announced");
      broken_ = true;
    }
    require(!broken_ || result == FrameReader::Result::bad_length, "a broken stream stays broken");
    require(reader_.buffered() == received_ - taken_bytes_, "buffered() is what came and was not handed out");
    return result == FrameReader::Result::frame;
  }

  void finish() {
    while (take()) {
    }
    require(taken_ == expected_.frames.size(), "every whole frame comes out");
    require(broken_ == expected_.broken, "a bad length is told");
    take();
  }

 private:
  const Expected& expected_;
  FrameReader reader_;
  std::size_t received_ = 0;
  std::size_t taken_ = 0;
  std::size_t taken_bytes_ = 0;
  bool broken_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(data, size);
  const std::size_t max_frame = limits[input.below(std::size(limits))];
  std::vector<Piece> pieces(1 + input.below(16));
  for (Piece& piece : pieces) piece = take_piece(input);
  const std::string stream = make_stream(input);
  const Expected expected = read_at_once(stream, max_frame);

  // In the pieces of the input, the last of which is repeated, but not for ever.
  Connection connection(expected, max_frame);
  std::size_t at = 0;
  for (std::size_t i = 0; at < stream.size(); ++i) {
    const Piece piece = pieces[std::min(i, pieces.size() - 1)];
    const std::size_t count = std::min(i < 256 ? piece.size : stream.size(), stream.size() - at);
    connection.receive(std::string_view(stream).substr(at, count), std::max(count, piece.room));
    at += count;
    while (connection.take() && piece.drain) {
    }
  }
  connection.finish();

  std::string again;
  for (const std::string_view body : expected.frames) {
    const std::size_t start = begin_frame(again);
    again += body;
    finish_frame(again, start);
  }
  require(again == std::string_view(stream).substr(0, expected.bytes), "encoding the frames gives the same bytes");
  return 0;
}
