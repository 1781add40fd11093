#!/usr/bin/env python3
"""Writes the seed corpora of the fuzzers: tests/fuzz/corpus/TARGET/NAME, a file for each kind of input.

    tests/fuzz/make_corpus.py      writes what is described here; files that are not are left alone

The files are committed; this says how they were made. What a fuzzer has found is added to the corpus by hand, as
found-*, and not here.
"""

import json
import struct
from pathlib import Path

UUID = "6ba7b810-9dad-41d1-80b4-00c04fd430c8"
FOLDER = Path(__file__).resolve().parent / "corpus"


# ---- Messages ----------------------------------------------------------------------------------------------

def compact(message):
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False).encode()


def good_messages():
    members = [{"node": "n1", "identity": UUID, "peer_address": "a:2", "client_address": "a:1"}]
    session = {"session": UUID, "seq": 1, "session_from": 57}
    commands = [
        {"type": "NOOP", "v": 1},
        {"type": "PUT", "v": 1, "key": "k", "value": "v", **session},
        {"type": "DELETE", "v": 1, "key": "k", "if_ts": 7},
        {"type": "MEMBERS", "v": 1, "cluster": UUID, "members": members},
    ]
    status = {name: i for i, name in enumerate(
        ["term", "committed", "applied", "log_first", "log_last", "snapshot", "keys", "bytes", "waiting",
         "connections", "uptime_ms"])}
    peer_init = {"cluster": UUID, "node": "n1", "identity": UUID, "to": "n2", "advertise": "a:1",
                 "peer_advertise": "a:2"}
    replication = {"type": "REPLICATION", "term": 2, "leader": "n1", "prev_index": 5, "prev_term": 1}
    forward = {"type": "FORWARD", "number": 7, "term": 2, "timeout_ms": 5000}
    answer = {"type": "FORWARD_OK", "number": 7}
    error = {"type": "ERROR", "code": "TIMEOUT", "message": "m", "ts": 57, "applied": 41, "leader": "",
             "cluster": "c"}
    return {
        "request-init": {"type": "INIT", "id": 1, "protocol": 1, "client": "kvctl 1.0.0"},
        "request-put": {"type": "PUT", "id": 2, "key": "colour", "value": "blue"},
        "request-put-all": {"type": "PUT", "id": 2, "key": "k", "value": "v", "if_ts": 7, **session,
                            "timeout_ms": 250, "cluster": UUID},
        "request-put-base64": {"type": "PUT", "id": 2, "key": "k", "value_base64": "Ymx1ZQ=="},
        "request-delete": {"type": "DELETE", "id": 3, "key": "k", "if_ts": 0, "session": UUID, "seq": 2},
        "request-get": {"type": "GET", "id": 3, "key": "k", "ts": 58, "consistency": "linearizable"},
        "request-status": {"type": "STATUS", "id": 2**53 - 1},
        "request-type-last": {"id": 2, "key": "k", "value": "v", "x": {"type": "GET"}, "type": "PUT"},
        "answer-init-ok": {"type": "INIT_OK", "id": 1, "protocol": 1, "server": "kvd 1.0.0", "cluster": UUID,
                           "node": "n1", "leader": "n2", "applied": 57,
                           "members": [{"node": "n1", "address": "127.0.0.1:7401"}]},
        "answer-put-ok": {"type": "PUT_OK", "id": 2, "key": "k", "ts": 58},
        "answer-delete-ok": {"type": "DELETE_OK", "id": 2, "key": "k", "ts": 58, "found": True},
        "answer-get-ok": {"type": "GET_OK", "id": 3, "key": "k", "value": "v", "ts": 5, "applied": 6, "node": "n3"},
        "answer-get-ok-absent": {"type": "GET_OK", "id": 3, "key": "k", "value": None, "ts": 0, "applied": 6},
        "answer-wait": {"type": "WAIT_FOR_RESPONSE", "id": 3, "key": "k", "ts": 9, "applied": 6, "node": "n3"},
        "answer-status-leader": {"type": "STATUS_OK", "id": 2, "node": "n1", "cluster": UUID, "role": "leader",
                                 "leader": "n1", "version": "1.0.0", **status,
                                 "peers": [{"node": "n2", "match": 62, "last_contact_ms": 10}]},
        "answer-status-follower": {"type": "STATUS_OK", "id": 2, "node": "n1", "role": "follower",
                                   "peers": [{"node": "n2"}]},
        "answer-error": {**error, "id": 1},
        "answer-error-without-id": error,
        "peer-init": {"type": "INIT", "role": "peer", "protocol": 1, **peer_init},
        "peer-init-ok": {"type": "INIT_OK", "protocol": 1, "server": "kvd 1.0.0", **peer_init},
        "peer-vote": {"type": "VOTE", "term": 2, "candidate": "n1", "last_index": 5, "last_term": 1, "pre": True,
                      "transfer": False},
        "peer-vote-ok": {"type": "VOTE_OK", "term": 2, "granted": True, "pre": False},
        "peer-timeout-now": {"type": "TIMEOUT_NOW", "term": 2, "leader": "n1"},
        "peer-heartbeat": {**replication, "entries": [], "commit": 4, "round": 9},
        "peer-replication": {**replication, "entries": [
            {"term": 2, "index": 6 + i, "command": command} for i, command in enumerate(commands)],
            "commit": 4, "round": 9},
        "peer-replication-ok": {"type": "REPLICATION_OK", "term": 2, "success": True, "match": 6, "round": 9},
        "peer-replication-refused": {"type": "REPLICATION_OK", "term": 2, "success": False, "match": 0, "round": 9,
                                     "rejected": 5, "hint_index": 3, "hint_term": 1},
        "peer-forward-put": {**forward, "request": {"type": "PUT", "key": "k", "value": "v", **session}},
        "peer-forward-delete": {**forward, "request": {"type": "DELETE", "key": "k"}},
        "peer-forward-read-index": {**forward, "request": {"type": "READ_INDEX"}},
        "peer-forward-put-ok": {**answer, "answer": {"type": "PUT_OK", "key": "k", "ts": 58}},
        "peer-forward-delete-ok": {**answer, "answer": {"type": "DELETE_OK", "key": "k", "ts": 58, "found": False}},
        "peer-forward-read-index-ok": {**answer, "answer": {"type": "READ_INDEX_OK", "index": 58}},
        "peer-forward-error": {**answer, "answer": {"type": "ERROR", "code": "NO_LEADER", "message": "m"}},
        "unknown-members": {"type": "STATUS", "id": 1, "a": None, "b": True, "c": -1.5e3, "d": "s",
                            "e": [1, [], {}], "f": {"id": 2, "type": "PUT"}, "": 0, "key\u0000": "\U0001f600"},
    }


