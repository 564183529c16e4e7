"""Servers and clients as processes, each on a core of its own, and what they used of it."""

import contextlib
import dataclasses
import glob
import os
import pathlib
import random
import socket
import subprocess
import tempfile
import time

PACKAGES = "apt install wrk nghttp2-client redis-tools redis-server nginx-light"

# A block in which other processes used more of a core than this is measured again ...
OTHERS_CORES_MAX = 0.1
# ... so often at the most: on a machine that is never quiet there is no better one.
REPEATS_MAX = 3
# In place of the C library's, by LD_PRELOAD.
ALLOCATORS = ["mimalloc", "jemalloc"]
READY_TIMEOUT_S = 10
CLIENT_TIMEOUT_S = 120
# Below the ephemeral ports, so that no client's source port is in the way.
PORTS = range(20_000, 32_000)


class Failure(Exception):
    """One line: what, where, and what to do."""


@dataclasses.dataclass
class Server:
    """A process that listens."""

    process: subprocess.Popen
    port: int

    def cpu_s(self):
        # The clock that clock_getcpuclockid(3) names: all threads, ended ones too, in nanoseconds.
        return time.clock_gettime((~self.process.pid << 3) | 2)


def cores():
    """The server's, and the client's; the same for all where there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return allowed[0], allowed[-1]


def spawn(line, core, output):
    command = [str(word) for word in line]
    try:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            preexec_fn=lambda: os.sched_setaffinity(0, {core}),
        )
    except OSError as error:
        raise Failure(f"cannot start {command[0]}: {error}; build it, or: {PACKAGES}") from error


@contextlib.contextmanager
def serving(name, line):
    """A server from its line, a function of its port, until the block ends."""
    with tempfile.TemporaryFile() as output:
        port = free_port()
        process = spawn(line(port), cores()[0], output)
        try:
            await_ready(name, process, port, output)
            yield Server(process, port)
        finally:
            process.kill()
            process.wait()


def library(allocator):
    found = sorted(glob.glob(f"/usr/lib/*-linux-gnu/lib{allocator}.so.*"))
    if not found:
        raise Failure(f"no lib{allocator}.so: apt install libmimalloc2.0 libjemalloc2")
    return found[0]


def free_port():
    for port in random.sample(PORTS, len(PORTS)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise Failure(f"no free port between {PORTS.start} and {PORTS.stop} of 127.0.0.1")


def await_ready(name, process, port, output):
    give_up_at = time.monotonic() + READY_TIMEOUT_S
    while process.poll() is None and time.monotonic() < give_up_at:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.02)
    output.seek(0)
    said = output.read().decode(errors="replace").strip()[-300:]
    raise Failure(f"{name} does not listen: {said}")


def machine_busy_s():
    line = pathlib.Path("/proc/stat").read_text().splitlines()[0]
    user, nice, system, _idle, _iowait, irq, softirq, steal = map(int, line.split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def awaited(name, process, began):
    """Waits with the child's own resource usage, which `Popen.wait` does not give."""
    while time.monotonic() < began + CLIENT_TIMEOUT_S:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage
        time.sleep(0.01)
    process.kill()
    process.wait()
    raise Failure(f"{name} did not end within {CLIENT_TIMEOUT_S} s")
