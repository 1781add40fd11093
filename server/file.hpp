// The disk seam: the few calls that the log needs of a file system, as an interface, and the POSIX one.
//
// A Directory is one folder, flat; it owns nothing but its handle, and its files outlive it. What has been
// written is durable only after File::sync; a file's creation, renaming or removal only after
// Directory::sync. Every failure is thrown as FileError. After a failed sync the caller must not go on: what
// the kernel dropped is gone and a second sync would say it is there (Rebello et al., "Can Applications
// Recover from fsync Failures?", 2020).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace kv {

class FileError : public std::runtime_error {
 public:
  // "cannot <action> <path>: <what errno means>"
  FileError(std::string_view action, std::string_view path, int error);
  int error() const { return error_; }
  bool no_space() const;  // ENOSPC or EDQUOT

 private:
  int error_;
};

class File {
 public:
  virtual ~File() = default;

  virtual std::uint64_t size() = 0;
  // Reads up to out.size() bytes from `offset`; fewer only at the end of the file. Returns how many.
  virtual std::size_t read_at(std::uint64_t offset, std::span<char> out) = 0;
  // Writes all of `bytes`; the file grows where it must. After an error any part of them may be there.
  virtual void write_at(std::uint64_t offset, std::string_view bytes) = 0;
  // Makes the file `size` bytes long, the new ones zero, with room on the disk for all of them. Never
  // shortens. Without the room it throws (no_space()) and the file may have any length up to `size`.
  virtual void allocate(std::uint64_t size) = 0;
  // The data, and the metadata needed to read it again, are on the disk when this returns (fdatasync).
  virtual void sync() = 0;

  // write_at() past the kernel's pages (O_DIRECT), not durably: `bytes` are whole blocks, and begin where one does,
  // in memory and in the file. False: that cannot be done with this file, and nothing was written.
  static constexpr std::size_t block_bytes = 4096;  // of any disk there is, or a multiple
  virtual bool write_past_pages(std::uint64_t /*offset*/, std::string_view /*bytes*/) { return false; }

  // A descriptor of the file through which whole sectors are written past the kernel's pages (O_DIRECT), durably
  // (O_DSYNC), for who lets the disk work without waiting for it (direct_writer.hpp). It is the File's. nullopt:
  // the file system has none.
  virtual std::optional<int> direct() { return std::nullopt; }
  // write_at() and sync(), after which nothing stands in the way of the next write through direct().
  virtual void write_durably(std::uint64_t offset, std::string_view bytes) {
    write_at(offset, bytes);
    sync();
  }
};

// What a removed file leaves: its room on the disk. It is given back little by little when this goes, on whichever
// thread that is, for as long as a file system gives back much at once, no other file's sync gets done (measured:
// docs/performance.md).
class Remains {
 public:
  virtual ~Remains() = default;
};

class Directory {
 public:
  virtual ~Directory() = default;

  virtual std::string path() const = 0;                               // for messages
  virtual std::vector<std::string> list() = 0;                        // names of plain files, sorted
  virtual std::unique_ptr<File> create(const std::string& name) = 0;  // must not exist
  virtual std::unique_ptr<File> open(const std::string& name) = 0;    // must exist; to read and write
  // In one step, also after a crash; replaces `to` where it exists. Open files stay what they are.
  virtual void rename(const std::string& from, const std::string& to) = 0;
  virtual void remove(const std::string& name) = 0;
  // The same for a big file; who has it open must be done before the remains go. null: nothing is left to be given
  // back, or it cannot be done little by little.
  virtual std::unique_ptr<Remains> remove_gently(const std::string& name) {
    remove(name);
    return nullptr;
  }
  virtual void sync() = 0;
  // How many bytes more its files may take, as far as is known.
  virtual std::uint64_t free_bytes() { return UINT64_MAX; }
};

// The real one. Creates the folder (and its parents) where it is missing, durably.
// Locks it against a second process for as long as the object lives (a file `LOCK`, which list() does not
// show); throws FileError with EWOULDBLOCK if another process, or this one, has it open already.
std::unique_ptr<Directory> open_directory(const std::string& path);

// A file anywhere, to read only. Throws FileError.
std::unique_ptr<File> open_file_to_read(const std::string& path);

// To look at a folder and leave it as it is: nothing is created or locked, a process that has it open does not
// notice. Files can only be read; what would change the folder throws FileError with EROFS. Throws FileError if
// there is no such folder.
std::unique_ptr<Directory> open_directory_to_read(const std::string& path);

}  // namespace kv
