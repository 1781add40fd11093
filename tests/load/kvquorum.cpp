// The barest writes that keep kvd's promise: kvquorum DIR CONNECTIONS PIPELINE SECONDS
// One process each for the clients, a leader and two followers. A request is 128 bytes, an answer 48. The leader
// takes what has come from all connections, sends it to both followers, writes and syncs it to its own file, waits
// for one follower to have done so too, and answers: no parsing, no log, no store, no elections. What a server with
// the same promise does beside that, it does on top. Prints one line of JSON: answers a second.
// With - as DIR it answers at once, without followers and files: the barest reads.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t request_bytes = 128;
constexpr std::size_t answer_bytes = 48;
constexpr std::size_t entry_bytes = 160;  // what a request is in a log and between servers
constexpr off_t file_bytes = 64 << 20;
constexpr std::size_t buffer_bytes = 1 << 20;

template <typename T>
T checked(T result, const char* what) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), what);
  return result;
}

void send_all(int socket, const char* bytes, std::size_t size) {
  while (size > 0) {
    const auto sent = static_cast<std::size_t>(checked(::send(socket, bytes, size, MSG_NOSIGNAL), "send"));
    bytes += sent;
    size -= sent;
  }
}

// How many came; 0 if nothing is there.
std::size_t receive(int socket, char* bytes, std::size_t size, int flags) {
  const ssize_t got = ::recv(socket, bytes, size, flags);
  if (got < 0 && errno == EAGAIN) return 0;
  if (checked(got, "recv") == 0) throw std::runtime_error("the other end has closed");
  return static_cast<std::size_t>(got);
}

// A listener on a port that is free.
int listen_on_loopback(sockaddr_in& address) {
  const int listener = checked(::socket(AF_INET, SOCK_STREAM, 0), "socket");
  address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  checked(::bind(listener, reinterpret_cast<sockaddr*>(&address), size), "bind");
  checked(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), "getsockname");
  checked(::listen(listener, 4096), "listen");
  return listener;
}

int without_delay(int socket) {
  const int on = 1;
  checked(::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "setsockopt");
  return socket;
}

int connect_to(const sockaddr_in& address) {
  const int socket = checked(::socket(AF_INET, SOCK_STREAM, 0), "socket");
  checked(::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address), "connect");
  return without_delay(socket);
}

class File {
 public:
  explicit File(const std::string& path) : fd_(checked(::open(path.c_str(), O_RDWR | O_CREAT, 0600), "open")) {
    ::unlink(path.c_str());
    const std::string zeros(buffer_bytes, '\0');
    for (off_t at = 0; at < file_bytes; at += buffer_bytes) {
      checked(::pwrite(fd_, zeros.data(), zeros.size(), at), "pwrite");
    }
    checked(::fsync(fd_), "fsync");
  }

  void append_and_sync(const char* bytes, std::size_t size) {
    if (at_ + static_cast<off_t>(size) > file_bytes) at_ = 0;
    checked(::pwrite(fd_, bytes, size, at_), "pwrite");
    checked(::fdatasync(fd_), "fdatasync");
    at_ += static_cast<off_t>(size);
  }

 private:
  int fd_;
  off_t at_ = 0;
};

class Ready {
 public:
  void add(int socket) {
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.fd = socket;
    checked(::epoll_ctl(epoll_, EPOLL_CTL_ADD, socket, &event), "epoll_ctl");
  }

  template <typename Each>
  void wait(int timeout_ms, Each each) {
    const int count = ::epoll_wait(epoll_, events_.data(), static_cast<int>(events_.size()), timeout_ms);
    for (int i = 0; i < count; ++i) each(events_[static_cast<std::size_t>(i)].data.fd);
  }

 private:
  int epoll_ = checked(::epoll_create1(0), "epoll_create1");
  std::array<epoll_event, 1024> events_{};
};

// Syncs what has come and answers with how many bytes that was.
[[noreturn]] void follow(int leader, const std::string& path) {
  File file(path);
  std::vector<char> buffer(buffer_bytes);
  for (;;) {
    const std::uint64_t got = receive(leader, buffer.data(), buffer.size(), 0);
    file.append_and_sync(buffer.data(), got);
    send_all(leader, reinterpret_cast<const char*>(&got), sizeof got);
  }
}

struct Follower {
  int socket;
  std::uint64_t durable = 0;  // bytes in all

  void read_answers(int flags) {
    std::array<std::uint64_t, 64> answers{};
    const std::size_t got = receive(socket, reinterpret_cast<char*>(answers.data()), sizeof answers, flags);
    for (std::size_t i = 0; i < got / sizeof answers[0]; ++i) durable += answers[i];
  }
};

