// A load of watches for measurements: scripts/measure_watches.sh.
//
//   kvwatch HOST:PORT WATCHERS CHANGES ROUNDS
//
// WATCHERS connections watch one prefix while another one writes CHANGES keys below it, in ROUNDS rounds by turns
// with a connection more that watches and never reads, and without. Each watcher checks that it gets every change
// once and in order. A line of JSON for each round on stdout: how many events were delivered a second, from the
// first PUT to the last event, and the microseconds of a GET that another connection sends again and again
// meanwhile. Keys have 16 bytes, values 100. Exit status 1, and a line on stderr, if anything goes wrong.
#include <algorithm>
#include <asio/co_spawn.hpp>
#include <asio/connect.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/this_coro.hpp>
#include <asio/use_awaitable.hpp>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "common/address.hpp"
#include "common/connection.hpp"
#include "common/message.hpp"

namespace kv {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t value_bytes = 100;
constexpr std::size_t window = 256;  // PUTs under way
constexpr std::uint64_t patience_ms = 60'000;

class LoadError : public std::runtime_error {
  using runtime_error::runtime_error;
};

std::uint64_t number_of(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number == 0) {
    throw LoadError("'" + std::string(text) + "' is not a number from 1 on");
  }
  return number;
}

asio::awaitable<std::shared_ptr<Connection>> connect(Address address) {
  const auto executor = co_await asio::this_coro::executor;
  asio::ip::tcp::resolver resolver(executor);
  const auto found =
      co_await resolver.async_resolve(address.host, std::to_string(address.port), asio::use_awaitable);
  asio::ip::tcp::socket socket(executor);
  co_await asio::async_connect(socket, found, asio::use_awaitable);
  co_return std::make_shared<Connection>(std::move(socket), default_max_frame);
}

asio::awaitable<std::string_view> next_frame(std::shared_ptr<Connection> connection) {
  std::string_view frame;
  for (;;) {
    const FrameReader::Result result = connection->frames().next(frame);
    if (result == FrameReader::Result::frame) co_return frame;
    if (result == FrameReader::Result::bad_length) throw LoadError("a frame of a bad length came");
    if (const std::error_code error = co_await connection->read()) throw LoadError(error.message());
  }
}

template <class Expected>
Expected decode(std::string_view frame) {
  auto decoded = message::decode_answer(frame);
  if (const auto* malformed = std::get_if<message::Malformed>(&decoded)) throw LoadError(malformed->text);
  auto& answer = std::get<message::Answer>(decoded);
  if (const auto* error = std::get_if<message::Error>(&answer.body)) {
    throw LoadError(std::string(message::name_of(error->code)) + ": " + error->message);
  }
  auto* expected = std::get_if<Expected>(&answer.body);
  if (!expected) throw LoadError("an answer of the wrong type came");
  return std::move(*expected);
}

template <class Expected>
asio::awaitable<Expected> ask(std::shared_ptr<Connection> connection, message::Request request) {
  connection->send(request);
  connection->flush();
  const std::string_view frame = co_await next_frame(connection);
  co_return decode<Expected>(frame);
}

std::string key_of(std::uint64_t number) {
  std::string key = std::to_string(number);
  key.insert(0, 10 - key.size(), '0');
  return "watch/" + key;
}

message::Request watch_all() {
  return {1, patience_ms, {}, message::Watch{{}, "watch/", {}}};
}
message::Request put(std::uint64_t number) {
  return {number, patience_ms, {}, message::Put{key_of(number), std::string(value_bytes, 'v'), {}, {}}};
}
message::Request get_locally() {
  return {1, patience_ms, {}, message::Get{"absent", 0, message::Consistency::local, {}}};
}

// The ts at an EVENT's end, without decoding all of it: thousands of these come in each ms.
std::uint64_t ts_of(std::string_view frame) {
  constexpr std::string_view name = "\"ts\":";
  const std::size_t at = frame.rfind(name);
  std::uint64_t ts = 0;
  if (!frame.starts_with(R"({"type":"EVENT",)") || at == frame.npos) {
    decode<message::Event>(frame);
    throw LoadError("an EVENT without a ts came");
  }
  std::from_chars(frame.data() + at + name.size(), frame.data() + frame.size(), ts);
  return ts;
}

// What all coroutines of a round share; it outlives them.
struct Round {
  Address address;
  std::uint64_t changes = 0;
  std::vector<std::uint64_t> written;  // the ts of each change
  std::size_t watching = 0;
  std::size_t finished = 0;
  std::vector<double> get_us;
  std::exception_ptr failed;
};

