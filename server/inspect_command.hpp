// `kvd inspect DIR`: its command line, and what it exits with.
#pragma once

namespace kv::inspect {

// argv[0] is "inspect". Returns the exit status: 0 nothing is wrong, 1 something is damaged, 2 wrong usage.
int run_command(int argc, const char* const* argv);

}  // namespace kv::inspect
