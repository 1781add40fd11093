"""The systems that scripts/bench.sh measures, each with the leanest load generator that there is for it.

Each has run(work, seconds) -> Figures, where work is a Work; what a system cannot do is None. All listen on loopback
ports that are free, keep their data below one folder, and stay up while others are measured.
"""

import csv
import dataclasses
import json
import pathlib
import shutil
import struct
import subprocess
import time

from servers import Server, free_ports, status, wait_for

KEYS = 10_000
VALUE_BYTES = 100
QUIET = 5  # seconds without a snapshot: between two that are due one behind the other there are fewer


@dataclasses.dataclass(frozen=True)
class Work:
    what: str  # put, get, linearizable, follow
    connections: int = 1
    pipeline: int = 1
    target: str = "leader"
    keys: int = KEYS
    value_bytes: int = VALUE_BYTES


@dataclasses.dataclass
class Figures:
    rate: float  # right answers a second
    p50: float = 0  # µs
    p99: float = 0
    series: dict = dataclasses.field(default_factory=dict)  # of a load with several kinds of requests: their p50


def output_of(words):
    return subprocess.run([str(word) for word in words], check=True, text=True, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout


class Kvd:
    name = "kvd"

    def __init__(self, build, folder, size=3, flags=()):
        self.build, self.folder, self.size, self.flags = build, folder / f"kvd-{size}", size, flags
        self.servers = []
        self.filled = (0, 0)  # keys, bytes of each value

    def start(self):
        self.folder.mkdir(parents=True)
        ports = free_ports(2 * self.size)
        peers = ",".join(f"n{i + 1}=127.0.0.1:{ports[self.size + i]}" for i in range(self.size)) if self.size > 1 else ""
        flags = ["--max-connections", "20000", *self.flags]
        if self.size > 1:
            flags += ["--preferred-leader", "n1"]
        self.servers = [Server(self.build, self.folder, f"n{i + 1}", ports[i], ports[self.size + i], peers, flags).start()
                        for i in range(self.size)]
        wait_for("kvd's leader", lambda: status(self.servers[0].address)["role"] == "leader")
        wait_for("kvd's others", lambda: all(status(server.address)["leader"] == "n1" for server in self.servers))
        return self

    def end(self):
        for server in self.servers:
            server.end()
        self.servers = []
        shutil.rmtree(self.folder, ignore_errors=True)

    def bench(self, kind, *words):
        endpoints = ",".join(server.address for server in self.servers)
        told = json.loads(output_of([self.build / "kvctl", "-o", "json", "--no-session", "--timeout", "60s", "--endpoints",
                                     endpoints, "bench", kind, *words]).splitlines()[-1])
        if told["others"]:
            raise SystemExit(f"bench: kvd has given other answers than right ones to {kind} {words}: {told['others']}")
        return told

    # Writes all keys, and waits until the snapshots that come of it are taken: to do that is no part of any work.
    def fill(self, keys, value_bytes=VALUE_BYTES):
        self.bench("get", "-n", 1, "--warm-up", "0s", "-k", keys, "--value-size", value_bytes)
        self.filled = (keys, value_bytes)
        last = time.monotonic()

        def all_quiet():
            nonlocal last
            if not all(self.is_quiet(server) for server in self.servers):
                last = time.monotonic()
            return time.monotonic() - last >= QUIET

        wait_for("kvd's snapshots", all_quiet)

    def is_quiet(self, server):
        told = status(server.address)
        return told["applied"] == told["committed"] and not list((self.folder / server.name).glob("*.snap.tmp"))

    def run(self, work, seconds):
        kind = {"linearizable": "get"}.get(work.what, work.what)
        words = ["-c", work.connections, "-p", work.pipeline, "-d", f"{seconds}s",
                 "--warm-up", f"{max(1, seconds // 3)}s", "-k", work.keys, "--value-size", work.value_bytes]
        if kind != "follow":
            words += ["--target", work.target]
        if kind == "get":
            if work.keys > self.filled[0] or work.value_bytes != self.filled[1]:
                self.fill(work.keys, work.value_bytes)
            words += ["--no-fill", "--consistency", "linearizable" if work.what == "linearizable" else "session"]
        elif work.value_bytes != self.filled[1]:
            self.filled = (0, 0)
        told = self.bench(kind, *words)
        series = {one["request"]: one["p50"] for one in told["series"]}
        return Figures(told["per_second"], told["series"][0]["p50"], told["series"][0]["p99"], series)


class Barest:
    """Three processes that sync what they are sent on a majority and do nothing else: tests/load/kvquorum.cpp."""

    name = "the barest server with kvd's promise"

    def __init__(self, build, folder):
        self.program, self.folder = build / "tests/load/kvquorum", folder / "barest"

    def start(self):
        self.folder.mkdir()
        return self

    def end(self):
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, work, seconds):
        return Figures(json.loads(output_of([self.program, self.folder, work.connections, work.pipeline, seconds]))["per_second"])


