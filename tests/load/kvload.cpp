// A load for measurements: scripts/measure_snapshots.sh.
//
//   kvload fill HOST:PORT KEYS [COUNT]          COUNT (default KEYS) pipelined PUTs to keys 0 to KEYS-1, each in
//   turn,
//                                               in an order without a pattern
//   kvload turns HOST:PORT KEYS RATE ROUNDS SNAPSHOT...
//                                               16 connections, each in a closed loop, send RATE PUTs a second in
//                                               all, while the servers at SNAPSHOT... take a snapshot at once, and
//                                               while they do not, in turns
//
// Keys have 16 bytes, values 100. A line of JSON on stdout says what came of it; times are in microseconds. A PUT's
// time counts from when it was due, so one that had to wait for the one before it is as late as its user would see
// it; `service` is counted from when it was really sent. Exit status 1, and a line on stderr, if anything goes
// wrong.
#include <algorithm>
#include <asio/co_spawn.hpp>
#include <asio/connect.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>
#include <asio/steady_timer.hpp>
#include <asio/use_awaitable.hpp>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <iostream>
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
using std::chrono::milliseconds;

constexpr std::size_t connections = 16;
constexpr std::size_t value_bytes = 100;
constexpr std::size_t filling_window = 64;  // PUTs under way on each connection
constexpr milliseconds warm_up{2000};
constexpr milliseconds settling{500};
// What taking a snapshot leaves behind, such as an older file that is deleted, belongs to it.
constexpr milliseconds aftermath{250};
constexpr milliseconds first_quiet{1000};
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

Address address_of(std::string_view text) {
  auto parsed = parse_address(text);
  if (const auto* error = std::get_if<AddressError>(&parsed)) throw LoadError(error->text);
  return std::get<Address>(std::move(parsed));
}

// The keys in an order without a pattern, in which each comes once before any comes again; and values that differ.
class Puts {
 public:
  explicit Puts(std::uint64_t keys) : keys_(keys) {
    while (keys_ % step_ == 0) step_ += 2;
  }

  message::Request next(std::uint64_t id) {
    at_ = (at_ + step_) % keys_;
    std::string key = std::to_string(at_);
    key.insert(0, 16 - key.size(), 'k');
    std::string value(value_bytes, ' ');
    for (char& c : value) c = static_cast<char>('a' + random() % 26);
    return {id, patience_ms, {}, message::Put{std::move(key), std::move(value), {}, {}}};
  }

 private:
  std::uint64_t random() {  // SplitMix64
    std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }

  std::uint64_t keys_;
  std::uint64_t step_ = 2'654'435'761;  // a prime
  std::uint64_t at_ = 0;
  std::uint64_t state_ = 1;
};

asio::awaitable<std::shared_ptr<Connection>> connect(Address address) {
  const auto executor = co_await asio::this_coro::executor;
  asio::ip::tcp::resolver resolver(executor);
  const auto found =
      co_await resolver.async_resolve(address.host, std::to_string(address.port), asio::use_awaitable);
  asio::ip::tcp::socket socket(executor);
  co_await asio::async_connect(socket, found, asio::use_awaitable);
  co_return std::make_shared<Connection>(std::move(socket), default_max_frame);
}

// The next answer, which must be an Expected.
template <class Expected>
asio::awaitable<message::Answer> receive(std::shared_ptr<Connection> connection) {
  std::string_view frame;
  for (;;) {
    const FrameReader::Result result = connection->frames().next(frame);
    if (result == FrameReader::Result::frame) break;
    if (result == FrameReader::Result::bad_length) throw LoadError("a frame of a bad length came");
    if (const std::error_code error = co_await connection->read()) throw LoadError(error.message());
  }
  auto decoded = message::decode_answer(frame);
  if (const auto* malformed = std::get_if<message::Malformed>(&decoded)) throw LoadError(malformed->text);
  auto& answer = std::get<message::Answer>(decoded);
  if (const auto* error = std::get_if<message::Error>(&answer.body)) {
    throw LoadError(std::string(message::name_of(error->code)) + ": " + error->message);
  }
  if (!std::holds_alternative<Expected>(answer.body)) throw LoadError("an answer of the wrong type came");
  co_return std::move(answer);
}

// ---- fill

struct Filling {
  Puts puts;
  std::uint64_t left = 0;
  std::uint64_t next_id = 1;
};

asio::awaitable<void> fill(Address address, Filling& filling) {
  const auto connection = co_await connect(address);
  for (std::uint64_t open = 0;;) {
    for (; open < filling_window && filling.left > 0; ++open, --filling.left) {
      connection->send(filling.puts.next(filling.next_id++));
    }
    connection->flush();
    if (open == 0) break;
    // All that have come, before more are sent.
    do {
      co_await receive<message::PutOk>(connection);
    } while (--open > filling_window / 2);
  }
  connection->close();
}

// ---- turns

struct Sample {
  Clock::time_point due;
  Clock::time_point sent;
  Clock::time_point done;
};

// Shared by all connections and by who decides what is measured.
struct Writing {
  Puts puts;
  Clock::duration interval;  // between the PUTs of one connection
  std::vector<Sample> samples;
  bool stop = false;
};

asio::awaitable<void> write_steadily(Address address, Writing& writing, std::size_t number) {
  const auto connection = co_await connect(address);
  asio::steady_timer timer(co_await asio::this_coro::executor);
  Clock::time_point due = Clock::now() + writing.interval * (number + 1) / connections;
  for (std::uint64_t id = 1; !writing.stop; ++id, due += writing.interval) {
    if (due > Clock::now()) {
      timer.expires_at(due);
      co_await timer.async_wait(asio::use_awaitable);
    }
    const Clock::time_point sent = Clock::now();
    connection->send(writing.puts.next(id));
    connection->flush();
    co_await receive<message::PutOk>(connection);
    writing.samples.push_back({due, sent, Clock::now()});
  }
  connection->close();
}

