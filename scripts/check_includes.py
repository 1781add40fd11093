#!/usr/bin/env python3
"""Checks who includes whom: the rule of docs/architecture.md, 'Layout'.

CMake's targets enforce most of it, but not within the server's library, and its precompiled header would
let any server source use Asio without an #include. So this reads the #include lines of every source, follows
the project's own headers, and looks for names of what a file may not even know.

    scripts/check_includes.py [ROOT]      prints what is wrong, a line each; exit status 1 if anything is
"""

import re
import sys
from pathlib import Path

# What the consensus core, the store and the replica must be without, directly or through a header: they are
# functions of their inputs, and the simulator runs them. JSON, sockets, logs, threads and clocks are outside,
# and so are the standard library's distributions, which differ between libraries.
IMPURE_HEADERS = re.compile(r"asio|rapidjson|spdlog|fmt/|CLI/|thread|mutex|shared_mutex|condition_variable|future"
                            r"|iostream|fstream|filesystem|sys/|unistd\.h|fcntl\.h|pthread\.h|time\.h|ctime")
IMPURE_NAMES = re.compile(r"\b(asio::|spdlog::|rapidjson::|std::(thread|jthread|mutex|async|this_thread|random_device"
                          r"|uniform_\w+_distribution)\b|(system|steady|high_resolution)_clock\b|::?rand\(\))")

ANYTHING = r".*"
HOST = r"(server|common)/.*"

# The first pattern that matches a file decides. `own`: which of the project's headers it may include,
# besides the header of its own name; `pure`: nothing of IMPURE_HEADERS and IMPURE_NAMES.
RULES = [
    # path                                      own                                                        pure
    (r"server/raft/.*",                         r"server/raft/.*|common/shared_bytes\.hpp",                 True),
    (r"server/command\..pp",                    r"common/little_endian\.hpp",                              True),
    (r"server/item\w*\..pp",                    r"(server/item\w*|common/snapshot_format)\.hpp",           True),
    (r"server/deletions\..pp",                  r"",                                                       True),
    (r"server/write_session\..pp",              r"common/snapshot_format\.hpp",                            True),
    (r"server/outcome\..pp",                    r"(server/command|common/(little_endian|overloaded|snapshot_format))\.hpp",
                                                                                                           True),
    (r"server/store(_\w+)?\..pp",
     r"(server/(command|deletions|item_map|outcome|write_session|store(_\w+)?)"
     r"|common/(json_text|overloaded|snapshot_format))\.hpp",                                               True),
    (r"server/file\..pp",                       r"",                                                       False),
    (r"server/wal_format\..pp",                 r"(server/(file|raft/types)|common/little_endian)\.hpp",    True),
    (r"server/wal_names\..pp",                   r"",                                                       True),
    (r"server/wal(_segment|_recovery)?\..pp",
     r"server/(file|wal|wal_format|wal_names|wal_segment|raft/types)\.hpp",                                True),
    (r"server/snapshot_task\..pp",               r"(server/(store|raft/types)|common/snapshot_format)\.hpp", True),
    (r"server/gentle_writer\..pp",               r"server/file\.hpp",                                       True),
    (r"server/snapshots\..pp",
     r"(server/(file|gentle_writer|snapshot_task|raft/types)|common/overloaded)\.hpp",                                   True),
    # The replica, and its parts.
    (r"server/client_answer\.hpp",              r"common/message\.hpp",                                    True),
    (r"server/watches\..pp",                    r"(server/(client_answer|item)|common/message)\.hpp",      True),
    (r"server/(replica|roster|translate|log_pace)(_\w+)?\..pp",
     r"(server/(raft/\w+|client_answer|snapshot_task|store|command|roster|log_pace|translate|replica\w*|watches)"
     r"|common/(message|overloaded|snapshot_format))\.hpp",                                               True),
    (r"server/recovery\..pp",                    r"server/(file|wal|snapshots|replica)\.hpp",               True),
    (r"server/dry_directory\..pp",               r"server/file\.hpp",                                       True),
    (r"server/inspect(_log)?\..pp",
     r"(server/(command|dry_directory|file|inspect|inspect_log|raft/types|recovery|snapshots|translate|wal|wal_format"
     r"|wal_names)|common/text)\.hpp",                                                                      True),
    (r"server/.*",                              HOST,                                                      False),
    (r"common/snapshot_format\..pp",            r"common/(little_endian|shared_bytes)\.hpp",               True),
    (r"common/json_text\..pp",                  r"common/utf8\.hpp",                                       True),
    (r"common/(little_endian|shared_bytes)\.hpp", r"",                                                     True),
    (r"common/.*",                              r"common/.*",                                              False),
    # What is installed, and the programs that use it: nothing of ours but what is installed, as <kvd/…>.
    (r"client/(include/kvd|example)/.*",        r"",                                                       False),
    (r"client/.*",                              r"(client|common)/.*",                                     False),
    (r"tests/.*",                               ANYTHING,                                                  False),
]

