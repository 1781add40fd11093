#include "server/dry_directory.hpp"

#include <algorithm>
#include <cerrno>
#include <stdexcept>
#include <utility>

namespace kv {
namespace {

class DryFile final : public File {
 public:
  // `real`: null for one that was made here.
  explicit DryFile(std::unique_ptr<File> real)
      : real_(std::move(real)), is_changed_(!real_), size_(real_ ? real_->size() : 0) {}

  std::uint64_t size() override { return size_; }

  std::size_t read_at(std::uint64_t offset, std::span<char> out) override {
    if (is_changed_) throw std::logic_error("a file is read of which the contents were not kept");
    return real_->read_at(offset, out);
  }

  void write_at(std::uint64_t offset, std::string_view bytes) override {
    is_changed_ = true;
    size_ = std::max(size_, offset + bytes.size());
  }

  void allocate(std::uint64_t size) override { size_ = std::max(size_, size); }
  void sync() override {}

 private:
  std::unique_ptr<File> real_;
  bool is_changed_;
  std::uint64_t size_;
};

}  // namespace

DryDirectory::DryDirectory(Directory& real) : real_(real) {
  for (const std::string& name : real_.list()) names_[name] = name;
}

std::vector<std::string> DryDirectory::list() {
  std::vector<std::string> names;
  for (const auto& [name, real] : names_) names.push_back(name);
  return names;
}

std::unique_ptr<File> DryDirectory::create(const std::string& name) {
  if (!names_.emplace(name, std::string()).second) throw FileError("create", path() + '/' + name, EEXIST);
  return open(name);
}

std::unique_ptr<File> DryDirectory::open(const std::string& name) {
  const auto found = names_.find(name);
  if (found == names_.end()) throw FileError("open", path() + '/' + name, ENOENT);
  return std::make_unique<DryFile>(found->second.empty() ? nullptr : real_.open(found->second));
}

void DryDirectory::rename(const std::string& from, const std::string& to) {
  auto node = names_.extract(from);
  if (node.empty()) throw FileError("rename", path() + '/' + from, ENOENT);
  names_[to] = std::move(node.mapped());
}

void DryDirectory::remove(const std::string& name) {
  if (names_.erase(name) == 0) throw FileError("remove", path() + '/' + name, ENOENT);
}

}  // namespace kv
