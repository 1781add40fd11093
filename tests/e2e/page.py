"""What a document shows of the command line: its commands, and patterns for what is shown below them."""

import re

# In what is shown these may be others: what it looks like -> what may stand there.
VARYING = {r"…": r"[\s\S]*", r"\s+": r"\s+", r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b": r"[0-9a-f-]{36}",
           r"\b[0-9a-f]{16}\b": r"[0-9a-f]{16}", r"\bn[123]\b": r"n[123]", r"\b(?:leader|follower)\b": r"(?:leader|follower)",
           r"\d+(?:\.\d+)? [KMG]iB\b": r"\d+(?:\.\d+)? (?:[KMG]iB|B)", r"\d+(?:\.\d+)?": r"\d+(?:\.\d+)?",
           r"(?<=\d)m?s\b": r"m?s"}


def commands_of(text):
    """(command, [lines shown below it]) in the order of the page."""
    found = []
    for line in text.splitlines():
        if line.startswith("    $ "):
            found.append((line[6:].split("  #")[0], []))
        elif line.startswith("    ") and found:
            found[-1][1].append(line[4:])
        elif line:
            found.append((None, []))  # prose ends what belongs to a command
    return [(command, shown) for command, shown in found if command]


def pattern_of(shown):
    """What is shown, as a pattern in which numbers, names of servers, who leads and blanks may differ."""
    varying = re.compile("|".join(f"({one})" for one in VARYING))
    pattern, end = "", 0
    for match in varying.finditer(shown.strip()):
        pattern += re.escape(shown.strip()[end:match.start()]) + list(VARYING.values())[match.lastindex - 1]
        end = match.end()
    return pattern + re.escape(shown.strip()[end:])
