// A disk that fails as disks do: what the servers' logs are written to.
//
// It keeps what a reader sees (the kernel's pages) apart from what would survive the loss of power. Until a sync,
// any subset of the sectors and of the changes of names may survive. A failed sync drops pages and says so once:
// they still read as written, until the kernel forgets them. It throws what a real disk would have the caller see
// (FileError), and Interrupted where the caller is no more. A Disk outlives the processes that use it; the files
// that a process has open do not outlive the process.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "server/file.hpp"
#include "tests/sim/world.hpp"

namespace kv::sim {

// The process or the machine stopped in the middle of a disk operation. No FileError: nobody is there to catch it.
struct Interrupted {};

class Disk final : public Directory {
 public:
  Disk(World& world, std::string name);
  ~Disk() override;

  // ---- What a process does with it

  std::string path() const override { return name_; }
  std::vector<std::string> list() override;
  std::unique_ptr<File> create(const std::string& name) override;
  std::unique_ptr<File> open(const std::string& name) override;
  void rename(const std::string& from, const std::string& to) override;
  void remove(const std::string& name) override;
  void sync() override;

  // ---- What happens to it

  // In the n-th operation from now (the next is 1) the process is interrupted. 0: not at all.
  void interrupt_in(std::uint64_t n) { interrupt_in_ = n; }
  void fail_sync_in(std::uint64_t n) { fail_sync_in_ = n; }
  void fail_write_in(std::uint64_t n) { fail_write_in_ = n; }
  void calm();  // none of this any more
  // No room for anything more; or again plenty.
  void fill(bool full) { full_ = full; }
  // Whether the process that runs now has been told of a failure, or there is no room.
  bool has_failed() const { return has_failed_; }
  bool excuses_an_end() const { return has_failed_ || full_; }

  // The process is gone. What it wrote stays in the kernel's pages, but those that a failed sync has dropped may
  // be read from the disk again.
  void process_ended();
  // The machine is: only what was synced is sure to be left.
  void power_lost();

  // Whether all that was written is durable, so that a flipped bit must be found.
  bool is_settled() const;
  // Flips one bit of one of these files, on the disk and in the pages; says where. nullopt: they are empty.
  std::optional<std::string> flip_a_bit(std::vector<std::string> names);
  void undo_flips();
  // The whole contents are taken away; those that are kept can be put back later.
  void wipe(bool keep);
  bool is_wiped() const { return shelf_ != nullptr; }
  void give_back();

  // For tests: the bytes of a file as they are read now, and as they would be without power.
  std::string pages(const std::string& name) const;
  std::string durable(const std::string& name) const;

 private:
  class OpenFile;
  struct Data;
  struct NameChange;
  struct Contents;
  struct Flip;

  enum class Kind { name, write, sync };
  void operation(Kind kind, const std::string& what, const std::string& name);
  void drop_pages(Data& data);
  void settle(Data& data, std::uint64_t survival_percent);

  World& world_;
  std::string name_;
  std::unique_ptr<Contents> contents_;
  std::unique_ptr<Contents> shelf_;  // what was there before it was wiped
  std::vector<Flip> flips_;
  std::uint64_t interrupt_in_ = 0;
  std::uint64_t fail_sync_in_ = 0;
  std::uint64_t fail_write_in_ = 0;
  bool full_ = false;
  bool has_failed_ = false;  // under the process that runs now: it must not touch the disk any more
};

}  // namespace kv::sim
