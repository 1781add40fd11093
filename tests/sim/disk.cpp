#include "tests/sim/disk.hpp"

#include <algorithm>
#include <cerrno>
#include <utility>

namespace kv::sim {
namespace {

constexpr std::size_t sector_bytes = 512;
constexpr std::size_t sectors_a_page = 8;

std::size_t sectors_of(std::size_t bytes) {
  return (bytes + sector_bytes - 1) / sector_bytes;
}

}  // namespace

// One file, by whatever name. A sector differs between `pages` and `durable` only where it is marked.
struct Disk::Data {
  enum class Mark : std::uint8_t { clean, dirty, dropped };

  std::string pages;
  std::string durable;
  std::vector<Mark> marks;           // a sector of `pages` each
  std::vector<std::size_t> changed;  // sectors that may be marked

  bool is_settled() const { return changed.empty() && pages.size() == durable.size(); }

  void grow(std::size_t size) {
    if (size <= pages.size()) return;
    pages.resize(size);
    marks.resize(sectors_of(size));
  }

  void mark_dirty(std::size_t sector) {
    if (marks[sector] == Mark::clean) changed.push_back(sector);
    marks[sector] = Mark::dirty;
  }

  void make_durable(std::size_t sector) {
    const std::size_t at = sector * sector_bytes;
    const std::size_t bytes = std::min(sector_bytes, pages.size() - at);
    if (durable.size() < at + bytes) durable.resize(at + bytes);
    durable.replace(at, bytes, pages, at, bytes);
    marks[sector] = Mark::clean;
  }

  // The pages are read from the disk anew.
  void forget(std::size_t sector) {
    const std::size_t at = sector * sector_bytes;
    if (at < durable.size()) {
      const std::size_t bytes = std::min(sector_bytes, durable.size() - at);
      pages.replace(at, bytes, durable, at, bytes);
    }
    marks[sector] = Mark::clean;
  }

  void sync() {
    durable.resize(pages.size());
    std::vector<std::size_t> left;
    for (const std::size_t sector : changed) {
      if (marks[sector] == Mark::dirty) make_durable(sector);
      if (marks[sector] == Mark::dropped) left.push_back(sector);
    }
    changed = std::move(left);
  }
};

// A change of names that is not durable yet.
struct Disk::NameChange {
  std::string from;  // is gone, unless empty
  std::string to;    // is `data`, unless empty
  std::shared_ptr<Data> data;
};

struct Disk::Contents {
  using Names = std::map<std::string, std::shared_ptr<Data>>;
  Names names;
  Names durable_names;
  std::vector<NameChange> changes;
};

struct Disk::Flip {
  std::shared_ptr<Data> data;
  std::size_t at = 0;
  char bit = 0;
};

class Disk::OpenFile final : public File {
 public:
  OpenFile(Disk& disk, std::shared_ptr<Data> data, std::string name)
      : disk_(disk), data_(std::move(data)), name_(std::move(name)) {}

  std::uint64_t size() override { return data_->pages.size(); }

  std::size_t read_at(std::uint64_t offset, std::span<char> out) override {
    if (offset >= data_->pages.size()) return 0;
    return data_->pages.copy(out.data(), out.size(), offset);
  }

  void write_at(std::uint64_t offset, std::string_view bytes) override {
    make_room(offset + bytes.size());
    data_->pages.replace(offset, bytes.size(), bytes);
    for (std::size_t at = offset / sector_bytes; at * sector_bytes < offset + bytes.size(); ++at) {
      data_->mark_dirty(at);
    }
    disk_.operation(Kind::write, "write", name_);
  }

  // Like any other write it may be lost until there is a sync. Some file systems have none of it, or not always.
  bool write_past_pages(std::uint64_t offset, std::string_view bytes) override {
    const std::uint64_t blocks_taken = disk_.world_.plan.seed % 3;
    if (blocks_taken < 2 && offset / block_bytes >= blocks_taken) return false;
    write_at(offset, bytes);
    return true;
  }