class BarestReads(Barest):
    """Answers at once whatever it is sent."""

    name = "the barest server that answers"

    def start(self):
        return self

    def end(self):
        pass

    def run(self, work, seconds):
        return Figures(json.loads(output_of([self.program, "-", work.connections, work.pipeline, seconds]))["per_second"])


class Redis:
    """One node, or three: replicas copy asynchronously; each syncs its log before it answers (or goes on)."""

    def __init__(self, folder, size):
        self.name = f"Redis, {size} node{'s' if size > 1 else ''}"
        self.folder, self.size = folder / f"redis-{size}", size
        self.processes, self.ports = [], []
        self.filled = (0, 0)  # keys, bytes of each value

    @staticmethod
    def is_installed():
        return all(shutil.which(program) for program in ("redis-server", "redis-benchmark", "redis-cli"))

    def start(self):
        self.ports = free_ports(self.size)
        for i, port in enumerate(self.ports):
            folder = self.folder / str(i)
            folder.mkdir(parents=True)
            words = ["redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", folder, "--save", "",
                     "--maxclients", 20000, "--repl-diskless-sync-delay", 0, "--logfile", folder / "log"]
            if self.size > 1:
                words += ["--appendonly", "yes", "--appendfsync", "always"]
            if i > 0:
                words += ["--replicaof", "127.0.0.1", self.ports[0]]
            self.processes.append(subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL,
                                                   stdout=subprocess.DEVNULL))
        wait_for(f"{self.name} and its replicas", self.is_online)
        return self

    def is_online(self):
        try:
            told = output_of(["redis-cli", "-p", self.ports[0], "info", "replication"])
        except subprocess.CalledProcessError:
            return False
        return told.count("state=online") == self.size - 1

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes = []
        shutil.rmtree(self.folder, ignore_errors=True)

    # Its load generator wants a number of requests: as many as a short run says.
    def run(self, work, seconds):
        if work.what == "get" and (work.keys, work.value_bytes) != self.filled:
            self.fill(work.keys, work.value_bytes)
        rate = self.ask(work, 2000 * work.pipeline).rate
        return self.ask(work, max(1000, int(rate * seconds)))

    # It picks its keys at random: after ten times as many writes nearly all are there.
    def fill(self, keys, value_bytes):
        self.ask(Work("put", 64, 16, keys=keys, value_bytes=value_bytes), 10 * keys)
        self.filled = (keys, value_bytes)

    def ask(self, work, count):
        test = {"put": "set", "get": "get"}[work.what]
        told = output_of(["redis-benchmark", "-p", self.ports[0], "-t", test, "-c", work.connections, "-P", work.pipeline,
                          "-n", count, "-r", work.keys, "-d", work.value_bytes, "--csv"])
        row = next(csv.DictReader(line for line in told.splitlines() if line.startswith('"')))
        return Figures(float(row["rps"]), float(row["p50_latency_ms"]) * 1000, float(row["p99_latency_ms"]) * 1000)


