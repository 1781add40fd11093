"""The harness of the end-to-end tests: real kvd processes, a raw protocol client, kvctl.

    class Reads(kv.TestCase):
        def test_something(self):
            cluster = self.cluster(3)                       # started, and it has a leader
            client = cluster["n1"].connect()
            ts = client.ask("PUT", key="a", value="1")["ts"]

Everything a test starts is ended when it is over, and every wait has an end. When a test fails, the servers'
logs are printed. Nothing sleeps for a fixed time: wait_until() polls for an event.

From the environment: KVD_BIN and KVCTL_BIN are the programs (default: the release build's), KV_TEST_SLOWDOWN
multiplies every bound (for sanitizer builds), KV_TEST_KEEP=1 keeps the folders, whose names are printed.
"""

import base64
import collections
import contextlib
import ctypes
import fcntl
import functools
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
KVD = os.environ.get("KVD_BIN") or str(ROOT / "build/release/kvd")
KVCTL = os.environ.get("KVCTL_BIN") or str(ROOT / "build/release/kvctl")
SLOWDOWN = float(os.environ.get("KV_TEST_SLOWDOWN", "1"))

# Quick elections for tests that are not about time. Not quicker: two test programs share two cores; and under a sanitizer
# 3 MiB of JSON alone take longer than this.
QUICK = ["--heartbeat-interval", "50ms", "--election-timeout", f"{500 * SLOWDOWN:.0f}ms"]

# For tests that demand that the leader stays: a disk or a machine that pauses for seconds is no reason for an election.
CALM = ["--heartbeat-interval", "50ms", "--election-timeout", f"{5000 * SLOWDOWN:.0f}ms"]

MAX_FRAME = 4 << 20
SKIPPED = 77  # exit status by which ctest knows that every test was skipped


def wait_until(what, condition, timeout=10.0, every=0.01):
    """Polls until condition() is truthy and returns that; fails with `what` and the last value after timeout."""
    end = time.monotonic() + timeout * SLOWDOWN
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout * SLOWDOWN:.0f} s in vain for: {what} (last: {value!r})")
        time.sleep(every)


# ---- Ports -----------------------------------------------------------------------------------------------

_reservations = {}  # port -> the locked file's descriptor, for as long as this process lives


def reserve_port(port):
    """Whether this test program has the port now: nobody listens on it, and no other test program has it."""
    if port in _reservations:
        return False
    folder = Path(tempfile.gettempdir()) / f"kvd-e2e-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    file = os.open(folder / str(port), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as kvd does
            probe.bind(("127.0.0.1", port))
    except OSError:
        os.close(file)
        return False
    _reservations[port] = file
    return True


def free_port():
    """A port that nobody listens on and no other test program was given.

    Not one of the kernel's own choice: from its range it also takes the local ports of outgoing connections,
    so a server that was killed might find its port taken, or a peer might connect to itself."""
    low, _ = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    for _ in range(1000):
        port = random.randrange(10000, max(int(low), 12000))
        if reserve_port(port):
            return port
    raise AssertionError("no free port found")


# ---- The protocol ----------------------------------------------------------------------------------------


class Closed(Exception):
    """The server closed the connection."""


class Timeout(Exception):
    """Nothing (more) came in time."""


def frame(body):
    """A message, or the bytes of one, as a frame."""
    if isinstance(body, dict):
        body = json.dumps(body, ensure_ascii=False).encode()
    return struct.pack(">I", len(body)) + body


def value_of(message):
    """The value of a GET_OK as bytes, in whichever form it travelled; None if absent."""
    if "value_base64" in message:
        return base64.b64decode(message["value_base64"], validate=True)
    value = message["value"]
    return None if value is None else value.encode()


def is_final(message):
    return message["type"] != "WAIT_FOR_RESPONSE"