  void allocate(std::uint64_t size) override {
    make_room(size);
    disk_.operation(Kind::write, "allocate", name_);
  }

  void sync() override {
    try {
      disk_.operation(Kind::sync, "sync", name_);
    } catch (const FileError&) {
      disk_.drop_pages(*data_);
      throw;
    }
    data_->sync();
  }

 private:
  void make_room(std::size_t size) {
    if (disk_.full_ && size > data_->pages.size()) throw FileError("write", name_, ENOSPC);
    data_->grow(size);
  }

  Disk& disk_;
  std::shared_ptr<Data> data_;
  std::string name_;
};

Disk::Disk(World& world, std::string name)
    : world_(world), name_(std::move(name)), contents_(std::make_unique<Contents>()) {}

Disk::~Disk() = default;

// ---- What a process does

// After it the operation counts as made, unless it throws: then any part of it may have been.
void Disk::operation(Kind kind, const std::string& what, const std::string& name) {
  world_.check(Rule::disk_error_final, !has_failed_,
               [&] { return name_ + " is asked to " + what + " " + name + " after it has failed"; });
  if (interrupt_in_ > 0 && --interrupt_in_ == 0) throw Interrupted{};
  if (kind == Kind::sync && fail_sync_in_ > 0 && --fail_sync_in_ == 0) {
    world_.coverage.note(Fault::failed_sync);
    world_.tell(name_, "the sync of " + name + " fails");
    has_failed_ = true;
    throw FileError(what, name, EIO);
  }
  if (kind == Kind::write && fail_write_in_ > 0 && --fail_write_in_ == 0) {
    world_.coverage.note(Fault::failed_write);
    world_.tell(name_, "a write to " + name + " fails");
    has_failed_ = true;
    throw FileError(what, name, EIO);
  }
}

std::vector<std::string> Disk::list() {
  std::vector<std::string> names;
  for (const auto& [name, data] : contents_->names) names.push_back(name);
  return names;
}

std::unique_ptr<File> Disk::create(const std::string& name) {
  if (full_) throw FileError("create", name, ENOSPC);
  if (contents_->names.contains(name)) throw FileError("create", name, EEXIST);
  auto data = std::make_shared<Data>();
  contents_->names[name] = data;
  contents_->changes.push_back({"", name, data});
  operation(Kind::name, "create", name);
  return open(name);
}

std::unique_ptr<File> Disk::open(const std::string& name) {
  const auto found = contents_->names.find(name);
  if (found == contents_->names.end()) throw FileError("open", name, ENOENT);
  return std::make_unique<OpenFile>(*this, found->second, name);
}

void Disk::rename(const std::string& from, const std::string& to) {
  auto node = contents_->names.extract(from);
  if (node.empty()) throw FileError("rename", from, ENOENT);
  contents_->names[to] = node.mapped();
  contents_->changes.push_back({from, to, node.mapped()});
  operation(Kind::name, "rename", from);
}

void Disk::remove(const std::string& name) {
  if (contents_->names.erase(name) == 0) throw FileError("remove", name, ENOENT);
  contents_->changes.push_back({name, "", nullptr});
  operation(Kind::name, "remove", name);
}

void Disk::sync() {
  operation(Kind::sync, "sync the folder of", name_);
  contents_->durable_names = contents_->names;
  contents_->changes.clear();
}

// ---- What happens to it

// The kernel takes for written what it could not write: some of it is on the disk, the rest only seems to be.
void Disk::drop_pages(Data& data) {
  data.durable.resize(data.pages.size());
  for (const std::size_t sector : data.changed) {
    if (data.marks[sector] != Data::Mark::dirty) continue;
    if (world_.random.percent(50)) {
      data.make_durable(sector);
    } else {
      data.marks[sector] = Data::Mark::dropped;
      world_.coverage.note(Fault::lost_pages);
    }
  }
}

void Disk::calm() {
  interrupt_in_ = fail_sync_in_ = fail_write_in_ = 0;
  full_ = false;
}

void Disk::process_ended() {
  interrupt_in_ = fail_sync_in_ = fail_write_in_ = 0;
  has_failed_ = false;
  const bool kernel_keeps = world_.random.percent(50);
  if (kernel_keeps) return;
  for (auto& [name, data] : contents_->names) {
    std::vector<std::size_t> left;
    std::optional<std::size_t> page;
    bool forgets = false;
    std::sort(data->changed.begin(), data->changed.end());
    for (const std::size_t sector : data->changed) {
      if (page != sector / sectors_a_page) forgets = world_.random.percent(50);
      page = sector / sectors_a_page;
      if (data->marks[sector] == Data::Mark::dropped && forgets) {
        data->forget(sector);
      } else {
        left.push_back(sector);
      }
    }
    data->changed = std::move(left);
  }
}

void Disk::power_lost() {
  process_ended();
  const std::vector<std::uint64_t> survivals = {0, 50, 50, 80, 100};
  const std::uint64_t survival = world_.random.pick(survivals);
  auto& names = contents_->durable_names;
  for (const NameChange& change : contents_->changes) {
    if (!world_.random.percent(survival)) {
      world_.coverage.note(Fault::lost_name);
      continue;
    }
    if (!change.from.empty()) names.erase(change.from);
    if (!change.to.empty()) names[change.to] = change.data;
  }
  contents_->changes.clear();
  contents_->names = names;
  for (auto& [name, data] : names) settle(*data, survival);
}

// Each sector that is not durable survives or does not; then the pages are what the disk holds.
void Disk::settle(Data& data, std::uint64_t survival_percent) {
  if (data.is_settled()) return;
  std::sort(data.changed.begin(), data.changed.end());
  if (world_.random.percent(survival_percent)) data.durable.resize(data.pages.size());  // the new length survives
  bool kept = false;
  bool lost = false;
  for (const std::size_t sector : data.changed) {
    if (data.marks[sector] == Data::Mark::dirty && world_.random.percent(survival_percent)) {
      data.make_durable(sector);
      kept = true;
    } else {
      lost = true;
    }
  }
  if (kept && lost) world_.coverage.note(Fault::torn_write);
  data.pages = data.durable;
  data.marks.assign(sectors_of(data.pages.size()), Data::Mark::clean);
  data.changed.clear();
}

bool Disk::is_settled() const {
  return contents_->changes.empty() && std::all_of(contents_->names.begin(), contents_->names.end(),
                                                   [](const auto& item) { return item.second->is_settled(); });
}

std::optional<std::string> Disk::flip_a_bit(std::vector<std::string> names) {
  std::erase_if(names, [this](const std::string& name) { return contents_->names[name]->pages.empty(); });
  if (names.empty()) return std::nullopt;
  const std::string name = world_.random.pick(names);
  Flip flip;
  flip.data = contents_->names[name];
  flip.at = world_.random.below(flip.data->pages.size());
  flip.bit = static_cast<char>(1u << world_.random.below(8));
  flip.data->pages[flip.at] ^= flip.bit;
  flip.data->durable[flip.at] ^= flip.bit;
  flips_.push_back(flip);
  world_.coverage.note(Fault::bit_flip);
  return name + " at offset " + std::to_string(flip.at);
}

void Disk::undo_flips() {
  for (const Flip& flip : flips_) {
    flip.data->pages[flip.at] ^= flip.bit;
    flip.data->durable[flip.at] ^= flip.bit;
  }
  flips_.clear();
}

void Disk::wipe(bool keep) {
  auto contents = std::exchange(contents_, std::make_unique<Contents>());
  if (keep) shelf_ = std::move(contents);
}

void Disk::give_back() {
  contents_ = std::exchange(shelf_, nullptr);
}

std::string Disk::pages(const std::string& name) const {
  return contents_->names.at(name)->pages;
}

std::string Disk::durable(const std::string& name) const {
  const auto found = contents_->durable_names.find(name);
  return found == contents_->durable_names.end() ? "" : found->second->durable;
}

}  // namespace kv::sim