struct Snapshots {
  std::size_t open = 0;
  std::uint64_t bytes = 0;
};

// A fresh one, which is durable when this returns.
asio::awaitable<void> take_snapshot(Address address, Snapshots& snapshots) {
  const auto connection = co_await connect(address);
  connection->send(message::Request{1, patience_ms, {}, message::Backup{}});
  connection->flush();
  const message::Answer answer = co_await receive<message::BackupOk>(connection);
  snapshots.bytes = std::get<message::BackupOk>(answer.body).size;
  connection->close();
  --snapshots.open;
}

double microseconds(Clock::duration time) {
  return std::chrono::duration<double, std::micro>(time).count();
}

double share_of(const std::vector<double>& sorted, double share) {
  return sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1))];
}

// What was due in this time; all of it is done.
void print(const Writing& writing, std::uint64_t round, std::string_view phase, Clock::time_point begin,
           Clock::time_point end, Clock::duration snapshot, std::uint64_t bytes) {
  std::vector<double> times;
  std::vector<double> service;
  for (const Sample& sample : writing.samples) {
    if (sample.due < begin || sample.due >= end) continue;
    times.push_back(microseconds(sample.done - sample.due));
    service.push_back(microseconds(sample.done - sample.sent));
  }
  if (times.empty()) throw LoadError("nothing was answered in time");
  std::sort(times.begin(), times.end());
  std::sort(service.begin(), service.end());
  std::printf(
      "{\"round\":%llu,\"phase\":\"%.*s\",\"puts\":%zu,\"p50\":%.0f,\"p99\":%.0f,\"p99.9\":%.0f,\"max\":%.0f,"
      "\"service_p99.9\":%.0f,\"snapshot_us\":%.0f,\"snapshot_bytes\":%llu}\n",
      static_cast<unsigned long long>(round), static_cast<int>(phase.size()), phase.data(), times.size(),
      share_of(times, 0.5), share_of(times, 0.99), share_of(times, 0.999), times.back(), share_of(service, 0.999),
      microseconds(snapshot), static_cast<unsigned long long>(bytes));
  std::fflush(stdout);
}

asio::awaitable<void> pause(Clock::duration time) {
  asio::steady_timer timer(co_await asio::this_coro::executor, time);
  co_await timer.async_wait(asio::use_awaitable);
}

void rethrow(std::exception_ptr error) {
  if (error) std::rethrow_exception(error);
}

asio::awaitable<void> take_turns(std::vector<Address> addresses, Writing& writing, std::uint64_t rounds) {
  const auto executor = co_await asio::this_coro::executor;
  co_await pause(warm_up);
  Clock::duration quiet = first_quiet;
  for (std::uint64_t round = 0; round <= rounds; ++round) {
    const Clock::time_point before = Clock::now();
    co_await pause(quiet);
    const Clock::time_point quiet_end = Clock::now();
    co_await pause(settling);  // also: what was due before is done now

    Snapshots snapshots{addresses.size()};
    const Clock::time_point begin = Clock::now();
    for (const Address& address : addresses) asio::co_spawn(executor, take_snapshot(address, snapshots), rethrow);
    while (snapshots.open > 0) co_await pause(milliseconds(5));
    const Clock::duration took = Clock::now() - begin;
    co_await pause(aftermath);
    const Clock::time_point end = Clock::now();
    co_await pause(settling);
    // The first round warms up what the snapshots need, and says how long they take: as long is it quiet then.
    quiet = end - begin;
    if (round == 0) continue;
    print(writing, round, "quiet", before, quiet_end, {}, 0);
    print(writing, round, "snapshot", begin, end, took, snapshots.bytes);
    writing.samples.clear();
  }
  writing.stop = true;
}

int run(const std::vector<std::string>& words) {
  asio::io_context loop(1);
  if (words.size() >= 3 && words.size() <= 4 && words[0] == "fill") {
    const std::uint64_t keys = number_of(words[2]);
    Filling filling{Puts(keys), words.size() == 4 ? number_of(words[3]) : keys};
    const Clock::time_point begin = Clock::now();
    const std::uint64_t count = filling.left;
    for (std::size_t i = 0; i < connections; ++i) {
      asio::co_spawn(loop, fill(address_of(words[1]), filling), rethrow);
    }
    loop.run();
    std::printf("{\"puts\":%llu,\"us\":%.0f}\n", static_cast<unsigned long long>(count),
                microseconds(Clock::now() - begin));
    return 0;
  }
  if (words.size() >= 6 && words[0] == "turns") {
    const auto rate = static_cast<double>(number_of(words[3]));
    const std::chrono::duration<double> interval(static_cast<double>(connections) / rate);
    Writing writing{Puts(number_of(words[2])), std::chrono::duration_cast<Clock::duration>(interval), {}};
    std::vector<Address> addresses;
    for (std::size_t i = 5; i < words.size(); ++i) addresses.push_back(address_of(words[i]));
    for (std::size_t i = 0; i < connections; ++i) {
      asio::co_spawn(loop, write_steadily(address_of(words[1]), writing, i), rethrow);
    }
    asio::co_spawn(loop, take_turns(std::move(addresses), writing, number_of(words[4])), rethrow);
    loop.run();
    return 0;
  }
  std::cerr << "usage: kvload fill HOST:PORT KEYS [COUNT] | kvload turns HOST:PORT KEYS RATE ROUNDS SNAPSHOT...\n";
  return 2;
}

}  // namespace
}  // namespace kv

int main(int argc, char** argv) {
  try {
    return kv::run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::cerr << "kvload: " << error.what() << "\n";
    return 1;
  }
}