class Client:
    """One connection that speaks the protocol as it is: what is sent is what the test says.

    With `receive_buffer` the kernel holds no more than about so many bytes for it while it does not read."""

    def __init__(self, address, timeout=10.0, receive_buffer=None):
        host, port = address.rsplit(":", 1)
        self.timeout = timeout
        self.next_id = 1
        self.buffer = bytearray()
        self.arrived = collections.deque()  # received and not handed out
        self.socket = socket.socket()
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout * SLOWDOWN)
        try:
            self.socket.connect((host, int(port)))
        except OSError:
            self.socket.close()
            raise
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send_bytes(self, data):
        self.socket.settimeout(self.timeout * SLOWDOWN)
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError) as error:
            raise Closed(str(error)) from None

    def message(self, type, **members):
        """A request with the next id."""
        self.next_id += 1
        return {"type": type, "id": self.next_id, **members}

    def send(self, type, **members):
        """Sends a request and returns its id."""
        message = self.message(type, **members)
        self.send_bytes(frame(message))
        return message["id"]

    def send_all(self, messages):
        """Sends many requests at once: pipelined."""
        self.send_bytes(b"".join(frame(message) for message in messages))

    def _read_message(self, end):
        """The next message from the socket."""
        while True:
            if len(self.buffer) >= 4:
                length = struct.unpack_from(">I", self.buffer)[0]
                assert 1 <= length <= MAX_FRAME, f"the server sent a frame of {length} bytes"
                if len(self.buffer) >= 4 + length:
                    body = bytes(self.buffer[4:4 + length])
                    del self.buffer[:4 + length]
                    return json.loads(body.decode("utf-8"))
            left = end - time.monotonic()
            if left <= 0:
                raise Timeout("no message came in time")
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(1 << 18)
            except TimeoutError:
                raise Timeout("no message came in time") from None
            except ConnectionResetError:
                data = b""
            if not data:
                raise Closed("the server closed the connection" + (" within a frame" if self.buffer else ""))
            self.buffer += data

    def receive(self, timeout=None):
        """The next message, whatever it is."""
        if self.arrived:
            return self.arrived.popleft()
        return self._read_message(time.monotonic() + (timeout or self.timeout) * SLOWDOWN)

    def answer(self, id, timeout=None):
        """The next message with this id; others stay for later."""
        for message in self.arrived:
            if message.get("id") == id:
                self.arrived.remove(message)
                return message
        end = time.monotonic() + (timeout or self.timeout) * SLOWDOWN
        while True:
            message = self._read_message(end)
            if message.get("id") == id:
                return message
            self.arrived.append(message)

    def final_answer(self, id, timeout=None):
        """The final answer to this id, past any WAIT_FOR_RESPONSE."""
        while True:
            message = self.answer(id, timeout)
            if is_final(message):
                return message

    def ask(self, type, timeout=None, **members):
        """Sends a request and returns its final answer."""
        return self.final_answer(self.send(type, **members), timeout)

    def ask_all(self, messages, window=500):
        """Pipelines requests, at most `window` of them on their way, and returns the final answers by id."""
        answers = {}
        messages = list(messages)
        for start in range(0, len(messages), window):
            part = messages[start:start + window]
            self.send_all(part)
            waiting = {message["id"] for message in part}
            while waiting:
                message = self.receive()
                if is_final(message):
                    waiting.discard(message["id"])
                    answers[message["id"]] = message
        return answers

    def is_closed_by_server(self, timeout=5.0):
        """Whether the server closes the connection in time; what it sends before that is dropped."""
        end = time.monotonic() + timeout * SLOWDOWN
        try:
            while True:
                self._read_message(end)
        except Closed:
            return True
        except Timeout:
            return False


# ---- Servers ---------------------------------------------------------------------------------------------


def clean_environment(extra=None):
    """This process's environment without what would change the programs' behaviour."""
    dropped = ("KVD_", "KVCTL_", "NO_COLOR", "NOTIFY_SOCKET", "XDG_", "TERM")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    environment["LC_ALL"] = "C.UTF-8"
    environment.update(extra or {})
    return environment


# The kernel ends the children when this process dies, however that happens (ctest's time-out is a SIGKILL).
DIE_WITH_ME = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []


# How servers are to use their sockets where a test does not say (--io-uring); empty: as they do by themselves.
IO_URING = os.environ.get("KV_TEST_IO_URING", "")


@functools.cache
def io_uring_works():
    """Whether the kernel makes a ring as servers need it."""
    single_issuer, deferred, io_uring_setup = 1 << 12, 1 << 13, 425
    parameters = struct.pack("<8xI", single_issuer | deferred).ljust(120, b"\0")
    ring = ctypes.CDLL(None).syscall(io_uring_setup, 8, ctypes.create_string_buffer(parameters, 120))
    if ring >= 0:
        os.close(ring)
    return ring >= 0


