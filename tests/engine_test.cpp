// The engine's threads and the kernel's writes: on a disk that is in memory and whose rooms come back when the test
// lets them, and on the real one.
#include "server/engine.hpp"

#include <sys/resource.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <functional>
#include <map>
#include <mutex>
#include <utility>

#include "server/recovery.hpp"
#include "tests/memory_directory.hpp"
#include "tests/temporary_folder.hpp"

using namespace kv;

namespace {

// A MemoryDirectory for several threads.
class SharedDirectory final : public Directory {
 public:
  std::string path() const override { return "shared"; }
  std::vector<std::string> list() override {
    return locked([&] { return inner_.list(); });
  }
  std::unique_ptr<File> create(const std::string& name) override {
    return locked([&] { return std::make_unique<SharedFile>(*this, inner_.create(name)); });
  }
  std::unique_ptr<File> open(const std::string& name) override {
    return locked([&] { return std::make_unique<SharedFile>(*this, inner_.open(name)); });
  }
  void rename(const std::string& from, const std::string& to) override {
    locked([&] { inner_.rename(from, to); });
  }
  void remove(const std::string& name) override {
    locked([&] { inner_.remove(name); });
  }
  std::unique_ptr<Remains> remove_gently(const std::string& name) override {
    return locked([&] {
      ++removed_gently_;
      return std::make_unique<SharedRemains>(*this, inner_.remove_gently(name));
    });
  }
  void sync() override {
    locked([&] { inner_.sync(); });
  }

  // ---- The test's

  // While it does not, whoever gives back a room waits.
  void give_back(bool gives) {
    const std::lock_guard lock(mutex_);
    gives_back_ = gives;
    changed_.notify_all();
  }
  void leave_no_room() {
    locked([&] { inner_.limit_space(inner_.used()); });
  }
  std::size_t removed_gently() {
    return locked([&] { return removed_gently_; });
  }
  // How often there was no room.
  std::size_t refusals() {
    return locked([&] { return refusals_; });
  }

 private:
  template <class Action>
  auto locked(const Action& action) -> decltype(action()) {
    const std::lock_guard lock(mutex_);
    try {
      return action();
    } catch (const FileError& error) {
      if (error.no_space()) ++refusals_;
      throw;
    }
  }

  class SharedFile final : public File {
   public:
    SharedFile(SharedDirectory& owner, std::unique_ptr<File> file) : owner_(owner), file_(std::move(file)) {}
    std::uint64_t size() override {
      return owner_.locked([&] { return file_->size(); });
    }
    std::size_t read_at(std::uint64_t offset, std::span<char> out) override {
      return owner_.locked([&] { return file_->read_at(offset, out); });
    }
    void write_at(std::uint64_t offset, std::string_view bytes) override {
      owner_.locked([&] { file_->write_at(offset, bytes); });
    }
    void allocate(std::uint64_t size) override {
      owner_.locked([&] { file_->allocate(size); });
    }
    void sync() override {
      owner_.locked([&] { file_->sync(); });
    }

   private:
    SharedDirectory& owner_;
    std::unique_ptr<File> file_;
  };

  class SharedRemains final : public Remains {
   public:
    SharedRemains(SharedDirectory& owner, std::unique_ptr<Remains> remains)
        : owner_(owner), remains_(std::move(remains)) {}
    ~SharedRemains() override {
      std::unique_lock lock(owner_.mutex_);
      owner_.changed_.wait(lock, [&] { return owner_.gives_back_; });
      remains_.reset();
    }

   private:
    SharedDirectory& owner_;
    std::unique_ptr<Remains> remains_;
  };

  MemoryDirectory inner_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool gives_back_ = true;
  std::size_t removed_gently_ = 0;
  std::size_t refusals_ = 0;
};

// A server alone, with one client.
class Server final : public PeerOutlet, public ClientOutlet {
 public:
  Server(Directory& disk, std::uint64_t segment_bytes) {
    Recovered recovered = recover(disk, WalOptions{segment_bytes}, {}, std::string(36, 'i'));
    ReplicaConfig config;
    config.self = {"n1", std::string(36, 'i'), "n1:7501", "n1:7401"};
    config.names = {"n1"};
    config.new_cluster = "cluster";
    config.heartbeat_ticks = 10;
    config.election_ticks = 100;
    auto replica = std::make_unique<Replica>(std::move(config), std::move(recovered.replica));
    engine_ = std::make_unique<Engine>(loop_, std::move(replica), std::move(recovered.wal),
                                       std::move(recovered.snapshots));
    engine_->connect(*this, *this, [this](const std::string& text) { failure = text; });
    engine_->start_ticking();
  }
  ~Server() override { shut_down(); }
  void shut_down() { engine_->shut_down(); }

