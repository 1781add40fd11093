// The members that kvctl remembers, so that it finds the others when the default endpoint is down.
#include <unistd.h>

#include <asio/io_context.hpp>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "client/client.hpp"
#include "client/known_servers.hpp"
#include "client/run.hpp"
#include "tests/client_fake_server.hpp"

namespace {

using namespace kv;
using namespace kv::client;
using kv::client::test::closed_address;
using kv::client::test::cluster_a;
using kv::client::test::cluster_b;
using kv::client::test::FakeServer;
namespace fs = std::filesystem;

struct Folder {
  fs::path path = fs::temp_directory_path() / ("kv-known-" + std::to_string(::getpid()));
  Folder() { fs::remove_all(path); }
  ~Folder() { fs::remove_all(path); }
};

}  // namespace

TEST_CASE("known servers: what was saved is loaded, and the folder is made") {
  const Folder folder;
  const KnownServers known{cluster_a, {{"127.0.0.1", 7401}, {"::1", 7402}}};
  CHECK_FALSE(load_known_servers(folder.path));
  save_known_servers(folder.path, known);
  CHECK(load_known_servers(folder.path) == known);
  const auto written = fs::last_write_time(folder.path / "members");
  save_known_servers(folder.path, known);
  CHECK(fs::last_write_time(folder.path / "members") == written);
}

TEST_CASE("known servers: a file that is not right is as good as none") {
  const Folder folder;
  fs::create_directories(folder.path);
  for (const std::string text : {"", "kvctl members 2\n", "kvctl members 1\nno uuid\n127.0.0.1:1\n"}) {
    std::ofstream(folder.path / "members", std::ios::trunc) << text;
    CHECK_FALSE(load_known_servers(folder.path));
  }
  std::ofstream(folder.path / "members", std::ios::trunc) << "kvctl members 1\n" << cluster_a << "\nnowhere\n";
  CHECK_FALSE(load_known_servers(folder.path));
}

TEST_CASE("known servers: they are asked when the default endpoint is down, and only of the same cluster") {
  asio::io_context io;
  const bool same_cluster = GENERATE(true, false);
  FakeServer other(io, "n2");
  other.hello.cluster = same_cluster ? cluster_a : cluster_b;
  ClientOptions options;
  options.endpoints = {closed_address(io)};
  options.known = KnownServers{cluster_a, {other.address()}};
  Client client(io, std::move(options));
  const auto outcome = run(io, client.connect(client.new_call(std::chrono::milliseconds(2000))));
  CHECK(std::holds_alternative<Reply>(outcome) == same_cluster);
}