def proc_state(pid):
    """As ps shows it: T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


class Node:
    """One kvd: its addresses and data directory stay, its process comes and goes."""

    def __init__(self, folder, name, flags=(), single=False):
        self.name = name
        self.single = single
        self.folder = Path(folder)
        self.data_dir = self.folder / name
        self.log = self.folder / f"{name}.log"
        self.address = f"127.0.0.1:{free_port()}"
        self.peer_address = f"127.0.0.1:{free_port()}"
        self.cluster_flag = None
        self.flags = list(flags)
        self.process = None
        self.environment = {"KVD_IO_URING": IO_URING} if IO_URING else {}
        self.under = []  # a program and its options that runs it, such as valgrind
        self.open_files = None  # how many it may have; None: as this process

    def command(self):
        words = [KVD, "--listen", self.address, "--data-dir", str(self.data_dir)]
        if not self.single:
            words += ["--name", self.name, "--peer-listen", self.peer_address, "--cluster", self.cluster_flag]
        return words + self.flags

    def start(self):
        assert not self.is_running(), f"{self.name} runs already"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen([*DIE_WITH_ME, *self.under, *self.command()], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, cwd=self.folder,
                                            env=clean_environment(self.environment),
                                            preexec_fn=self.open_files and self.limit_open_files)
        return self

    def limit_open_files(self):
        resource.setrlimit(resource.RLIMIT_NOFILE, (self.open_files, self.open_files))

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """kill -9: the process is gone when this returns."""
        self.process.kill()
        self.process.wait()

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)
        wait_until(f"{self.name} is stopped", lambda: self.proc_state() == "T")

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def terminate(self, timeout=10.0):
        """SIGTERM: its exit status."""
        self.process.terminate()
        return self.wait(timeout)

    def wait(self, timeout=10.0):
        """Waits until the process ends by itself: its exit status."""
        try:
            return self.process.wait(timeout * SLOWDOWN)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not stop within {timeout * SLOWDOWN:.0f} s") from None

    def restart(self):
        """kill -9 and start again; ready when this returns."""
        if self.is_running():
            self.kill()
        return self.start().wait_ready()

    def stop_for_good(self):
        if self.is_running():
            self.process.kill()
            self.process.wait()

    def proc_state(self):
        return proc_state(self.pid)

    def rss_bytes(self):
        return int(re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())[1]) * 1024

    def connect(self, timeout=10.0, receive_buffer=None):
        return Client(self.address, timeout, receive_buffer)

    def connect_peer(self, timeout=10.0):
        return Client(self.peer_address, timeout)

    def ask(self, type, timeout=None, **members):
        """One request on a connection of its own."""
        with self.connect() as client:
            return client.ask(type, timeout, **members)

    def status(self, timeout=2.0):
        """Its STATUS_OK, or None if it can't be had now."""
        try:
            with self.connect(timeout) as client:
                answer = client.ask("STATUS", timeout=timeout)
        except (OSError, Closed, Timeout):
            if not self.is_running():
                raise AssertionError(f"{self.name} has stopped, exit status {self.process.returncode}") from None
            return None
        assert answer["type"] == "STATUS_OK", answer
        return answer

    def wait_status(self, what, condition, timeout=15.0):
        """Waits until its status meets the condition, and returns that."""
        last = None

        def holds():
            nonlocal last
            last = self.status()
            return last is not None and condition(last)

        try:
            wait_until(f"{self.name} {what}", holds, timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}; its status: {last}") from None
        return last

    def wait_ready(self, timeout=15.0):
        """Ready: it answers and knows a leader."""
        self.wait_status("is ready, with a leader", lambda status: status["leader"], timeout)
        return self

    def wait_applied(self, position, timeout=15.0):
        return self.wait_status(f"has applied {position}", lambda status: status["applied"] >= position, timeout)

    def files(self, suffix):
        """Names and sizes of the files in its data directory that end so, as they are at this moment; by name."""
        sizes = {}
        if self.data_dir.is_dir():
            for name in sorted(os.listdir(self.data_dir)):
                if name.endswith(suffix):
                    with contextlib.suppress(FileNotFoundError):  # it has just been renamed or removed
                        sizes[name] = (self.data_dir / name).stat().st_size
        return sizes

    def log_text(self, since=0):
        """Its log, without the first `since` characters: len(log_text()) of an earlier moment."""
        return self.log.read_text(errors="replace")[since:] if self.log.exists() else ""

    def wait_log(self, pattern, timeout=10.0, since=0):
        """Waits for a line of its log that matches."""
        return wait_until(f"{self.name} logs /{pattern}/", lambda: re.search(pattern, self.log_text(since)), timeout,
                          0.05)