[[noreturn]] void lead(const std::vector<int>& clients, std::array<Follower, 2> followers,
                       const std::string& path) {
  File file(path);
  Ready ready;
  Ready acknowledged;
  for (const int client : clients) ready.add(client);
  for (const Follower& follower : followers) acknowledged.add(follower.socket);
  std::vector<char> in(buffer_bytes);
  std::vector<char> batch(buffer_bytes);
  std::vector<std::pair<int, std::size_t>> asked;
  std::uint64_t sent = 0;
  for (;;) {
    std::size_t requests = 0;
    asked.clear();
    ready.wait(-1, [&](int client) {
      asked.emplace_back(client, receive(client, in.data(), in.size(), 0) / request_bytes);
      requests += asked.back().second;
    });
    const std::size_t size = requests * entry_bytes;
    for (const Follower& follower : followers) send_all(follower.socket, batch.data(), size);
    sent += size;
    file.append_and_sync(batch.data(), size);
    while (followers[0].durable < sent && followers[1].durable < sent) {
      acknowledged.wait(-1, [&](int socket) { followers[socket == followers[0].socket ? 0 : 1].read_answers(0); });
    }
    for (const auto& [client, count] : asked) send_all(client, batch.data(), count * answer_bytes);
  }
}

[[noreturn]] void answer(const std::vector<int>& clients) {
  Ready ready;
  for (const int client : clients) ready.add(client);
  std::vector<char> in(buffer_bytes);
  std::vector<char> out(buffer_bytes);
  for (;;) {
    ready.wait(-1, [&](int client) {
      const std::size_t count = receive(client, in.data(), in.size(), 0) / request_bytes;
      send_all(client, out.data(), count * answer_bytes);
    });
  }
}

double load(const std::vector<int>& sockets, std::size_t pipeline, double seconds) {
  Ready ready;
  std::vector<char> buffer(buffer_bytes);
  for (const int socket : sockets) {
    ready.add(socket);
    send_all(socket, buffer.data(), pipeline * request_bytes);
  }
  std::uint64_t answers = 0;
  const auto begin = Clock::now();
  std::chrono::duration<double> took{};
  while (took.count() < seconds) {
    ready.wait(1000, [&](int socket) {
      const std::size_t count = receive(socket, buffer.data(), buffer.size(), 0) / answer_bytes;
      answers += count;
      send_all(socket, buffer.data(), count * request_bytes);
    });
    took = Clock::now() - begin;
  }
  return static_cast<double>(answers) / took.count();
}

// A child that ends with this process.
template <typename Work>
pid_t start(Work work) {
  const pid_t child = checked(::fork(), "fork");
  if (child != 0) return child;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  try {
    work();
  } catch (const std::exception&) {
    ::_exit(1);
  }
  ::_exit(0);
}

std::pair<int, int> connected_pair() {
  sockaddr_in address;
  const int listener = listen_on_loopback(address);
  const int here = connect_to(address);
  const int there = without_delay(checked(::accept(listener, nullptr, nullptr), "accept"));
  ::close(listener);
  return {here, there};
}

double measure(const std::string& folder, std::size_t connections, std::size_t pipeline, double seconds) {
  std::vector<pid_t> children;
  std::array<Follower, 2> followers{};
  const bool writes = folder != "-";
  for (std::size_t i = 0; writes && i < followers.size(); ++i) {
    const auto [here, there] = connected_pair();
    followers[i].socket = here;
    const std::string path = folder + "/follower-" + std::to_string(i);
    children.push_back(start([leader = there, &path] { follow(leader, path); }));
    ::close(there);
  }
  std::vector<int> ours;
  std::vector<int> leaders;
  for (std::size_t i = 0; i < connections; ++i) {
    const auto [here, there] = connected_pair();
    ours.push_back(here);
    leaders.push_back(there);
  }
  children.push_back(start([&] {
    if (writes) lead(leaders, followers, folder + "/leader");
    answer(leaders);
  }));
  for (const int socket : leaders) ::close(socket);
  load(ours, pipeline, seconds / 3);  // to warm up
  const double rate = load(ours, pipeline, seconds);
  for (const pid_t child : children) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
  }
  return rate;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 5) throw std::invalid_argument("kvquorum DIR CONNECTIONS PIPELINE SECONDS");
  std::printf("{\"per_second\":%.0f}\n",
              measure(argv[1], std::stoul(argv[2]), std::stoul(argv[3]), std::stod(argv[4])));
} catch (const std::exception& error) {
  std::fprintf(stderr, "kvquorum: %s\n", error.what());
  return 1;
}
