// How much of a leader's log may come beside a snapshot that will make it shorter. What comes while one is written
// stays in the log until the next is whole: so it is two fifths of the log's limit, spread evenly over what is left
// of the snapshot when the log has become long; a tenth, if the two fifths had come before; and never more than
// there is room for.
//
// Pure arithmetic, owned by whoever writes the snapshot, from its beginning to its end.
#pragma once

#include <cstddef>
#include <optional>

namespace kv {

class LogPace {
 public:
  // Bytes: the log's limit.
  explicit LogPace(std::size_t most) : most_(static_cast<double>(most)) {}

  // So many bytes have been appended.
  void took(std::size_t bytes) { came_ += bytes; }
  // Whether another write may follow so many bytes more. To be asked only when the log is long, or would be with
  // them. `saved`: the part of the snapshot that is written, 0 to 1. `room`: for how many bytes behind those the
  // log has room.
  bool takes_more(double saved, std::size_t bytes, std::size_t room);

 private:
  struct Start {  // when the log had become long
    double saved = 0;
    std::size_t came = 0;
    double for_the_rest = 0;  // bytes
  };

  double for_the_rest(std::size_t came, std::size_t room) const;

  double most_;
  std::size_t came_ = 0;  // since the snapshot began
  std::optional<Start> start_;
};

}  // namespace kv
