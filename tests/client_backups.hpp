// Backups for tests: bytes as a server would send them, whole ones and others, and a folder to keep them in.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <utility>
#include <vector>

#include "common/snapshot_format.hpp"
#include "server/command.hpp"
#include "tests/client_fake_server.hpp"

namespace kv::client::test {

struct BackupItem {
  std::string key;
  std::string value;
  std::uint64_t ts = 1;
};

struct BackupContent {
  snapshot::Header header{58, 3};
  command::Members members{
      cluster_a,
      {{"n1", "identity 1", "host1:7501", "host1:7401"}, {"n2", "identity 2", "host2:7501", "host2:7401"}}};
  std::vector<BackupItem> items = {
      {"bin", std::string("\xff\x00z", 3), 7}, {"colour", "blue", 58}, {"shape", "a\nb", 9}};
  std::vector<std::string> sessions = {"s1", "s2"};
};

inline snapshot::Totals totals_of(const BackupContent& content) {
  snapshot::Totals totals;
  for (const BackupItem& item : content.items) {
    ++totals.keys;
    totals.bytes += item.key.size() + item.value.size();
    totals.digest += snapshot::item_digest(item.key, item.value, item.ts);
  }
  return totals;
}

// Each record is a block of its own.
inline std::string bytes_of_backup(const std::vector<std::string>& records, snapshot::Header header,
                                   snapshot::Totals totals) {
  snapshot::Writer writer(header);
  std::string bytes = writer.begin();
  for (const std::string& record : records) bytes += writer.begin_block(record) + record;
  writer.append_end(totals, bytes);
  return bytes;
}

inline std::vector<std::string> records_of_backup(const BackupContent& content) {
  std::vector<std::string> records(1);
  const std::string members = command::encode(content.members);
  snapshot::append_record(records.back(), snapshot::State{members, 4});
  for (const BackupItem& item : content.items) {
    snapshot::append_record(records.emplace_back(), snapshot::Item{item.ts, item.key, item.value});
  }
  for (const std::string& id : content.sessions) {
    const snapshot::Session session{id, 5, 1, {{2, snapshot::Kind::written, 5}}};
    snapshot::append_record(records.emplace_back(), session);
  }
  snapshot::append_record(records.emplace_back(), snapshot::DeletionsFloor{1});
  snapshot::append_record(records.emplace_back(), snapshot::Deletion{6, "gone"});
  return records;
}

inline std::string bytes_of_backup(const BackupContent& content = {}) {
  return bytes_of_backup(records_of_backup(content), content.header, totals_of(content));
}

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "kvctl-test-XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TemporaryFolder() { std::filesystem::remove_all(path_); }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string file(const std::string& name) const { return (path_ / name).string(); }
  std::string write(const std::string& name, const std::string& bytes) const {
    std::ofstream(path_ / name, std::ios::binary) << bytes;
    return file(name);
  }
  std::string read(const std::string& name) const {
    std::ifstream in(path_ / name, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path_), {}));
  }

 private:
  std::filesystem::path path_;
};

}  // namespace kv::client::test
