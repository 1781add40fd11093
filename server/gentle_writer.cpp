#include "server/gentle_writer.hpp"

#include <new>
#include <utility>

namespace kv {
namespace {

// So many can wait in the pages of a file system that has them all the same.
constexpr std::uint64_t parts_a_sync = 64;

}  // namespace

GentleWriter::GentleWriter(std::unique_ptr<File> file, std::size_t part_bytes)
    : file_(std::move(file)),
      part_bytes_(part_bytes),
      part_(static_cast<char*>(std::aligned_alloc(File::block_bytes, part_bytes))) {
  if (!part_) throw std::bad_alloc();
}

void GentleWriter::append(std::string_view bytes) {
  while (!bytes.empty()) {
    const std::size_t taken = bytes.copy(part_.get() + waiting_, part_bytes_ - waiting_);
    bytes.remove_prefix(taken);
    waiting_ += taken;
    if (waiting_ == part_bytes_) write_part();
  }
}

void GentleWriter::write_part() {
  const std::string_view part(part_.get(), waiting_);
  past_pages_ = past_pages_ && file_->write_past_pages(written_, part);
  if (!past_pages_) file_->write_at(written_, part);
  if (!past_pages_ || ++parts_past_pages_ % parts_a_sync == 0) file_->sync();
  written_ += std::exchange(waiting_, 0);
}

// The last part is seldom whole blocks. Its sync is also that of all before.
void GentleWriter::finish() {
  file_->write_at(written_, std::string_view(part_.get(), waiting_));
  written_ += std::exchange(waiting_, 0);
  file_->sync();
}

}  // namespace kv
