// Runs one coroutine to its end on an io_context, from outside of it: what main, the shell and tests need.
#pragma once

#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/io_context.hpp>
#include <exception>
#include <optional>
#include <stdexcept>
#include <utility>

namespace kv::client {

// Other handlers of the io_context run meanwhile. Rethrows what the coroutine throws.
template <class T>
T run(asio::io_context& io, asio::awaitable<T> work) {
  std::exception_ptr failed;
  std::optional<T> result;
  asio::co_spawn(io, std::move(work), [&](std::exception_ptr error, T value) {
    failed = error;
    result.emplace(std::move(value));
    io.stop();
  });
  // Not run_one() again and again: Asio keeps what handlers need for the next ones only within a run().
  while (!result) {
    io.restart();
    if (io.run() == 0 && !result) throw std::logic_error("a coroutine waits for nothing");
  }
  io.restart();
  if (failed) std::rethrow_exception(failed);
  return std::move(*result);
}

}  // namespace kv::client
