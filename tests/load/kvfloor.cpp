// What no server can be faster than on this machine, to be measured beside one: kvfloor DIR SECONDS
// Prints one line of JSON, in µs at p50: a write and fdatasync of 4 KiB alone; the first, the second and the third
// to be done of three at once, each in a file of its own; a round trip of 128 bytes over loopback TCP between two
// threads.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <asio.hpp>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

namespace {

using asio::ip::tcp;
using Clock = std::chrono::steady_clock;
using Micros = std::vector<double>;

constexpr std::size_t block_bytes = 4096;
constexpr std::size_t message_bytes = 128;
constexpr off_t file_bytes = 16 << 20;

double since(Clock::time_point begin) {
  return std::chrono::duration<double, std::micro>(Clock::now() - begin).count();
}

double p50(Micros& samples) {
  if (samples.empty()) return 0;
  const auto middle = samples.begin() + static_cast<std::ptrdiff_t>(samples.size() / 2);
  std::nth_element(samples.begin(), middle, samples.end());
  return *middle;
}

// A file with room ahead, as a log has it.
class File {
 public:
  explicit File(const std::filesystem::path& path)
      : path_(path), fd_(::open(path.c_str(), O_RDWR | O_CREAT, 0600)) {
    if (fd_ < 0 || ::posix_fallocate(fd_, 0, file_bytes) != 0 || ::fsync(fd_) != 0) fail();
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    ::close(fd_);
    std::filesystem::remove(path_);
  }

  double write_and_sync() {
    const auto begin = Clock::now();
    if (::pwrite(fd_, block_.data(), block_.size(), at_) != static_cast<ssize_t>(block_.size())) fail();
    if (::fdatasync(fd_) != 0) fail();
    at_ = (at_ + static_cast<off_t>(block_bytes)) % file_bytes;
    return since(begin);
  }

 private:
  [[noreturn]] void fail() const { throw std::system_error(errno, std::generic_category(), path_.string()); }

  std::filesystem::path path_;
  int fd_;
  off_t at_ = 0;
  std::array<char, block_bytes> block_{};
};

double alone(const std::filesystem::path& folder, double seconds) {
  File file(folder / "floor-0");
  Micros samples;
  for (const auto begin = Clock::now(); since(begin) < seconds * 1e6;) samples.push_back(file.write_and_sync());
  return p50(samples);
}

// The three in the order in which they were done.
std::array<double, 3> three(const std::filesystem::path& folder, double seconds) {
  std::array<double, 3> took{};
  std::array<Micros, 3> samples;
  bool more = true;
  const auto begin = Clock::now();
  std::barrier start(3);
  std::barrier end(3, [&]() noexcept {
    std::sort(took.begin(), took.end());
    for (std::size_t i = 0; i < took.size(); ++i) samples[i].push_back(took[i]);
    more = since(begin) < seconds * 1e6;
  });
  const auto one = [&](std::size_t i) {
    File file(folder / ("floor-" + std::to_string(i)));
    while (more) {
      start.arrive_and_wait();
      took[i] = file.write_and_sync();
      end.arrive_and_wait();
    }
  };
  std::vector<std::jthread> threads;
  for (std::size_t i = 0; i < took.size(); ++i) threads.emplace_back(one, i);
  threads.clear();
  return {p50(samples[0]), p50(samples[1]), p50(samples[2])};
}

double round_trip(double seconds) {
  asio::io_context context;
  tcp::acceptor acceptor(context, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  tcp::socket here(context);
  here.connect(acceptor.local_endpoint());
  tcp::socket there = acceptor.accept();
  here.set_option(tcp::no_delay(true));
  there.set_option(tcp::no_delay(true));
  const std::jthread echo([&] {
    std::array<char, message_bytes> bytes{};
    asio::error_code error;
    while (!error) {
      asio::read(there, asio::buffer(bytes), error);
      if (!error) asio::write(there, asio::buffer(bytes), error);
    }
  });
  std::array<char, message_bytes> bytes{};
  Micros samples;
  for (const auto begin = Clock::now(); since(begin) < seconds * 1e6;) {
    const auto sent = Clock::now();
    asio::write(here, asio::buffer(bytes));
    asio::read(here, asio::buffer(bytes));
    samples.push_back(since(sent));
  }
  here.close();
  return p50(samples);
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 3) throw std::invalid_argument("kvfloor DIR SECONDS");
  const std::filesystem::path folder = argv[1];
  const double seconds = std::stod(argv[2]);
  const double sync = alone(folder, seconds);
  const auto [first, second, third] = three(folder, seconds);
  std::printf("{\"sync\":%.1f,\"first\":%.1f,\"second\":%.1f,\"third\":%.1f,\"round_trip\":%.1f}\n", sync, first,
              second, third, round_trip(seconds));
} catch (const std::exception& error) {
  std::fprintf(stderr, "kvfloor: %s\n", error.what());
  return 1;
}