def get(**members):
    """A GET with some members written as JSON text, so that they may be wrong."""
    fields = {"type": '"GET"', "id": "4", "key": '"k"', **members}
    return ("{" + ",".join(f'"{name}":{text}' for name, text in fields.items()) + "}").encode()


def awkward_messages():
    seeds = {
        "empty": b"",
        "blanks": b" \t\r\n",
        "nul": b"\0",
        "null": b"null",
        "number": b"-1",
        "string": b'"PUT"',
        "array": b'[{"type":"STATUS","id":1}]',
        "no-members": b"{}",
        "byte-order-mark": b"\xef\xbb\xbf" + get(),
        "blanks-everywhere": b' { "type" : "STATUS" ,\n"id" : 4 \t} ',
        "behind-nul-garbage": get() + b"\0garbage",
        "behind-nul": get() + b"\0",
        "behind-brace": get() + b"}",
        "behind-object": get() + get(),
        "comment": b'{"type":"STATUS",/* c */"id":1} // c',
        "comma-too-many": b'{"type":"STATUS","id":1,}',
        "comma-missing": b'{"type":"STATUS" "id":1}',
        "single-quotes": b"{'type':'STATUS','id':1}",
        "raw-newline": b'{"type":"STATUS","id":1,"x":"a\nb"}',
        "raw-nul-in-string": b'{"type":"STATUS","id":1,"x":"a\0b"}',
        "escapes": rb'{"type":"STATUS","id":1,"x":"\"\\\/\b\f\n\r\t\u0000\u00e9\u20ac\ud83d\ude00"}',
        "escape-unknown": rb'{"type":"STATUS","id":1,"x":"\q"}',
        "escape-cut": rb'{"type":"STATUS","id":1,"x":"\u12',
        "escaped-names": rb'{"t\u0079pe":"GET","\u0069d":4,"k\u0065y":"k"}',
        "escaped-type": rb'{"type":"G\u0045T","id":4,"key":"k"}',
        "surrogate-high": rb'{"type":"GET","id":4,"key":"\ud800"}',
        "surrogate-high-high": rb'{"type":"GET","id":4,"key":"\ud800\ud800"}',
        "surrogate-low": rb'{"type":"GET","key":"\udc00","id":4}',
        "surrogate-low-in-name": rb'{"type":"STATUS","id":4,"\udfff":1}',
        "type-twice": b'{"type":"STATUS","type":"STATUS","id":4}',
        "id-twice": b'{"type":"STATUS","id":4,"id":5}',
        "id-behind-fault": b'{"type":"PUT","key":1,"value":2,"if_ts":-1,"id":4}',
        "key-twice": rb'{"type":"GET","id":4,"key":"a","k\u0065y":"a"}',
        "unknown-twice": b'{"type":"STATUS","x":1,"id":4,"x":2}',
        "unknown-twice-deep": b'{"type":"STATUS","id":4,"x":[{},{"a":[{"":1,"":1}]}]}',
        "unknown-same-in-two-objects": b'{"type":"STATUS","id":1,"x":[{"a":1},{"a":1}],"a":{"a":2}}',
        "type-missing": b'{"id":4}',
        "type-number": b'{"type":5,"id":4}',
        "type-unknown": rb'{"type":"\u001b[31m\u009b\u202e\n","id":4}',
        "type-long": b'{"type":"' + b"\\u001b" * 100 + b'","id":4}',
        "id-missing": b'{"type":"STATUS"}',
        "id-only-inside": b'{"type":"STATUS","x":{"id":5}}',
        "key-empty": get(key='""'),
        "key-longest": get(key='"' + "k" * 4096 + '"'),
        "key-too-long": get(key='"' + "\u20ac" * 1366 + '"'),
        "key-number": get(key="7"),
        "key-nul": get(key=r'"a\u0000b"'),
        "value-both": b'{"type":"PUT","id":4,"key":"k","value":"v","value_base64":"dg=="}',
        "value-null": b'{"type":"PUT","id":4,"key":"k","value":null}',
        "value-control": rb'{"type":"PUT","id":4,"key":"k","value":"\u0000\u0001\u001f\u007f\n\n\n\n\n\n\n\n"}',
        "base64-spare-bits": b'{"type":"PUT","id":4,"key":"k","value_base64":"dh=="}',
        "base64-unpadded": b'{"type":"PUT","id":4,"key":"k","value_base64":"dg"}',
        "base64-binary": b'{"type":"PUT","id":4,"key":"k","value_base64":"/+8AAQ=="}',
        "session-without-seq": b'{"type":"DELETE","id":4,"key":"k","session":"' + UUID.encode() + b'"}',
        "session-no-uuid": b'{"type":"DELETE","id":4,"key":"k","session":"mine","seq":1}',
        "seq-zero": b'{"type":"DELETE","id":4,"key":"k","session":"' + UUID.encode() + b'","seq":0}',
        "consistency-unknown": get(consistency='"strong"'),
        "role-peer": b'{"type":"INIT","id":4,"protocol":1,"role":"peer"}',
        "command-type-second": b'{"type":"REPLICATION","entries":[{"command":{"v":1,"type":"NOOP"}}]}',
        "command-version-2": b'{"type":"REPLICATION","term":1,"leader":"n","prev_index":0,"prev_term":0,"commit":0,'
                             b'"round":0,"entries":[{"term":1,"index":1,"command":{"type":"NOOP","v":2}}]}',
        "entries-object": b'{"type":"REPLICATION","entries":{}}',
        "entries-mixed": b'{"type":"REPLICATION","entries":[7,[],null,{"term":1}]}',
        "request-no-object": b'{"type":"FORWARD","number":1,"request":[]}',
        "deep-31": get(x="[" * 31 + "]" * 31),
        "deep-32": get(x="[" * 32 + "]" * 32),
        "deep-500": get(x='{"id":' * 500 + "1" + "}" * 500, type='"STATUS"'),
        "deep-3000-open": b'{"type":"STATUS","id":4,"x":' + b"[" * 3000,
        "deep-bare": b"[" * 1500,
        "number-of-400-digits": get(x="9" * 400),
        "number-beyond-double": get(x="1e400"),
        "number-underflow": get(x="1.00000000001e-2147483638"),
    }
    numbers = ["0", "-0", "-1", "01", "+1", "1.0", "0.5", ".5", "1.", "1e3", "1E+0", "1e", "9007199254740991",
               "9007199254740992", "18446744073709551615", "18446744073709551616", "99999999999999999999999999",
               "NaN", "Infinity", "0x10", "true", '"1"', "[1]", "{}"]
    seeds |= {f"number-{i:02}": get(ts=text) for i, text in enumerate(numbers)}
    seeds |= {f"id-{i:02}": get(id=text) for i, text in enumerate(numbers)}
    wrong_utf8 = [b"\xff", b"\x80", b"\xc0\xaf", b"\xc3", b"\xe0\x80\xaf", b"\xe2\x82", b"\xed\xa0\x80",
                  b"\xf0\x9f\x98", b"\xf0\x80\x80\xaf", b"\xf4\x90\x80\x80", b"\xf8\x88\x80\x80\x80",
                  b"\xed\xa0\xbd\xed\xb8\x80"]
    for i, wrong in enumerate(wrong_utf8):
        seeds[f"utf8-{i:02}-key"] = b'{"type":"GET","key":"' + wrong + b'","id":4}'
        seeds[f"utf8-{i:02}-end"] = b'{"type":"GET","id":4,"key":"' + wrong
    return seeds


