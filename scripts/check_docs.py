#!/usr/bin/env python3
"""Holds the documents against the tree: the code that they show, and the paths and links in them.

    scripts/check_docs.py           says what is not as it should be; exit status 1 then
    scripts/check_docs.py --write   puts the code into the documents as the sources have it now

A piece of code stands behind a comment that names its file and how it begins there:

    <!-- source: server/replica_reads.cpp: void Replica::read_session( -->

It goes from the comment above that line, if there is one, to the line that closes it: the next one with the same
indentation that begins with a closing bracket, or the end of the statement.
"""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
MARKER = re.compile(r"<!-- source: (\S+): (.+?) -->\n```\w*\n(.*?)```", re.S)
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
TOP = ("server", "client", "common", "tests", "config", "scripts", "docs")
# What stands in code style, begins with one of our folders and has a file's or folder's form.
PATH = re.compile(r"`((?:%s)/[\w./*-]*)`" % "|".join(TOP))


def indentation(line):
    return len(line) - len(line.lstrip())


def closes(line, first):
    return indentation(line) == indentation(first) and line.lstrip().startswith(("}", ")"))


def piece_of(file, begin):
    """The piece of the file that begins so, or why there is none."""
    path = ROOT / file
    if not path.is_file():
        return None, f"{file} does not exist"
    lines = path.read_text().splitlines()
    found = [i for i, line in enumerate(lines) if line.lstrip().startswith(begin)]
    if len(found) != 1:
        return None, f"{file} has {len(found)} lines that begin with '{begin}', not one"
    start = end = found[0]
    while start > 0 and lines[start - 1].lstrip().startswith("//"):
        start -= 1
    # A declaration ends where its statement does; a body where its bracket is closed.
    while not lines[end].rstrip().endswith((";", "{", "}")):
        end += 1
    if lines[end].rstrip().endswith("{"):
        end = next(i for i in range(end + 1, len(lines)) if closes(lines[i], lines[found[0]]))
    piece = lines[start:end + 1]
    least = min(indentation(line) for line in piece if line)
    return "\n".join(line[least:] for line in piece) + "\n", None


def check_pieces(path, write):
    faults = []

    def renew(match):
        piece, fault = piece_of(match[1], match[2])
        if fault:
            faults.append(fault)
            return match[0]
        if piece != match[3] and not write:
            faults.append(f"the code of {match[1]} that begins with '{match[2]}' is not what stands there: "
                          "scripts/check_docs.py --write")
        return match[0][:match.start(3) - match.start()] + piece + "```"

    text = path.read_text()
    renewed = MARKER.sub(renew, text)
    if write and renewed != text:
        path.write_text(renewed)
    return faults


def check_paths(path):
    text = path.read_text()
    for target in LINK.findall(text):
        if not target.startswith(("http://", "https://")) and not (path.parent / target).exists():
            yield f"the link to {target} leads nowhere"
    for named in PATH.findall(text):
        if not any(ROOT.glob(named.rstrip("/"))) and not any(ROOT.glob(named.removesuffix(".*") + ".*")):
            yield f"there is no {named}"


def documents():
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted((ROOT / "tests").rglob("*.md"))]


def main():
    write = sys.argv[1:] == ["--write"]
    if sys.argv[1:] and not write:
        sys.exit(__doc__.strip())
    bad = 0
    pieces = 0
    for path in documents():
        pieces += len(MARKER.findall(path.read_text()))
        for fault in [*check_pieces(path, write), *check_paths(path)]:
            print(f"{path.relative_to(ROOT)}: {fault}", file=sys.stderr)
            bad += 1
    if bad:
        sys.exit(1)
    print(f"{len(documents())} documents with {pieces} pieces of code: all as the tree has it")


if __name__ == "__main__":
    main()
