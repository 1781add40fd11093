"""What happens when there is no more room: the quota, and disks that are full. Reads and deletes go on, no server
ends, and writes go on by themselves when there is room again."""

import contextlib
import ctypes
import os
import socket
import tempfile
import threading
import unittest
from pathlib import Path

import kv

# ---- Small disks -----------------------------------------------------------------------------------------

DISK_BYTES = 24 << 20
libc = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments):
    if function(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def own_mounts():
    """From here on this process and those that it starts have mounts of their own, which end with the last of them,
    however that happens: for root, or where every user may have namespaces."""
    new_mounts, new_user, private_everywhere = 0x20000, 0x10000000, 0x4000 | 0x40000
    user, group = os.getuid(), os.getgid()
    if user == 0:
        call(libc.unshare, new_mounts)
    else:
        call(libc.unshare, new_user | new_mounts)
        for name, text in (("setgroups", "deny"), ("uid_map", f"{user} {user} 1"), ("gid_map", f"{group} {group} 1")):
            Path(f"/proc/self/{name}").write_text(text)
    call(libc.mount, None, b"/", None, private_everywhere, None)


class SmallDisk:
    """A file system of 24 MiB in memory."""

    def __init__(self, path):
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        call(libc.mount, b"tmpfs", os.fsencode(self.path), b"tmpfs", 0, b"size=%d,mode=700" % DISK_BYTES)

    def unmount(self):
        detach = 2  # also while a server that did not stop has files in it
        call(libc.umount2, os.fsencode(self.path), detach)


class Filler:
    """Takes all the room of disks, and also what the servers give back in order to have some, until it is freed."""

    def __init__(self, disks):
        self._disks = disks
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def free(self):
        self._stop.set()
        self._thread.join()
        for disk in self._disks:
            (disk.path / "filler").unlink(missing_ok=True)

    def _run(self):
        with contextlib.ExitStack() as stack:
            files = [stack.enter_context(open(disk.path / "filler", "ab")) for disk in self._disks]
            while True:
                for file in files:
                    for size in (1 << 20, 4096):
                        self._grow(file.fileno(), size)
                if self._stop.wait(0.005):
                    return

    @staticmethod
    def _grow(file, size):
        with contextlib.suppress(OSError):  # no room
            while True:
                os.posix_fallocate(file, os.fstat(file).st_size, size)


def small_disks_work():
    try:
        own_mounts()
        with tempfile.TemporaryDirectory() as folder:
            SmallDisk(folder).unmount()
    except OSError:
        return False
    return True


# ---- Tests -----------------------------------------------------------------------------------------------


class Quota(kv.TestCase):
    QUOTA = 1 << 20
    VALUE = 10_000

    def put(self, client, key, value_bytes):
        return client.ask("PUT", key=key, value="x" * value_bytes)

    def test_the_quota(self):
        servers = self.cluster(3, [*kv.QUICK, "--quota", "1MiB"])
        leader = servers.wait_leader()
        client = leader.connect()
        used = 0
        while used + 4 + self.VALUE <= self.QUOTA * 0.79:
            self.assert_message(self.put(client, f"{used // self.VALUE:04}", self.VALUE), "PUT_OK")
            used += 4 + self.VALUE
        for node in servers:
            self.assertNotIn("of --quota", node.log_text())
            self.assert_message(node.status(), "STATUS_OK", quota=self.QUOTA, full=False)

        with self.subTest("however many at once, never more; a warning before"):
            answers = client.ask_all([client.message("PUT", key=f"more{i:04}", value="y" * self.VALUE)
                                      for i in range(100)]).values()
            done = [answer for answer in answers if answer["type"] == "PUT_OK"]
            for answer in answers:
                if answer["type"] != "PUT_OK":
                    self.assertRegex(self.assert_error(answer, "NO_SPACE")["message"], "quota.*delete keys.*--quota")
            used += len(done) * (8 + self.VALUE)
            self.assertLessEqual(used, self.QUOTA)
            self.assertGreater(used + 8 + self.VALUE, self.QUOTA)
            for node in servers:
                node.wait_log(r"warn.*the data is \d\d % of --quota")

        with self.subTest("to the last byte"):
            self.assert_message(self.put(client, "rest", self.QUOTA - used - 4), "PUT_OK")
            position = leader.status()["applied"]
            for node in servers:
                status = node.wait_applied(position)
                self.assert_message(status, "STATUS_OK", bytes=self.QUOTA, full=True)
            for node in servers:
                self.assert_error(node.ask("PUT", key="a", value=""), "NO_SPACE")
                self.assert_error(node.ask("PUT", key="0001", value="x" * (self.VALUE + 1)), "NO_SPACE")

        with self.subTest("what does not add goes on"):
            for node in servers:
                self.assert_message(self.put(client, "0001", self.VALUE), "PUT_OK")
                self.assert_message(node.ask("GET", key="0000"), "GET_OK", value="x" * self.VALUE)
                self.assert_message(node.ask("GET", key="0001", consistency="linearizable"), "GET_OK")
            self.assert_message(self.put(client, "0001", self.VALUE - 100), "PUT_OK")
            self.assert_message(leader.status(), "STATUS_OK", full=False)
            self.assert_message(self.put(client, "hundred", 93), "PUT_OK")
            self.assert_error(self.put(client, "b", 0), "NO_SPACE")

        with self.subTest("after deletes writes go on"):
            follower = servers.followers()[0]
            self.assert_message(follower.ask("DELETE", key="0000"), "DELETE_OK", found=True)
            self.assert_message(self.put(client, "0000", self.VALUE), "PUT_OK")
            for number in range(40):
                self.assert_message(client.ask("DELETE", key=f"{number:04}"), "DELETE_OK")
            for node in servers:
                node.wait_log(r"info.*the data is \d\d % of --quota again")
            self.assert_message(self.put(client, "b", self.VALUE), "PUT_OK")
        client.close()
        servers.wait_same_state()


    def test_without_a_quota_the_log_is_as_long_as_with_a_big_one(self):
        node = self.node(flags=["--quota", "0"]).start().wait_ready()
        with node.connect() as client:
            for i in range(100):
                self.assert_message(self.put(client, "a", 100_000), "PUT_OK")
        # 10 MB of log: with the default quota the next snapshot would be due after 64 MiB.
        self.assert_message(node.status(), "STATUS_OK", quota=0, full=False, snapshot=0)
        self.assertNotIn("snapshot of", node.log_text())


class OpenFiles(kv.TestCase):
    """Whoever opens connections, and does nothing with them, leaves the disk what it needs."""

    OPEN_FILES = 200

    def idle(self, address, count):
        """Connections that say nothing, as many as are let in; closed when the test is over."""
        host, port = address.rsplit(":", 1)
        sockets = [socket.create_connection((host, int(port)), timeout=5) for _ in range(count)]
        for each in sockets:
            self.addCleanup(each.close)
        return sockets

    def put_much(self, node, client):
        """Through segments and snapshots, which are files that come and go."""
        for number in range(60):
            self.assert_message(client.ask("PUT", key=f"k{number % 5}", value=f"{number}:" + "x" * 1_000_000), "PUT_OK")
        node.wait_log("snapshot of")
        self.assertTrue(node.is_running())

    def test_idle_clients(self):
        node = self.node(flags=["--snapshot-every", "20"])
        node.open_files = self.OPEN_FILES
        node.start().wait_ready()
        node.wait_log("warn.*--max-connections 10000.*may have 200 files open.*ulimit -n")
        with node.connect() as client:
            self.assert_message(client.ask("PUT", key="a", value="1"), "PUT_OK")
            self.idle(node.address, 100)
            with node.connect() as another:
                self.assert_message(another.ask("GET", key="a"), "GET_OK")
            self.idle(node.address, 150)
            with node.connect() as one_too_many:
                self.assert_error(one_too_many.receive(), "OVERLOADED")
                self.assertTrue(one_too_many.is_closed_by_server())
            self.put_much(node, client)
        self.assertNotIn("cannot accept", node.log_text())

    def test_idle_servers(self):
        servers = self.cluster(3, [*kv.QUICK, "--snapshot-every", "20"], start=False)
        for node in servers:
            node.open_files = self.OPEN_FILES
        servers.start().wait_ready()
        leader = servers.wait_leader()
        with leader.connect() as client:
            self.idle(leader.address, 250)
            self.idle(leader.peer_address, 250)
            self.put_much(leader, client)
        self.assertNotIn("cannot accept", leader.log_text())

    def test_enough_of_them(self):
        node = self.node(flags=["--max-connections", "100"])
        node.open_files = self.OPEN_FILES
        node.start().wait_ready()
        self.assertNotIn("--max-connections", node.log_text())


@unittest.skipUnless(small_disks_work(), "small file systems cannot be mounted here")
class FullDisk(kv.TestCase):
    FLAGS = [*kv.QUICK, "--snapshot-every", "20"]
    VALUE = "x" * 60_000
    KEYS = 20

    def on_small_disk(self, *nodes):
        disks = [SmallDisk(node.folder / f"disk-{node.name}") for node in nodes]
        for node, disk in zip(nodes, disks):
            node.data_dir = disk.path / "data"
            self.addCleanup(disk.unmount)
        return disks

    def fill(self, disks):
        filler = Filler(disks)
        self.addCleanup(filler.free)
        return filler

    def put(self, node, number):
        return node.ask("PUT", key=f"k{number % self.KEYS}", value=f"{number}:{self.VALUE}", timeout_ms=10_000,
                        timeout=15)

    def put_more(self, node, count):
        """Returns key -> value, all answered."""
        written = {}
        for number in range(count):
            answer = self.assert_message(self.put(node, number), "PUT_OK")
            written[answer["key"]] = f"{number}:{self.VALUE}"
        return written

    def put_until_refused(self, node):
        """The room that the log has set aside is used first, and what an older snapshot gives back. Returns what was
        written all the same."""
        return self.put_until(lambda: node, f"{node.name} refuses to add",
                              lambda answer: answer["type"] == "ERROR" and node.status()["full"])

    def put_until(self, node, what, condition):
        """Whoever asks sees nothing but PUT_OK and NO_SPACE."""
        written = {}
        number = 1_000_000

        def is_done():
            nonlocal number
            number += 1
            answer = self.put(node(), number)
            if answer["type"] == "PUT_OK":
                written[answer["key"]] = f"{number}:{self.VALUE}"
            else:
                self.assertRegex(self.assert_error(answer, "NO_SPACE")["message"], "full: make room there")
            return condition(answer)

        kv.wait_until(what, is_done, 30, 0)
        return written

    def put_again(self, node):
        """After there is room again: within seconds, by themselves."""
        kv.wait_until(f"{node.name} takes writes again", lambda: self.put(node, 0)["type"] == "PUT_OK", 10, 0.05)

    def assert_reads(self, node, written):
        for key, value in written.items():
            self.assert_message(node.ask("GET", key=key, consistency="local"), "GET_OK", value=value)

    def test_a_single_server(self):
        node = self.node(flags=["--snapshot-every", "20"])
        disks = self.on_small_disk(node)
        node.start().wait_ready()
        written = self.put_more(node, 100)
        filler = self.fill(disks)
        written |= self.put_until_refused(node)
        node.wait_log("warn.*the disk is full")
        self.assert_reads(node, written)
        self.assert_message(node.ask("GET", key="k1", consistency="linearizable"), "GET_OK", value=written["k1"])
        self.assert_message(node.ask("DELETE", key="k1"), "DELETE_OK", found=True)
        filler.free()
        self.put_again(node)
        self.assert_message(node.wait_status("is not full", lambda status: not status["full"]), "STATUS_OK")
        self.put_more(node, 100)
        self.assert_message(node.ask("GET", key="k1"), "GET_OK")
        self.assertTrue(node.is_running())

    def test_a_single_server_is_killed_while_its_disk_is_full(self):
        node = self.node(flags=["--snapshot-every", "20"])
        disks = self.on_small_disk(node)
        node.start().wait_ready()
        written = self.put_more(node, 100)
        filler = self.fill(disks)
        written |= self.put_until_refused(node)
        node.restart()
        # Until it leads, it has what its log says is committed, which the last writes may not be yet.
        self.assert_message(node.ask("GET", key="k1", consistency="linearizable"), "GET_OK", value=written["k1"])
        self.assert_reads(node, written)
        self.assert_message(node.ask("DELETE", key="k1"), "DELETE_OK", found=True)
        filler.free()
        self.put_again(node)

    def fill_with_own_data(self, *flags):
        """Then all of it is deleted, and nothing more is asked than whether there is room again."""
        node = self.node(flags=flags)
        self.on_small_disk(node)
        node.start().wait_ready()
        number = 0

        def refused():
            nonlocal number
            number += 1
            answer = node.ask("PUT", key=f"new{number}", value=self.VALUE)
            return answer["type"] == "ERROR" and self.assert_error(answer, "NO_SPACE") and node.status()["full"]

        kv.wait_until("it refuses to add", refused, 30, 0)
        print(f"--snapshot-every {flags[-1]}: {node.status()['keys']} values of 60 KB fit on a disk of 24 MiB")
        for i in range(1, number + 1):
            self.assert_message(node.ask("DELETE", key=f"new{i}"), "DELETE_OK")

        def taken(answer):
            if answer["type"] != "PUT_OK":
                self.assert_error(answer, "NO_SPACE")
            return answer["type"] == "PUT_OK"

        # The log goes as soon as there is a snapshot without them: that is tried every ten seconds. Until then there
        # may be room for some.
        kv.wait_until("a hundred are taken", lambda: all(taken(self.put(node, i)) for i in range(100)), 40, 0.5)

    def test_own_data_fill_the_disk_between_snapshots(self):
        self.fill_with_own_data("--snapshot-every", "100000")

    def test_own_data_fill_the_disk_with_many_snapshots(self):
        self.fill_with_own_data("--snapshot-every", "20")

    def test_all_three(self):
        servers = self.cluster(3, self.FLAGS, start=False)
        disks = self.on_small_disk(*servers)
        servers.start().wait_ready()
        leader = servers.wait_leader()
        written = self.put_more(leader, 100)
        filler = self.fill(disks)
        written |= self.put_until_refused(leader)
        for node in servers:
            self.assert_reads(node, written)
        for number, node in enumerate(servers):
            answer = node.ask("GET", key="k5", consistency="linearizable")
            self.assert_message(answer, "GET_OK", value=written["k5"])
            self.assert_message(node.ask("DELETE", key=f"k{number}"), "DELETE_OK", found=True)
        filler.free()
        for node in servers:
            self.put_again(node)
        self.put_more(leader, 50)
        servers.wait_same_state()

    def test_the_leader_only(self):
        servers = self.cluster(3, [*self.FLAGS, "--preferred-leader", "n1"], start=False)
        disks = self.on_small_disk(servers["n1"])
        servers.start().wait_ready()
        full = servers["n1"]
        full.wait_status("leads", lambda status: status["role"] == "leader")
        written = self.put_more(full, 100)
        filler = self.fill(disks)
        written |= self.put_until(servers.wait_leader, "another one leads",
                                  lambda _: servers.wait_leader() is not full)
        full.wait_log("handing leadership over: this server's disk is full")
        leader = servers.wait_leader()
        # More than it has room for.
        written |= self.put_more(leader, 100)
        self.assertIs(servers.wait_leader(), leader, "the preferred leader leads only where it can")
        for node in servers:
            self.assert_message(node.ask("GET", key="k5", consistency="local"), "GET_OK")
            if node is not full:
                self.assert_message(node.ask("DELETE", key=f"{node.name} has it not"), "DELETE_OK", found=False)
        self.assert_reads(leader, written)
        filler.free()
        self.put_again(full)
        servers.wait_same_state()
        full.wait_log("the disk has room again")

    def test_one_follower_only(self):
        servers = self.cluster(3, [*self.FLAGS, "--preferred-leader", "n1"], start=False)
        disks = self.on_small_disk(servers["n2"])
        servers.start().wait_ready()
        leader, full = servers["n1"], servers["n2"]
        leader.wait_status("leads", lambda status: status["role"] == "leader")
        self.put_more(leader, 100)
        servers.wait_same_state()
        filler = self.fill(disks)
        written = self.put_more(leader, 150)
        full.wait_log("warn.*the disk is full")
        self.assert_message(full.ask("GET", key="k1", consistency="local"), "GET_OK")
        for node in servers:
            self.assert_message(node.ask("DELETE", key=f"{node.name} has it not"), "DELETE_OK", found=False)
            self.assert_message(self.put(node, 1), "PUT_OK")
        self.assertIs(servers.wait_leader(), leader)
        filler.free()
        servers.wait_same_state()
        self.assert_reads(full, written | {"k1": f"1:{self.VALUE}"})


if __name__ == "__main__":
    kv.main()
