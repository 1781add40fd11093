#include "client/known_servers.hpp"

#include <unistd.h>

#include <fstream>
#include <system_error>
#include <variant>

#include "common/text.hpp"

namespace kv::client {
namespace {

constexpr const char* first_line = "kvctl members 1";  // with the format's version
constexpr std::size_t max_members = 64;

std::filesystem::path file_in(const std::filesystem::path& directory) {
  return directory / "members";
}

}  // namespace

std::optional<KnownServers> load_known_servers(const std::filesystem::path& directory) {
  std::ifstream file(file_in(directory));
  std::string line;
  KnownServers known;
  if (!std::getline(file, line) || line != first_line) return std::nullopt;
  if (!std::getline(file, known.cluster) || !is_uuid(known.cluster)) return std::nullopt;
  while (known.members.size() < max_members && std::getline(file, line)) {
    const auto address = parse_address(line);
    if (!std::holds_alternative<Address>(address)) return std::nullopt;
    known.members.push_back(std::get<Address>(address));
  }
  return known;
}

void save_known_servers(const std::filesystem::path& directory, const KnownServers& known) {
  if (known.members.empty() || known.members.size() > max_members || load_known_servers(directory) == known) return;
  std::error_code ignored;
  std::filesystem::create_directories(directory, ignored);
  // Renamed into place, so that another kvctl reads the old file or the new one and never half of it.
  const std::filesystem::path fresh = file_in(directory).string() + "." + std::to_string(::getpid());
  {
    std::ofstream file(fresh, std::ios::trunc);
    file << first_line << "\n" << known.cluster << "\n";
    for (const Address& address : known.members) file << address.text() << "\n";
    file.flush();
    if (!file) {
      std::filesystem::remove(fresh, ignored);
      return;
    }
  }
  std::filesystem::rename(fresh, file_in(directory), ignored);
}

}  // namespace kv::client
