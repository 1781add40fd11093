// What must hold, in release builds as well: a consensus core that goes on after a broken rule loses data.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <source_location>

namespace kv {

inline void invariant(bool holds, const char* rule,
                      const std::source_location where = std::source_location::current()) {
  if (holds) [[likely]]
    return;
  std::fprintf(stderr, "%s:%u: broken invariant: %s\n", where.file_name(), static_cast<unsigned>(where.line()),
               rule);
  std::fflush(stderr);
  std::abort();
}

}  // namespace kv
