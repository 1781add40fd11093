"""The client library as another program uses it: installed into a folder of its own, found by CMake, built against
nothing but what was installed, and run against real servers."""

import os
import re
import shlex
import shutil
import signal
import unittest
from pathlib import Path

import kv

BUILD = os.environ.get("KVD_BUILD") or os.path.dirname(kv.KVD)
EXAMPLE = kv.ROOT / "client/example"


def cached(name):
    """A variable of the build's CMake cache."""
    text = (Path(BUILD) / "CMakeCache.txt").read_text(encoding="utf-8")
    found = re.search(rf"^{name}:\w+=(.*)$", text, re.MULTILINE)
    return found[1] if found else ""


@unittest.skipUnless(shutil.which("cmake") and os.path.exists(os.path.join(BUILD, "CMakeCache.txt")),
                     "cmake and the build's folder are needed")
class Installed(kv.TestCase):
    def cmake(self, *words):
        result = kv.run(["cmake", *words], env=dict(os.environ), timeout=120)
        self.assertEqual(result.status, 0, result)
        return result

    def configuration(self):
        """The build's own compiler and flags: an archive with sanitizers needs a program with them."""
        type = cached("CMAKE_BUILD_TYPE")
        sanitizers = cached("KV_SANITIZE")
        flags = cached("CMAKE_CXX_FLAGS") + (f" -fsanitize={sanitizers}" if sanitizers else "")
        if sanitizers == "thread":
            flags += " -Wno-tsan"  # of Asio's fences, which it cannot follow
        launcher = cached("CCACHE")
        return ["-G", cached("CMAKE_GENERATOR"), f"-DCMAKE_CXX_COMPILER={cached('CMAKE_CXX_COMPILER')}",
                f"-DCMAKE_BUILD_TYPE={type}", f"-DCMAKE_CXX_FLAGS={flags} -Wall -Wextra -Werror",
                *([f"-DCMAKE_CXX_COMPILER_LAUNCHER={launcher}"] if launcher and "NOTFOUND" not in launcher else [])]

    @staticmethod
    def install_words(prefix):
        """As docs/client-library.md has them, for this build and this prefix."""
        page = (kv.ROOT / "docs/client-library.md").read_text()
        command = re.search(r"^    cmake (--install build/release --prefix /usr/local .*)$", page, re.M)[1]
        others = {"build/release": BUILD, "/usr/local": prefix}
        return [others.get(word, word) for word in shlex.split(command)]

    @staticmethod
    def settings(runs):
        """What kvd-example-settings prints."""
        return (f"colour is blue\nruns: {runs}\nthere is color = blue\ncolor was put\ncolour was deleted\n"
                "color is deleted\n")

    def test_installed_built_and_run(self):
        prefix, source, build = self.folder / "prefix", self.folder / "source", self.folder / "build"
        self.cmake(*self.install_words(prefix))
        headers = sorted(str(path.relative_to(prefix)) for path in prefix.rglob("*.hpp"))
        self.assertEqual(headers, ["include/kvd/async_client.hpp", "include/kvd/client.hpp", "include/kvd/types.hpp"])
        # Away from the tree, so that nothing of it is found by chance.
        shutil.copytree(EXAMPLE, source)
        self.cmake("-S", source, "-B", build, f"-DCMAKE_PREFIX_PATH={prefix}", *self.configuration())
        self.cmake("--build", build, "--parallel", "2")

        servers = self.cluster(3)
        # One is enough: the others are learned. One that nobody listens at does no harm.
        for number in (1, 2):
            result = kv.run([build / "kvd-example-settings", servers["n2"].address, "127.0.0.1:9"])
            self.check(result, 0, self.settings(number), "^$")
        result = kv.run([build / "kvd-example-parallel", servers["n2"].address])
        self.check(result, 0, "left 1, right 2\nthen left 3\n", "^$")

        # The leader hangs, which costs no read its time and no write its outcome.
        leader = servers.wait_leader()
        other = servers.followers()[0]
        leader.process.send_signal(signal.SIGSTOP)
        result = kv.run([build / "kvd-example-settings", other.address])
        leader.process.send_signal(signal.SIGCONT)
        self.check(result, 0, self.settings(3), "^$")

        result = kv.run([build / "kvd-example-settings", "127.0.0.1:9"])
        self.check(result, 1, "", r"no server reached: 127\.0\.0\.1:9: connection refused\n$")
        result = kv.run([build / "kvd-example-settings", "nonsense"])
        self.check(result, 1, "", "nonsense")


class Documented(kv.TestCase):
    def test_the_page_shows_the_example_as_it_is(self):
        page = (kv.ROOT / "docs/client-library.md").read_text(encoding="utf-8")
        for name in ("settings.cpp", "parallel.cpp"):
            with self.subTest(name):
                code = (EXAMPLE / name).read_text(encoding="utf-8")
                indented = "".join(f"    {line}" if line.strip() else line for line in code.splitlines(True))
                self.assertIn(indented, page, f"docs/client-library.md does not show client/example/{name} as it is")


if __name__ == "__main__":
    kv.main()
