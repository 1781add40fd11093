// A Directory in memory, for tests of what is written through one: it knows what would be left after a crash,
// counts, and fails when told to. (The simulator's disk, with delays and faults of its own, is another.)
#pragma once

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "server/file.hpp"

namespace kv {

class MemoryDirectory final : public Directory {
 public:
  using Image = std::map<std::string, std::string>;  // file name -> bytes

  // What outlives a crash of the machine, of what was not synced.
  enum class Kept {
    everything,  // and so after kill -9, which the kernel's memory survives
    nothing,
    names_only,  // creations, renamings and removals, but not the files' new bytes
  };

  std::string path() const override { return "memory"; }

  std::vector<std::string> list() override {
    std::vector<std::string> names;
    for (const auto& [name, data] : disk_->names) names.push_back(name);
    return names;
  }

  std::unique_ptr<File> create(const std::string& name) override {
    disk_->change("create", name);
    if (disk_->names.count(name) != 0) throw FileError("create", name, EEXIST);
    disk_->names[name] = std::make_shared<Data>();
    return open(name);
  }

  std::unique_ptr<File> open(const std::string& name) override {
    const auto found = disk_->names.find(name);
    if (found == disk_->names.end()) throw FileError("open", name, ENOENT);
    return std::make_unique<MemoryFile>(disk_, found->second, name);
  }

  void rename(const std::string& from, const std::string& to) override {
    disk_->change("rename", from);
    auto node = disk_->names.extract(from);
    if (node.empty()) throw FileError("rename", from, ENOENT);
    disk_->names[to] = node.mapped();
  }

  void remove(const std::string& name) override {
    disk_->change("remove", name);
    if (disk_->names.erase(name) == 0) throw FileError("remove", name, ENOENT);
  }

  // Until the remains go, they hold the room. That they do is in the log, as "give back NAME".
  std::unique_ptr<Remains> remove_gently(const std::string& name) override {
    const auto found = disk_->names.find(name);
    const std::uint64_t bytes = found == disk_->names.end() ? 0 : found->second->bytes.size();
    remove(name);
    return std::make_unique<MemoryRemains>(disk_, name, bytes);
  }

  void sync() override {
    disk_->change("sync directory", "");
    ++disk_->syncs;
    disk_->durable_names = disk_->names;
  }

  std::uint64_t free_bytes() override { return disk_->space - std::min(disk_->space, disk_->used()); }

  // All files as a reader sees them now.
  Image image() const {
    Image image;
    for (const auto& [name, data] : disk_->names) image[name] = data->bytes;
    return image;
  }

  // As if exactly these files had always been here, durable.
  void restore(const Image& image) {
    disk_->names.clear();
    for (const auto& [name, bytes] : image) {
      disk_->names[name] = std::make_shared<Data>(Data{bytes, bytes, {}});
    }
    disk_->durable_names = disk_->names;
    disk_->fail_at = 0;
  }

  // Files that are still open belong to a process that is gone, and must not be used.
  void crash(Kept kept) {
    disk_->fail_at = 0;
    if (kept == Kept::everything) return;
    if (kept == Kept::nothing) disk_->names = disk_->durable_names;
    disk_->durable_names = disk_->names;
    for (auto& [name, data] : disk_->names) *data = Data{data->durable, data->durable, {}};
  }

  // The n-th change from now (1: the next) fails; with `for_good`, so does every later one.
  void fail(std::uint64_t n, int error, bool for_good) {
    disk_->fail_at = disk_->changes + n;
    disk_->error = error;
    disk_->for_good = for_good;
  }
  void heal() { disk_->fail_at = 0; }

  // From now on files can be written past the kernel's pages, of which there are none here.
  void allow_past_pages() { disk_->past_pages = true; }

  // What the files take, and what of those that were removed is not given back yet.
  std::uint64_t used() const { return disk_->used(); }
  // From now on that may not grow beyond this.
  void limit_space(std::uint64_t bytes) { disk_->space = bytes; }

  std::uint64_t changes() const { return disk_->changes; }  // calls that write, sync, create, rename or remove
  std::uint64_t syncs() const { return disk_->syncs; }      // of files and of the directory
  std::vector<std::string>& log() { return disk_->log; }    // the changes, as "write NAME", "sync NAME" …

