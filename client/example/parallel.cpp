// The same with Asio's coroutines, several requests at a time: kvd-example-parallel HOST:PORT…
#include <asio/awaitable.hpp>
#include <asio/co_spawn.hpp>
#include <asio/experimental/awaitable_operators.hpp>
#include <asio/io_context.hpp>
#include <exception>
#include <iostream>
#include <kvd/async_client.hpp>

namespace {

using namespace asio::experimental::awaitable_operators;

asio::awaitable<void> work(asio::io_context& io, kvd::Options options) {
  // When it ends its connections are closed, and so io.run() returns.
  kvd::AsyncClient client(io, options);
  co_await (client.put("left", "1") && client.put("right", "2"));
  const auto [left, right] = co_await (client.get("left") && client.get("right"));
  std::cout << "left " << left.value().value.value_or("?") << ", right " << right.value().value.value_or("?")
            << "\n";

  // Waits for what somebody else writes next, at most a moment.
  kvd::ReadOptions next;
  next.newer_than = left->ts;
  next.timeout = std::chrono::seconds(5);
  const auto [changed, put] = co_await (client.get("left", next) && client.put("left", "3"));
  std::cout << "then left " << changed.value().value.value_or("?") << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  try {
    kvd::Options options;
    if (argc > 1) options.endpoints.assign(argv + 1, argv + argc);
    asio::io_context io(1);
    asio::co_spawn(io, work(io, options), [](std::exception_ptr failed) {
      if (failed) std::rethrow_exception(failed);
    });
    io.run();
    return 0;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