# ---- Frames, commands, logs --------------------------------------------------------------------------------

def pieces(*sizes_and_rooms):
    return bytes([len(sizes_and_rooms) // 2 - 1, *sizes_and_rooms])


def frame_seeds():
    raw = lambda data: bytes([0, len(data)]) + data
    frame = lambda body: bytes([1, len(body)]) + body
    big = lambda halves, fill: bytes([2]) + struct.pack("<H", halves) + bytes([fill])
    byte_by_byte, at_once, thousands = pieces(0, 0), pieces(255, 0), pieces(0x81, 1, 0x43, 129)
    return {
        "two-frames-byte-by-byte": b"\5" + byte_by_byte + frame(b'{"type":"STATUS","id":1}') + frame(b"{}"),
        "two-frames-at-once": b"\5" + at_once + frame(b"ab") + frame(b"c"),
        "frames-and-half-a-header": b"\5" + pieces(4, 128, 2, 0) + frame(b"abc") + frame(b"d") + raw(b"\0\0"),
        "half-a-frame": b"\5" + byte_by_byte + raw(b"\0\0\0\x09abc"),
        "empty-frame": b"\5" + at_once + frame(b"a") + b"\3" + frame(b"b"),
        "too-long": b"\1" + byte_by_byte + frame(b"a" * 16) + frame(b"b" * 17),
        "huge-length": b"\5" + at_once + raw(b"\xff\xff\xff\xffgarbage"),
        "huge-length-allowed": b"\7" + pieces(0x80, 0) + raw(b"\xff\xff\xff\xffgarbage"),
        "big-frame-in-pieces": b"\5" + thousands + big(40000, 33) + frame(b"x") + big(1, 0),
        "big-frame-then-small": b"\4" + pieces(0xff, 0, 0, 0) + big(60000, 65) + frame(b"x") * 5,
        "at-the-limit": b"\4" + pieces(0xc8, 5) + big(35000, 1) + big(35000, 2),
    }


def string(text):
    return struct.pack("<I", len(text)) + text


def member(name):
    return string(name) + string(UUID.encode()) + string(b"a:2") + string(b"a:1")


def command_seeds():
    u64 = lambda number: struct.pack("<Q", number)
    session = string(UUID.encode()) + u64(1) + u64(57)
    members = b"\1\3" + string(UUID.encode())
    return {
        "put": b"\1\1\0" + string(b"colour") + string(b"blue"),
        "put-empty": b"\1\1\0" + string(b"") + string(b""),
        "put-all": b"\1\1\3" + string(b"k") + string(b"\0\xff") + u64(7) + session,
        "delete": b"\1\2\1" + string(b"k") + u64(2**64 - 1),
        "delete-session": b"\1\2\2" + string(b"k") + session,
        "members": members + struct.pack("<I", 2) + member(b"n1") + member(b"n2"),
        "members-none": members + struct.pack("<I", 0),
        "members-unsorted": members + struct.pack("<I", 2) + member(b"n2") + member(b"n1"),
        "members-twice": members + struct.pack("<I", 2) + member(b"n1") + member(b"n1"),
        "members-many-announced": members + struct.pack("<I", 2**32 - 1) + member(b"n1"),
        "version-2": b"\2\1\0" + string(b"k") + string(b"v"),
        "operation-unknown": b"\1\4\0" + string(b"k"),
        "flags-unknown": b"\1\2\4" + string(b"k"),
        "string-beyond-end": b"\1\2\0" + struct.pack("<I", 2**32 - 1) + b"k",
        "byte-behind": b"\1\2\0" + string(b"k") + b"\0",
        "empty": b"",
    }


def wal_write(flags, entries=(), commit=0, reopen=0, at=None):
    """A write as wal_written.hpp takes it from its input."""
    flags |= len(entries) << 3 | (4 if at is not None else 0)
    return bytes([reopen, flags] + ([at] if at is not None else [])) + b"".join(entries) + bytes([commit])


def wal_log(what, segment, writes, then=b""):
    return bytes([what, segment, len(writes)]) + b"".join(writes) + then


def wal_seeds():
    no_op, small, literal = b"\0", b"\1\x02", b"\5\x03abc"
    zeros, plus, batches = b"\2\x90", b"\3\x90", b"\4\xff"
    first = wal_write(0x21, [no_op])
    three = [first, wal_write(0x20, [literal], 1), wal_write(0x40, [small, zeros], 2)]
    many = [wal_write(0x20, [plus, literal]) for _ in range(5)] + [wal_write(2, [batches], 200, reopen=3)]
    replacing = [first, wal_write(0x20, [small, small, small], 1), wal_write(0x40, [literal], 9, at=0),
                 wal_write(0x60, [], 9, reopen=1)]
    batch = lambda number, offset: bytes([number * 2 + 1]) + struct.pack("<H", offset)
    spot = lambda file, offset: bytes([file * 2]) + struct.pack("<H", offset)
    seeds = {
        "undamaged-empty": wal_log(0, 0, []),
        "bit-in-batch": wal_log(5, 6, three, batch(1, 30) + b"\3"),
        "bit-in-header": wal_log(5, 6, three, spot(0, 20)),
        "bit-in-free-space": wal_log(5, 6, three, spot(0, 4000)),
        "bit-in-spare": wal_log(5, 6, three, spot(1, 700)),
        "crash-all-lost": wal_log(6, 6, many, b"\1\1\1\1\1\1"),
        "crash-first-lost": wal_log(6, 6, three, b"\1\0\0"),
        "crash-last-lost": wal_log(6, 6, three, b"\0\0\1"),
        "crash-nothing-lost": wal_log(6, 0, replacing),
    }
    damages = {
        "sector-of-first": b"\0\1" + batch(0, 0),
        "sector-of-last": b"\0\1" + batch(2, 512),
        "two-sectors": b"\1\1" + batch(1, 0) + b"\0" + b"\1" + batch(2, 512),
        "zeros-to-the-end": b"\0\2" + batch(1, 100) + b"\xff\xff",
        "overwritten": b"\0\3" + batch(2, 50) + b"\3WALB",
        "sectors-copied": b"\0\4" + batch(2, 0) + b"\2" + batch(1, 0),
        "cut": b"\0\5" + batch(2, 512) + b"\1",
        "longer": b"\0\6" + spot(0, 0) + b"\0\2\0",
        "exchanged": b"\0\7" + spot(0, 0) + b"\1",
        "doubled": b"\0\x08" + spot(1, 0) + b"\2",
        "removed": b"\0\x09" + spot(0, 0) + b"\0",
        "last-removed": b"\0\x09" + spot(0, 0) + b"\2",
        "torn-and-spare": b"\1\4" + spot(1, 1024) + b"\0" + batch(2, 512) + b"\1" + batch(2, 512) + b"\0",
        "all-removed": b"\2" + (b"\x09" + spot(0, 0) + b"\0") * 3,
    }
    for name, then in damages.items():
        seeds[f"damage-{name}"] = wal_log(0, 6, three, then)
        seeds[f"damage-{name}-small-segments"] = wal_log(0, 0, many, then)
    for change in range(8):
        for kept in range(3):
            seeds[f"failure-{change}-kept-{kept}"] = wal_log(
                7, 0, many, wal_write(0x20, [plus, batches])[1:] + bytes([change, change % 2, kept % 2, kept]))
    return seeds


# What the target makes itself, checksums and headers, is zero here.
SECTOR = 512


def forged_batch(*records, number=0, commit=0, length=None):
    body = b"".join(records)
    out = b"WALB" + struct.pack("<IQQQQ", len(body) if length is None else length, number, commit, 0, 0)
    out += body[:SECTOR - 40]
    for at in range(SECTOR - 40, len(body), SECTOR - 1):
        out += b"+" + body[at:at + SECTOR - 1]
    return out + b"\0" * (-len(out) % SECTOR)


def forged(keep, sectors, *parts):
    return bytes([keep, sectors - 1]) + b"".join(part + b"\0" * (-len(part) % SECTOR) for part in parts)


def wal_forged_seeds():
    hard_state = lambda term, vote: b"\1" + struct.pack("<Q", term) + string(vote)
    command = lambda term, index, text: b"\2" + struct.pack("<QQ", term, index) + string(text)
    no_op = lambda term, index: b"\3" + struct.pack("<QQ", term, index)
    header = b"\0" * SECTOR
    good = [forged_batch(hard_state(1, b"n1"), no_op(1, 1)), forged_batch(command(1, 2, b"abc"), commit=1),
            forged_batch(command(2, 2, b"v" * 1000), no_op(2, 3), commit=1)]
    raw_header = b"kvdwal\r\n" + struct.pack("<IIQQ", 1, 0, 1, 2048) + UUID.encode()
    one = lambda *batches, keep=0: forged(keep, 8, header, *batches)
    return {
        "good": one(*good),
        "good-two-segments": forged(0, 3, header, good[0], good[1], header, good[2]),
        "good-torn": forged(0, 3, header, good[0], good[1], header, good[2][:512] + b"\0" * 512 + good[2][1024:]),
        "good-empty-batches": one(forged_batch(), forged_batch()),
        "own-header": forged(1, 4, raw_header, good[0]),
        "own-header-version-2": forged(1, 4, raw_header.replace(b"\1\0\0\0", b"\2\0\0\0", 1), good[0]),
        "own-numbers": one(forged_batch(number=1), forged_batch(number=3), keep=2),
        "own-filler": one(good[2].replace(b"+", b"W"), keep=4),
        "raw": forged(7, 4, raw_header, b"WALB", b"+"),
        "no-records": one(forged_batch(b"\0")),
        "type-unknown": one(forged_batch(b"\4" + b"\1" * 16)),
        "hard-state-second": one(forged_batch(no_op(1, 1), hard_state(1, b"n1"))),
        "hard-state-twice": one(forged_batch(hard_state(1, b""), hard_state(2, b""))),
        "vote-beyond-end": one(forged_batch(b"\1" + struct.pack("<QI", 1, 2**32 - 1))),
        "command-beyond-end": one(forged_batch(b"\2" + struct.pack("<QQI", 1, 1, 4) + b"abc")),
        "record-cut": one(forged_batch(no_op(1, 1)[:-1])),
        "length-beyond-segment": one(forged_batch(no_op(1, 1), length=2**32 - 1)),
        "length-too-short": one(forged_batch(no_op(1, 1), no_op(1, 2), length=17)),
        "entry-0": one(forged_batch(no_op(1, 0))),
        "entry-missing": one(forged_batch(no_op(1, 2))),
        "entry-huge": one(forged_batch(no_op(1, 2**64 - 1))),
        "committed-replaced": one(forged_batch(no_op(1, 1), commit=1), forged_batch(no_op(2, 1))),
        "committed-missing": one(forged_batch(no_op(1, 1), commit=2)),
        "committed-huge": one(forged_batch(no_op(1, 1), commit=2**64 - 1)),
        "empty": b"",
    }


def snapshot_seeds():
    u32 = lambda number: struct.pack("<I", number)
    u64 = lambda number: struct.pack("<Q", number)
    members = b"\1\3" + string(UUID.encode()) + u32(1) + member(b"n1")
    state = lambda command=b"", forgotten=0: b"\1" + string(command) + u64(forgotten)
    item = lambda key, ts=1, value=b"v": b"\2" + u64(ts) + string(key) + string(value)
    answer = lambda seq, kind=1, number=1: u64(seq) + bytes([kind]) + u64(number)
    session = lambda name, last, *answers, dropped=0: (
        b"\3" + string(name) + u64(last) + u64(dropped) + u32(len(answers)) + b"".join(answers))
    kinds = [answer(seq, seq, seq * 2) for seq in range(1, 6)]
    # Checksums and the header are the target's own to make.
    header = b"kvdsnap\n" + u32(1) + u32(0) + u64(7) + u64(3) + b"\0" * 32
    block = lambda *records: u32(len(b"".join(records))) + b"\0" * 12 + b"".join(records)
    end = lambda blocks, keys=0, size=0: b"\0" * 16 + u64(blocks) + u64(keys) + u64(size) + b"\0" * 16
    good = [block(state(members, 2), item(b"a")), block(item(b"b", 5)), block(session(b"s", 6, *kinds))]
    forged = lambda *parts, keep=0, piece=7: bytes([keep, piece]) + b"".join(parts)
    return {
        "good": forged(header, *good, end(3, 2, 4)),
        "good-byte-by-byte": forged(header, *good, end(3, 2, 4), piece=0),
        "good-no-blocks": forged(header, end(0)),
        "own-header": forged(header, *good, end(3), keep=1),
        "own-header-version-2": forged(header.replace(b"\1\0\0\0", b"\2\0\0\0", 1), end(0), keep=1),
        "own-count": forged(header, *good, end(2), keep=2),
        "behind-the-end": forged(header, good[0], end(1), b"x"),
        "end-missing": forged(header, *good),
        "block-cut": forged(header, good[0][:-1]),
        "block-too-long": forged(header, u32((4 << 20) + 1) + b"\0" * 12),
        "block-huge": forged(header, u32(2**32 - 1) + b"\0" * 12),
        "records": forged(state(members, 1), item(b"a"), item(b"b"), session(b"s", 1), session(b"t", 2, *kinds)),
        "records-dropped": forged(state(), session(b"s", 9, answer(5), answer(8), dropped=4)),
        "no-state": forged(item(b"a")),
        "state-twice": forged(state(), state()),
        "members-none": forged(state(b"\1\1\0" + string(b"k") + string(b"v"))),
        "items-unsorted": forged(state(), item(b"b"), item(b"a")),
        "item-behind-session": forged(state(), session(b"s", 1), item(b"a")),
        "item-no-position": forged(state(), item(b"a", 0)),
        "item-last-position": forged(state(), item(b"a", 2**64 - 1)),
        "key-beyond-end": forged(state(), b"\2" + u64(1) + u32(2**32 - 1) + b"k"),
        "sessions-unsorted": forged(state(), session(b"t", 1), session(b"s", 2)),
        "sessions-same-position": forged(state(), session(b"s", 1), session(b"t", 1)),
        "answers-unsorted": forged(state(), session(b"s", 1, answer(2), answer(1))),
        "answers-many-announced": forged(state(), b"\3" + string(b"s") + u64(1) + u64(0) + u32(2**32 - 1)),
        "kind-unknown": forged(state(), session(b"s", 1, answer(1, 6))),
        "type-unknown": forged(state(), b"\4"),
        "empty": b"",
    }


def main():
    corpora = {
        "frame": frame_seeds(),
        "message": {name: compact(message) for name, message in good_messages().items()} | awkward_messages(),
        "command": command_seeds(),
        "snapshot": snapshot_seeds(),
        "wal": wal_seeds(),
        "wal_forged": wal_forged_seeds(),
    }
    for target, seeds in corpora.items():
        folder = FOLDER / target
        folder.mkdir(parents=True, exist_ok=True)
        for name, seed in seeds.items():
            (folder / name).write_bytes(seed)


if __name__ == "__main__":
    main()