 private:
  static constexpr std::size_t sector_bytes = 512;

  struct Data {
    std::string bytes;
    std::string durable;
    std::set<std::size_t> dirty;  // sectors that the next sync must write
  };
  using Names = std::map<std::string, std::shared_ptr<Data>>;

  struct Disk {
    Names names;
    Names durable_names;
    std::uint64_t changes = 0;
    std::uint64_t syncs = 0;
    std::uint64_t fail_at = 0;  // 0: never
    int error = 0;
    bool for_good = false;
    std::uint64_t space = UINT64_MAX;
    bool past_pages = false;
    std::uint64_t held = 0;  // of it, by what was removed and not given back
    std::vector<std::string> log;

    void change(const std::string& action, const std::string& name) {
      ++changes;
      log.push_back(name.empty() ? action : action + ' ' + name);
      if (fail_at != 0 && (changes == fail_at || (for_good && changes > fail_at)))
        throw FileError(action, name, error);
    }

    std::uint64_t used() const {
      std::uint64_t sum = held;
      for (const auto& [name, data] : names) sum += data->bytes.size();
      return sum;
    }
  };

  class MemoryRemains final : public Remains {
   public:
    MemoryRemains(std::shared_ptr<Disk> disk, std::string name, std::uint64_t bytes)
        : disk_(std::move(disk)), name_(std::move(name)), bytes_(bytes) {
      disk_->held += bytes_;
    }
    ~MemoryRemains() override {
      disk_->held -= bytes_;
      disk_->log.push_back("give back " + name_);
    }

   private:
    std::shared_ptr<Disk> disk_;
    std::string name_;
    std::uint64_t bytes_;
  };

  class MemoryFile final : public File {
   public:
    MemoryFile(std::shared_ptr<Disk> disk, std::shared_ptr<Data> data, std::string name)
        : disk_(std::move(disk)), data_(std::move(data)), name_(std::move(name)) {}

    std::uint64_t size() override { return data_->bytes.size(); }

    std::size_t read_at(std::uint64_t offset, std::span<char> out) override {
      if (offset >= data_->bytes.size()) return 0;
      return data_->bytes.copy(out.data(), out.size(), offset);
    }

    void write_at(std::uint64_t offset, std::string_view bytes) override {
      disk_->change("write", name_);
      grow(offset + bytes.size());
      data_->bytes.replace(offset, bytes.size(), bytes);
      mark(offset, offset + bytes.size());
    }

    bool write_past_pages(std::uint64_t offset, std::string_view bytes) override {
      if (!disk_->past_pages) return false;
      assert(offset % block_bytes == 0 && bytes.size() % block_bytes == 0);
      assert(reinterpret_cast<std::uintptr_t>(bytes.data()) % block_bytes == 0);
      write_at(offset, bytes);
      return true;
    }

    void allocate(std::uint64_t size) override {
      disk_->change("allocate", name_);
      grow(size);
    }

    // After a failure the kernel takes for written what it could not write: nothing is dirty any more.
    void sync() override {
      try {
        disk_->change("sync", name_);
      } catch (const FileError&) {
        data_->dirty.clear();
        throw;
      }
      ++disk_->syncs;
      data_->durable.resize(data_->bytes.size());
      for (const std::size_t sector : data_->dirty) {
        const std::size_t at = sector * sector_bytes;
        const std::size_t bytes = std::min(sector_bytes, data_->bytes.size() - at);
        data_->durable.replace(at, bytes, data_->bytes, at, bytes);
      }
      data_->dirty.clear();
    }

   private:
    void grow(std::uint64_t size) {
      const std::uint64_t old_size = data_->bytes.size();
      if (size <= old_size) return;
      if (disk_->used() + (size - old_size) > disk_->space) throw FileError("write", name_, ENOSPC);
      data_->bytes.resize(size);
      mark(old_size, size);
    }

    void mark(std::uint64_t begin, std::uint64_t end) {
      for (std::uint64_t sector = begin / sector_bytes; sector * sector_bytes < end; ++sector) {
        data_->dirty.insert(sector);
      }
    }

    std::shared_ptr<Disk> disk_;
    std::shared_ptr<Data> data_;
    std::string name_;
  };

  std::shared_ptr<Disk> disk_ = std::make_shared<Disk>();
};

}  // namespace kv