class Cluster:
    """Nodes n1 … that know each other: cluster["n1"], or iterate."""

    def __init__(self, folder, size, flags, node_flags):
        self.nodes = {}
        for number in range(1, size + 1):
            name = f"n{number}"
            self.nodes[name] = Node(folder, name, [*flags, *node_flags.get(name, [])])
        member_list = ",".join(f"{node.name}={node.peer_address}" for node in self)
        for node in self:
            node.cluster_flag = member_list

    def __getitem__(self, name):
        return self.nodes[name]

    def __iter__(self):
        return iter(self.nodes.values())

    def start(self):
        for node in self:
            node.start()
        return self

    def wait_ready(self, timeout=20.0):
        for node in self.running():
            node.wait_ready(timeout)
        return self

    def running(self):
        """Those that run and are not paused."""
        return [node for node in self if node.is_running() and node.proc_state() != "T"]

    def wait_leader(self, timeout=20.0):
        """The node that leads, by its own word and that of every running one."""
        def agreed():
            statuses = [node.status() for node in self.running()]
            if not statuses or None in statuses:
                return None
            names = {status["leader"] for status in statuses}
            terms = {status["term"] for status in statuses}
            leads = [status["node"] for status in statuses if status["role"] == "leader"]
            return leads[0] if len(terms) == 1 and names == set(leads) and len(leads) == 1 else None

        return self[wait_until("the running nodes agree on a leader", agreed, timeout)]

    def followers(self):
        leader = self.wait_leader()
        return [node for node in self.running() if node is not leader]

    def wait_same_state(self, timeout=20.0):
        """All have applied the same, and the digests of their contents are equal. Returns a status."""
        def at_one_position():
            statuses = [node.status() for node in self]
            same = None not in statuses and len({status["applied"] for status in statuses}) == 1
            return statuses if same else None

        statuses = wait_until("all have applied the same", at_one_position, timeout, 0.05)
        digests = {status["node"]: status["digest"] for status in statuses}
        assert len(set(digests.values())) == 1, f"at position {statuses[0]['applied']} they differ: {digests}"
        return statuses[0]

    def endpoints(self):
        return ",".join(node.address for node in self)


# ---- kvctl -----------------------------------------------------------------------------------------------


class Result:
    """What a program did: exit status, stdout and stderr (text; .stdout_bytes as it was)."""

    def __init__(self, words, completed):
        self.words = words
        self.status = completed.returncode
        self.stdout_bytes = completed.stdout
        self.stdout = completed.stdout.decode("utf-8", "replace")
        self.stderr = completed.stderr.decode("utf-8", "replace")

    def __repr__(self):
        return f"$ {' '.join(self.words)}\nexit {self.status}\nstdout: {self.stdout!r}\nstderr: {self.stderr!r}"


def run(words, stdin=b"", env=None, cwd=None, timeout=30.0):
    """Runs a program to its end."""
    if isinstance(stdin, str):
        stdin = stdin.encode()
    words = [str(word) for word in words]
    completed = subprocess.run([*DIE_WITH_ME, *words], input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               env=env if env is not None else clean_environment(), cwd=cwd, timeout=timeout * SLOWDOWN)
    return Result(words, completed)


# ---- Test cases ------------------------------------------------------------------------------------------