RAPIDJSON_ALLOWED = re.compile(r"common/(json\.hpp|message\w*\.cpp|text\.cpp)|tests/.*")

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)
COMMENT_OR_STRING = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"', re.DOTALL)


class Tree:
    def __init__(self, root):
        self.root = root
        self.includes = {}  # path -> [(line, header, is_own)]
        for folder in ("common", "server", "client", "tests"):
            for path in sorted((root / folder).rglob("*")):
                if path.suffix in (".cpp", ".hpp", ".h"):
                    self.read(path)

    def read(self, path):
        text = path.read_text(encoding="utf-8")
        found = []
        for match in INCLUDE.finditer(text):
            # An include is the project's own if the header is there, whichever brackets it has.
            own = (self.root / match[2]).is_file()
            line = text.count("\n", 0, match.start(1)) + 1
            found.append((line, match[2], own or match[1] == '"'))
        self.includes[str(path.relative_to(self.root))] = found

    def impure_through(self, path, seen):
        """The chain of includes from `path` to the first impure header, or None."""
        if path in seen:
            return None
        seen.add(path)
        for _, header, own in self.includes.get(path, []):
            if not own and IMPURE_HEADERS.match(header):
                return [path, f"<{header}>"]
            if own:
                chain = self.impure_through(header, seen)
                if chain:
                    return [path, *chain]
        return None


def rule_for(path):
    for pattern, own, pure in RULES:
        if re.fullmatch(pattern, path):
            return re.compile(own), pure
    return None, False


def check_file(tree, path):
    own_pattern, pure = rule_for(path)
    if own_pattern is None:
        yield f"{path}: no rule says what this file may include: add one to scripts/check_includes.py"
        return
    own_header = re.sub(r"\.cpp$", ".hpp", path)
    for line, header, own in tree.includes[path]:
        if not own:
            if header.startswith("rapidjson/") and not RAPIDJSON_ALLOWED.fullmatch(path):
                yield f"{path}:{line}: includes <{header}>: RapidJSON is for common/json.hpp and common/message*.cpp alone"
        elif header not in tree.includes:
            yield f'{path}:{line}: includes "{header}": write the path from the root of the repository'
        elif header != own_header and not own_pattern.fullmatch(header):
            yield f'{path}:{line}: may not include "{header}"'
    if not pure:
        return
    chain = tree.impure_through(path, set())
    if chain:
        yield f"{path}: must not know the outside, but includes {' -> '.join(chain[1:])}"
    text = (tree.root / path).read_text(encoding="utf-8")
    # Blanked, not removed: the line numbers must stay.
    code = COMMENT_OR_STRING.sub(lambda m: re.sub(r"[^\n]", " ", m[0]), text)
    for match in IMPURE_NAMES.finditer(code):
        line = code.count("\n", 0, match.start()) + 1
        yield f"{path}:{line}: must not know the outside, but names {match[0]}"


def main():
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).resolve().parent.parent)
    tree = Tree(root)
    if not tree.includes:
        sys.exit(f"check_includes: {root} has no sources: give the root of the repository")
    problems = [problem for path in sorted(tree.includes) for problem in check_file(tree, path)]
    print("\n".join(problems) if problems else f"{len(tree.includes)} files, all includes as they should be")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
