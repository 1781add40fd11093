#include "server/lock_holder.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cstdio>
#include <fstream>
#include <sstream>

namespace kv {
namespace {

// The device as the list of locks has it: that of the file system, which stat() may show as another (btrfs does).
std::string device_of(const struct statx& status) {
  std::uint64_t major = status.stx_dev_major;
  std::uint64_t minor = status.stx_dev_minor;
  // A line of it: "36 35 98:0 /root /mount/point …", the mount's number, its parent's, and the device.
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::uint64_t mount = 0;
    std::uint64_t parent = 0;
    char colon = 0;
    std::uint64_t found[2] = {};
    if (fields >> mount >> parent >> found[0] >> colon >> found[1] && mount == status.stx_mnt_id) {
      major = found[0];
      minor = found[1];
      break;
    }
  }
  char text[48];
  std::snprintf(text, sizeof text, "%02llx:%02llx", static_cast<unsigned long long>(major),
                static_cast<unsigned long long>(minor));
  return text;
}

}  // namespace

std::optional<std::uint64_t> lock_holder(const std::string& path) {
  struct statx status {};
  if (::statx(AT_FDCWD, (path + "/LOCK").c_str(), 0, STATX_INO | STATX_MNT_ID, &status) < 0) return std::nullopt;
  const std::string file = device_of(status) + ':' + std::to_string(status.stx_ino);
  // A line of it: "7: FLOCK  ADVISORY  WRITE 4711 fe:00:10960909 0 EOF".
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    std::istringstream fields(line);
    std::string number, kind, advisory, access, locked;
    std::uint64_t process = 0;
    if (fields >> number >> kind >> advisory >> access >> process >> locked && kind == "FLOCK" && locked == file) {
      return process;
    }
  }
  return std::nullopt;
}

}  // namespace kv