class Etcd:
    """Three nodes. The load is h2load, which sends one request again and again: a single key, without a client's work."""

    name = "etcd, 3 nodes"

    def __init__(self, folder):
        self.folder = folder / "etcd"
        self.processes, self.clients = [], []

    @staticmethod
    def is_installed():
        return all(shutil.which(program) for program in ("etcd", "etcdctl", "h2load"))

    def start(self):
        self.folder.mkdir(parents=True)
        ports = free_ports(6)
        self.clients = [f"http://127.0.0.1:{port}" for port in ports[:3]]
        peers = [f"http://127.0.0.1:{port}" for port in ports[3:]]
        cluster = ",".join(f"e{i}={peer}" for i, peer in enumerate(peers))
        for i in range(3):
            words = ["etcd", "--name", f"e{i}", "--data-dir", self.folder / f"e{i}", "--initial-cluster", cluster,
                     "--listen-client-urls", self.clients[i], "--advertise-client-urls", self.clients[i],
                     "--listen-peer-urls", peers[i], "--initial-advertise-peer-urls", peers[i], "--log-level", "error"]
            log = (self.folder / f"e{i}.log").open("w")
            self.processes.append(subprocess.Popen([str(word) for word in words], stdin=subprocess.DEVNULL,
                                                   stdout=log, stderr=log))
        key = b"key:000000000001"
        self.write("put", field(1, key) + field(2, b"x" * VALUE_BYTES))
        self.write("linearizable", field(1, key))
        wait_for("etcd", self.is_healthy)
        output_of(["etcdctl", "--endpoints", self.clients[0], "put", key.decode(), "x" * VALUE_BYTES])
        return self

    def write(self, what, message):  # as gRPC sends it
        (self.folder / what).write_bytes(b"\0" + struct.pack(">I", len(message)) + message)

    def is_healthy(self):
        try:
            output_of(["etcdctl", "--endpoints", ",".join(self.clients), "endpoint", "health"])
        except subprocess.CalledProcessError:
            return False
        return True

    def end(self):
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes = []
        shutil.rmtree(self.folder, ignore_errors=True)

    # One load for each server, at the same time.
    def run(self, work, seconds):
        method = {"put": "Put", "linearizable": "Range"}[work.what]
        before = self.revision()
        loads = []
        for i, client in enumerate(self.clients):
            connections = (work.connections + i) // len(self.clients)
            words = ["h2load", "-c", connections, "-m", 1, "-D", seconds, f"--warm-up-time={max(1, seconds // 3)}",
                     "-d", self.folder / work.what, "-H", "content-type: application/grpc", "-H", "te: trailers",
                     f"{client}/etcdserverpb.KV/{method}"]
            if connections:
                loads.append(subprocess.Popen([str(word) for word in words], text=True, stdin=subprocess.DEVNULL,
                                              stdout=subprocess.PIPE))
        told = [load.communicate()[0] for load in loads]
        requests = sum(number_before(text, " done") for text in told)
        if requests == 0 or any(number_before(text, " failed") for text in told):
            raise SystemExit(f"bench: etcd has failed at {work}")
        if work.what == "put" and self.revision() - before < requests:
            raise SystemExit("bench: etcd has answered more puts than it has done")
        return Figures(requests / seconds)

    def revision(self):
        return json.loads(output_of(["etcdctl", "--endpoints", self.clients[0], "get", "x", "-w", "json"]))["header"]["revision"]


def field(number, content):  # of a protobuf message, shorter than 128 bytes
    return bytes([number << 3 | 2, len(content)]) + content


# In h2load's line "requests: 1724 total, 1724 started, 1724 done, …"
def number_before(text, word):
    line = next(line for line in text.splitlines() if line.startswith("requests:"))
    return int(next(part for part in line.split(":")[1].split(",") if part.endswith(word)).split()[0])


def floors(build, folder, seconds=1):
    return json.loads(output_of([build / "tests/load/kvfloor", folder, seconds]))


def failover(kvd):
    """Seconds from kill -9 of the leader to the first PUT_OK of another one; the killed one is started again."""
    import servers
    leader = wait_for("a leader", lambda: next((s for s in kvd.servers if status(s.address)["role"] == "leader"), None))
    others = [server for server in kvd.servers if server is not leader]
    leader.end()
    begin = time.monotonic()
    put = {"type": "PUT", "id": 1, "key": "failover", "value": "x", "timeout_ms": 1000}
    wait_for("a PUT_OK", lambda: servers.ask(others[0].address, put)["type"] == "PUT_OK")
    took = time.monotonic() - begin
    leader.start()
    wait_for("the killed one", lambda: status(leader.address)["leader"])
    return took