  void run_until(const std::function<bool()>& condition) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!condition()) {
      REQUIRE(std::chrono::steady_clock::now() < end);
      REQUIRE(failure == "");
      loop_.run_one_for(std::chrono::milliseconds(10));
      was_full = was_full || engine_->replica().status().full;
    }
  }

  void run_until_failure() {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (failure.empty()) {
      REQUIRE(std::chrono::steady_clock::now() < end);
      loop_.run_one_for(std::chrono::milliseconds(10));
    }
  }

  std::uint64_t ask(decltype(message::Request::body) body) {
    engine_->replica().request(1, {++last_id_, 60'000, {}, std::move(body)});
    engine_->poke();
    return last_id_;
  }
  bool has(std::uint64_t id) const { return answers_.contains(id); }
  template <class Answer>
  bool has(std::uint64_t id) const {
    return has(id) && std::holds_alternative<Answer>(answers_.at(id));
  }

  std::uint64_t put(const std::string& key) { return ask(message::Put{key, std::string(900, 'v'), {}, {}}); }
  void put_all(int count) {
    for (int i = 0; i < count; ++i) {
      const std::uint64_t id = put("k" + std::to_string(i % 3));
      run_until([&] { return has(id); });
      REQUIRE(has<message::PutOk>(id));
    }
  }
  std::uint64_t snapshot() const { return engine_->replica().status().snapshot; }
  int keys() const { return static_cast<int>(engine_->replica().status().keys); }
  bool leads() const { return engine_->replica().raft().leads() && engine_->replica().applied() > 0; }

  void deliver(PeerMessage&&) override {}
  void deliver(ClientAnswer&& answer) override { answers_[*answer.answer.id] = std::move(answer.answer.body); }
  void flush() override {}

  bool was_full = false;
  std::string failure;  // that ended it

 private:
  asio::io_context loop_;
  std::unique_ptr<Engine> engine_;
  std::map<std::uint64_t, decltype(message::Answer::body)> answers_;
  std::uint64_t last_id_ = 0;
};

// On a disk whose segments hold one entry of 900 bytes.
struct InMemory {
  ~InMemory() { disk.give_back(true); }
  SharedDirectory disk;
  Server server{disk, 2048};
};

}  // namespace

TEST_CASE("engine: a disk is not called full while room is on its way back to it", "[engine]") {
  InMemory in_memory;
  SharedDirectory& disk = in_memory.disk;
  Server& server = in_memory.server;
  server.run_until([&] { return server.leads(); });
  server.put_all(8);
  server.ask(message::Backup{});
  server.run_until([&] { return server.snapshot() > 0; });
  const std::uint64_t first = server.snapshot();
  server.put_all(1);
  // From the second snapshot on the log up to the first one goes; its room does not come back yet.
  disk.give_back(false);
  server.ask(message::Backup{0, 0, 0});
  server.run_until([&] { return server.snapshot() > first; });
  // More writes than there are segments to be dropped, one with each.
  for (int i = 0; i < 20; ++i) {
    const std::uint64_t id = server.ask(message::Delete{"none", {}, {}});
    server.run_until([&] { return server.has(id); });
  }
  REQUIRE(disk.removed_gently() >= 6);
  disk.leave_no_room();

  // One takes the spare, and there is no room for another; the next one has to wait for a segment.
  std::uint64_t last = 0;
  while (disk.refusals() < 2) {
    last = server.put("more");
    server.run_until([&] { return server.has(last) || disk.refusals() >= 2; });
  }
  CHECK_FALSE(server.has(last));
  disk.give_back(true);
  server.run_until([&] { return server.has(last); });
  CHECK(server.has<message::PutOk>(last));
  server.put_all(2);
  CHECK_FALSE(server.was_full);
}

TEST_CASE("engine: snapshots go on while the room of older ones is given back", "[engine]") {
  InMemory in_memory;
  Server& server = in_memory.server;
  server.run_until([&] { return server.leads(); });
  in_memory.disk.give_back(false);
  // Two are kept: from the third on each one leaves a file whose room does not come back.
  for (int i = 0; i < 5; ++i) {
    const std::uint64_t before = server.snapshot();
    server.put_all(2);
    server.ask(message::Backup{});
    server.run_until([&] { return server.snapshot() > before; });
  }
  CHECK(in_memory.disk.removed_gently() >= 3);
}

TEST_CASE("engine: what is answered is on the real disk, over many segments and restarts", "[engine]") {
  TemporaryFolder folder;
  int written = 0;
  for (int restart = 0; restart < 3; ++restart) {
    auto disk = open_directory(folder.path());
    Server server(*disk, 64 << 10);
    server.run_until([&] { return server.leads(); });
    CHECK(server.keys() == std::min(written, 3));
    server.put_all(200);
    written += 200;
  }
  auto disk = open_directory(folder.path());
  Wal::Recovered recovered;
  const Wal wal(*disk, WalOptions{}, std::string(36, 'j'), recovered);
  CHECK(recovered.commit.value >= 600);
  CHECK(recovered.segments > 8);
}

TEST_CASE("engine: a disk error in a write that the kernel makes ends the server", "[engine]") {
  TemporaryFolder folder;
  auto disk = open_directory(folder.path());
  if (!disk->create("probe")->direct()) {
    WARN("no writes past the kernel\'s pages here");
    return;
  }
  Server server(*disk, 64 << 10);
  server.run_until([&] { return server.leads(); });
  server.put_all(10);

  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::uint64_t id = server.put("k");
  server.run_until_failure();
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK(server.failure == "cannot write " + folder.path() + "/0000000000000001.wal: File too large");
  CHECK_FALSE(server.has(id));
}
