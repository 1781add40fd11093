// How far a long command is: one line on a terminal, which the next one takes the place of. Elsewhere nothing.
#pragma once

#include <cstdint>
#include <string>

#include "client/call.hpp"
#include "client/output.hpp"

namespace kv::client {

class Progress {
 public:
  // `what` begins the line. The printer must outlive this.
  Progress(Printer& printer, std::string what);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // To be called as often as one likes: a few times a second something is shown.
  void bytes(std::uint64_t done, std::uint64_t total);
  void items(std::uint64_t done);
  // Nothing has come yet, and this is why.
  void waiting(const std::string& why);

 private:
  bool is_due();
  double seconds() const;

  Printer& printer_;
  std::string what_;
  Clock::time_point started_ = Clock::now();
  Clock::time_point next_;
};

}  // namespace kv::client
