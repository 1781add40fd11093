// Ctrl-C while a command runs.
#pragma once

#include <asio/io_context.hpp>
#include <asio/signal_set.hpp>
#include <csignal>
#include <system_error>

#include "client/client.hpp"

namespace kv::client {

// While it lives Ctrl-C interrupts the client's requests instead of ending the process.
class InterruptGuard {
 public:
  InterruptGuard(asio::io_context& io, Client& client) : before_(handler_now()), signals_(io, SIGINT) {
    signals_.async_wait([&client](std::error_code error, int) {
      if (!error) client.interrupt();
    });
  }
  ~InterruptGuard() {
    std::error_code ignored;
    signals_.clear(ignored);
    ::sigaction(SIGINT, &before_, nullptr);  // Asio would leave the default, not what was there
  }
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;

 private:
  static struct sigaction handler_now() {
    struct sigaction action {};
    ::sigaction(SIGINT, nullptr, &action);
    return action;
  }

  struct sigaction before_;
  asio::signal_set signals_;
};

}  // namespace kv::client