class TestCase(unittest.TestCase):
    """A test with a folder of its own, whose servers end with it."""

    maxDiff = None

    def run(self, result=None):
        result = result if result is not None else self.defaultTestResult()
        bad_before = len(result.failures) + len(result.errors)
        self.folder = Path(tempfile.mkdtemp(prefix="kvd-e2e-"))
        self.nodes = []
        self.addCleanup(self._check_logs)
        try:
            return super().run(result)
        finally:
            for node in self.nodes:
                node.stop_for_good()
            if len(result.failures) + len(result.errors) > bad_before:
                self._print_logs()
            if os.environ.get("KV_TEST_KEEP"):
                print(f"\n{self.id()}: {self.folder}", file=sys.stderr)
            else:
                shutil.rmtree(self.folder, ignore_errors=True)

    def _check_logs(self):
        """A server that went wrong fails the test, also where nobody looked at it afterwards."""
        for node in self.nodes:
            found = re.search(r".*(Sanitizer|runtime error:|terminate called|[Aa]ssertion).*", node.log_text())
            self.assertIsNone(found, f"{node.name} says: {found and found[0]}")

    def _print_logs(self, lines=60):
        for node in self.nodes:
            print(f"\n---- {self._testMethodName}: the end of {node.name}'s log", file=sys.stderr)
            print("\n".join(node.log_text().splitlines()[-lines:]), file=sys.stderr)
        sys.stderr.flush()

    def node(self, name="n1", flags=(), single=True):
        """A node that is not started yet: on its own unless `single` is False."""
        node = Node(self.folder, name, flags, single)
        self.nodes.append(node)
        return node

    def cluster(self, size=3, flags=QUICK, node_flags=None, start=True):
        """A cluster, started and with a leader that every node knows (unless `start` is False)."""
        cluster = Cluster(self.folder, size, flags, node_flags or {})
        self.nodes += list(cluster)
        if start:
            cluster.start().wait_ready()
        return cluster

    def led_cluster(self, leader, flags=QUICK, node_flags=None):
        """Three servers, of which `leader` leads."""
        cluster = self.cluster(3, [*flags, "--preferred-leader", leader], node_flags)
        cluster[leader].wait_status("leads", lambda status: status["role"] == "leader")
        cluster.wait_leader()
        return cluster

    def late_cluster(self, late, delay):
        """Three servers, of which `late` (not n1) applies everything later. n1 leads: a leader that applies late
        would answer writes late, and then there would be nothing to wait for."""
        return self.led_cluster("n1", node_flags={late: ["--delay-replication", delay]})

    def kvctl_environment(self, **extra):
        """kvctl's environment: state (session file, history) of this test's own."""
        return clean_environment({"HOME": str(self.folder), "XDG_STATE_HOME": str(self.folder / "state"), **extra})

    def kvctl(self, *words, endpoints=None, stdin=b"", env=None, timeout=30.0):
        """Runs kvctl to its end."""
        where = ["-e", endpoints] if endpoints else []
        return run([KVCTL, *where, *words], stdin, self.kvctl_environment(**(env or {})), self.folder, timeout)

    def start_kvctl(self, *words, endpoints):
        """One that goes on, with its pipes."""
        return subprocess.Popen([*DIE_WITH_ME, KVCTL, "-e", endpoints, *words], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, env=self.kvctl_environment())

    def check(self, result, status=0, stdout=None, stderr=None):
        """Compares what a program did; `stderr` is a pattern to be found."""
        self.assertEqual(result.status, status, result)
        if stdout is not None:
            self.assertEqual(result.stdout, stdout, result)
        if stderr is not None:
            self.assertRegex(result.stderr, stderr, result)
        return result

    def assert_message(self, message, type, **members):
        """The message is of this type and has these members (others too)."""
        self.assertEqual(message["type"], type, message)
        for name, value in members.items():
            self.assertIn(name, message, message)
            self.assertEqual(message[name], value, message)
        return message

    def assert_error(self, message, *codes):
        self.assertEqual(message["type"], "ERROR", message)
        self.assertIn(message["code"], codes, message)
        # The text is for a person: one line that says something.
        self.assertGreater(len(message["message"]), 5, message)
        self.assertNotIn("\n", message["message"], message)
        return message


def main():
    """What each test file ends with."""
    # SIGTERM as an exception, so that the servers end on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for program in (KVD, KVCTL):
        if not os.access(program, os.X_OK):
            sys.exit(f"{program} is not there: build it first (scripts/test.sh), or set KVD_BIN and KVCTL_BIN")
    result = unittest.main(module="__main__", verbosity=2, exit=False).result
    if result.testsRun and len(result.skipped) == result.testsRun:
        sys.exit(SKIPPED)
    sys.exit(0 if result.wasSuccessful() else 1)