// Checks what it gets against what the writer was told at the end; until then it keeps what is needed for that.
asio::awaitable<void> watch(Round& round) {
  auto connection = co_await connect(round.address);
  const message::Request request = watch_all();
  co_await ask<message::WatchOk>(connection, request);
  ++round.watching;
  std::vector<std::uint64_t> seen;
  seen.reserve(round.changes);
  while (seen.size() < round.changes) {
    const std::string_view frame = co_await next_frame(connection);
    const std::uint64_t ts = ts_of(frame);
    if (!seen.empty() && ts <= seen.back()) throw LoadError("an event came twice or out of order");
    seen.push_back(ts);
  }
  ++round.finished;
  // The last event may overtake its PUT_OK.
  if (round.written.size() == round.changes && seen != round.written) throw LoadError("an event is missing");
}

asio::awaitable<void> watch_and_never_read(Round& round, std::shared_ptr<Connection>& kept) {
  kept = co_await connect(round.address);
  const message::Request request = watch_all();
  co_await ask<message::WatchOk>(kept, request);
  ++round.watching;
}

asio::awaitable<void> write(Round& round) {
  auto connection = co_await connect(round.address);
  std::uint64_t sent = 0;
  while (round.written.size() < round.changes) {
    for (; sent < round.changes && sent < round.written.size() + window; ++sent) {
      connection->send(put(sent));
    }
    connection->flush();
    const std::string_view frame = co_await next_frame(connection);
    round.written.push_back(decode<message::PutOk>(frame).ts);
  }
}

asio::awaitable<void> read_meanwhile(Round& round, std::size_t watchers) {
  auto connection = co_await connect(round.address);
  const message::Request request = get_locally();
  while (round.finished < watchers && !round.failed) {
    const auto begin = Clock::now();
    co_await ask<message::GetOk>(connection, request);
    round.get_us.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begin).count());
  }
}

double percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  const auto at = static_cast<std::size_t>(share * static_cast<double>(values.size() - 1));
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
  return values[at];
}

void run_until(asio::io_context& loop, const Round& round, auto&& condition) {
  while (!condition()) {
    if (loop.run_one_for(std::chrono::milliseconds(patience_ms)) == 0) throw LoadError("nothing came for a minute");
    if (round.failed) std::rethrow_exception(round.failed);
  }
}

void run_round(const Address& address, std::size_t watchers, std::uint64_t changes, bool with_slow_one) {
  asio::io_context loop;
  Round round{address, changes, {}, 0, 0, {}, {}};
  const auto note = [&](std::exception_ptr error) {
    if (error && !round.failed) round.failed = error;
  };
  std::shared_ptr<Connection> slow;
  if (with_slow_one) asio::co_spawn(loop, watch_and_never_read(round, slow), note);
  for (std::size_t i = 0; i < watchers; ++i) asio::co_spawn(loop, watch(round), note);
  run_until(loop, round, [&] { return round.watching == watchers + (with_slow_one ? 1 : 0); });

  const auto begin = Clock::now();
  asio::co_spawn(loop, write(round), note);
  asio::co_spawn(loop, read_meanwhile(round, watchers), note);
  run_until(loop, round, [&] { return round.finished == watchers && round.written.size() == changes; });
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  std::printf(
      "{\"watchers\":%zu,\"slow\":%d,\"changes\":%llu,\"seconds\":%.3f,\"deliveries_per_second\":%.0f,"
      "\"get_p50_us\":%.0f,\"get_p99_us\":%.0f}\n",
      watchers, with_slow_one ? 1 : 0, static_cast<unsigned long long>(changes), seconds,
      static_cast<double>(watchers * changes) / seconds, percentile(round.get_us, 0.5),
      percentile(round.get_us, 0.99));
  std::fflush(stdout);
}

int run(const std::vector<std::string>& words) {
  if (words.size() != 4) throw LoadError("kvwatch HOST:PORT WATCHERS CHANGES ROUNDS");
  auto address = parse_address(words[0]);
  if (const auto* error = std::get_if<AddressError>(&address)) throw LoadError(error->text);
  for (std::uint64_t round = 0; round < 2 * number_of(words[3]); ++round) {
    run_round(std::get<Address>(address), number_of(words[1]), number_of(words[2]), round % 2 == 1);
  }
  return 0;
}

}  // namespace
}  // namespace kv

int main(int count, char** words) {
  try {
    return kv::run({words + 1, words + count});
  } catch (const std::exception& error) {
    std::fprintf(stderr, "kvwatch: %s\n", error.what());
    return 1;
  }
}
