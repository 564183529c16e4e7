#!/usr/bin/env python3
"""What a request costs the load generator: loadtest beside wrk, h2load and redis-benchmark.

Each client gets one thread, 50 connections and the server it is made for, all in one interleaved
run; what counts is its CPU time (user and system, getrusage) over the requests that were answered.

    cargo build --release --package loadtest --package servers
    python3 loadtest/peers/measure.py

writes results/generators.json and the table in loadtest/README.md. Needs Linux, and of Debian
wrk, nghttp2-client, redis-tools, redis-server and nginx-light.
"""

import argparse
import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import platform
import random
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
SCHEMA = "quintet/generators/1"
BEGIN, END = "<!-- generators: begin -->", "<!-- generators: end -->"
PACKAGES = "apt install wrk nghttp2-client redis-tools redis-server nginx-light"

CONNECTIONS = 50  # redis-benchmark's own default
DEPTHS = [1, 16]
PAYLOAD = "x" * 64
# A block in which other processes used more of a core than this is measured again ...
OTHERS_CORES_MAX = 0.1
# ... so often at the most: on a machine that is never quiet there is no better one.
REPEATS_MAX = 3
READY_TIMEOUT_S = 10
CLIENT_TIMEOUT_S = 120
# Below the ephemeral ports, so that no client's source port is in the way.
PORTS = range(20_000, 32_000)


class Failure(Exception):
    """One line: what, where, and what to do."""


@dataclasses.dataclass
class Context:
    """What a command line may depend on."""

    bin_dir: pathlib.Path
    folder: pathlib.Path
    seconds: float
    # Requests per second of redis-benchmark, which knows no duration, by depth.
    redis_rps: dict


@dataclasses.dataclass
class Server:
    """A process that listens."""

    process: subprocess.Popen
    port: int

    def cpu_s(self):
        # After the name in parentheses, user and system time of all threads are 12th and 13th.
        _, _, rest = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")
        fields = rest.split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# -- servers: one process each -------------------------------------------------------------------


def epoll_server(context, port):
    return [context.bin_dir / "epoll", "--workers=1", f"--listen=127.0.0.1:{port}"]


def grpc_server(context, port):
    return [context.bin_dir / "grpc", "--workers=1", f"--listen=127.0.0.1:{port}"]


def redis_server(context, port):
    flags = ["--save", "", "--appendonly", "no", "--daemonize", "no", "--dir", str(context.folder)]
    return ["redis-server", "--bind", "127.0.0.1", "--port", str(port), *flags]


def nginx_server(context, port):
    configuration = context.folder / "nginx.conf"
    configuration.write_text(
        f"""
        daemon off; master_process off; pid {context.folder}/nginx.pid;
        events {{ worker_connections 1024; }}
        http {{
            access_log off; keepalive_requests 1000000000; keepalive_timeout 1h;
            server {{ listen 127.0.0.1:{port}; location / {{ return 200 "{PAYLOAD}"; }} }}
        }}
        """
    )
    return ["nginx", "-e", "stderr", "-p", str(context.folder), "-c", str(configuration)]


SERVERS = {
    "epoll": epoll_server,
    "grpc": grpc_server,
    "redis-server": redis_server,
    "nginx": nginx_server,
}

# -- clients: a command line, and how many requests its output says were answered ------------------


def loadtest_line(context, url, depth):
    flags = ["--threads=1", f"--connections={CONNECTIONS}", f"--depth={depth}"]
    length = f"--duration={round(context.seconds * 1000)}ms"
    work = f"--work=echo:{len(PAYLOAD)}"
    return [context.bin_dir / "loadtest", "run", url, *flags, length, work, "--json=-"]


def loadtest_answered(output):
    result = json.loads(output)
    if result["ok"] != result["planned"]:
        raise Failure(f"loadtest: {result['ok']} of {result['planned']} requests were answered")
    return result["ok"]


def framed(context, port, depth):
    return loadtest_line(context, f"tcp://127.0.0.1:{port}", depth)


def grpc(context, port, depth):
    return loadtest_line(context, f"grpc://127.0.0.1:{port}", depth)


def redis_benchmark(context, port, depth):
    count = max(1, round(context.redis_rps.get(depth, 50_000) * context.seconds))
    flags = ["-c", str(CONNECTIONS), "-n", str(count), "-P", str(depth), "--csv"]
    return ["redis-benchmark", "-h", "127.0.0.1", "-p", str(port), *flags, "ECHO", PAYLOAD]


def redis_answered(output):
    # "test","rps",... and then the figures; the number of requests is the one that was asked for.
    return None if re.search(r'^"ECHO', output, re.MULTILINE) else 0


def wrk(context, port, depth):
    line = ["wrk", "-t", "1", "-c", str(CONNECTIONS), "-d", f"{max(1, round(context.seconds))}s"]
    if depth > 1:
        script = context.folder / f"pipeline-{depth}.lua"
        script.write_text(
            "init = function(args)\n"
            "  local requests = {}\n"
            f"  for i = 1, {depth} do requests[i] = wrk.format() end\n"
            "  all = table.concat(requests)\n"
            "end\n"
            "request = function() return all end\n"
        )
        line += ["-s", script]
    return [*line, f"http://127.0.0.1:{port}/"]


def wrk_answered(output):
    if wrong := re.search(r"Socket errors:.*|Non-2xx.*", output):
        raise Failure(f"wrk: {wrong[0]}")
    found = re.search(r"(\d+) requests in", output)
    return int(found[1]) if found else 0


def h2load(context, port, depth):
    body = context.folder / "request.bin"
    # Request { id: 1, echo: PAYLOAD }, behind gRPC's flag byte and length.
    message = bytes([0x08, 1, 0x52, len(PAYLOAD)]) + PAYLOAD.encode()
    body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
    flags = ["-t", "1", "-c", str(CONNECTIONS), "-m", str(depth)]
    heads = ["-H", "content-type: application/grpc", "-H", "te: trailers"]
    length = ["-D", str(max(1, round(context.seconds)))]
    url = f"http://127.0.0.1:{port}/quintet.v1.Quintet/Call"
    return ["h2load", *flags, *length, "-d", str(body), *heads, url]


def h2load_answered(output):
    found = re.search(r"(\d+) done, (\d+) succeeded, (\d+) failed", output)
    # Streams that the end cut off are neither.
    if not found or int(found[3]) > CONNECTIONS * max(DEPTHS):
        raise Failure(f"h2load: {found[0] if found else output.strip()[-200:]}")
    return int(found[2])


@dataclasses.dataclass(frozen=True)
class Client:
    """Who is measured, over what, and what it is compared with."""

    name: str
    server: str
    line: object
    answered: object
    # `None`: it is the load tester. Otherwise the load tester's row that stands against it.
    against: str | None = None


CLIENTS = [
    Client("loadtest, framed", "epoll", framed, loadtest_answered),
    Client("redis-benchmark", "redis-server", redis_benchmark, redis_answered, "loadtest, framed"),
    Client("wrk", "nginx", wrk, wrk_answered, "loadtest, framed"),
    Client("loadtest, gRPC", "grpc", grpc, loadtest_answered),
    Client("h2load", "grpc", h2load, h2load_answered, "loadtest, gRPC"),
]

# -- measuring -------------------------------------------------------------------------------------


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
def serving(name, context):
    with tempfile.TemporaryFile() as output:
        port = free_port()
        process = spawn(SERVERS[name](context, port), cores()[0], output)
        try:
            await_ready(name, process, port, output)
            yield Server(process, port)
        finally:
            process.kill()
            process.wait()


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


def block(client, depth, server, context):
    """One run of one client: its CPU time over its requests, and what else the machine did."""
    line = client.line(context, server.port, depth)
    before = machine_busy_s() - server.cpu_s()
    began = time.monotonic()
    with tempfile.TemporaryFile() as file:
        process = spawn(line, cores()[1], file)
        status, usage = awaited(client, process, began)
        wall_s = time.monotonic() - began
        file.seek(0)
        output = file.read().decode(errors="replace")
    if status != 0:
        raise Failure(f"{client.name} failed ({status}): {output.strip()[-300:]}")
    cpu_s = usage.ru_utime + usage.ru_stime
    others_s = machine_busy_s() - server.cpu_s() - before - cpu_s
    requests = client.answered(output)
    if requests is None:
        requests = int(line[line.index("-n") + 1])
    if requests <= 0:
        raise Failure(f"{client.name} had no answer: {output.strip()[-300:]}")
    return {
        "client": client.name,
        "depth": depth,
        "requests": requests,
        "user_s": usage.ru_utime,
        "system_s": usage.ru_stime,
        "cpu_us_per_request": cpu_s * 1e6 / requests,
        "requests_per_s": requests / wall_s,
        "busy": cpu_s / wall_s,
        "others_cores": max(0.0, others_s / wall_s),
    }


def awaited(client, process, began):
    """Waits with the child's own resource usage, which `Popen.wait` does not give."""
    while time.monotonic() < began + CLIENT_TIMEOUT_S:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage
        time.sleep(0.01)
    process.kill()
    process.wait()
    raise Failure(f"{client.name} did not end within {CLIENT_TIMEOUT_S} s")


def measure(arguments, context):
    """All blocks: every second round is the mirror of the one before, so that drift cancels."""
    pairs = [(client, depth) for client in CLIENTS for depth in DEPTHS]
    blocks = []
    with contextlib.ExitStack() as stack:
        servers = {name: stack.enter_context(serving(name, context)) for name in SERVERS}
        redis = CLIENTS[1]
        for depth in DEPTHS:
            probe = block(redis, depth, servers[redis.server], context)
            context.redis_rps[depth] = probe["requests_per_s"]
        shuffle = random.Random(arguments.seed)
        for number in range(arguments.rounds):
            if number % 2 == 0:
                shuffle.shuffle(pairs)
            else:
                pairs.reverse()
            for client, depth in pairs:
                for _ in range(REPEATS_MAX + 1):
                    made = block(client, depth, servers[client.server], context)
                    made |= {"round": number, "noisy": made["others_cores"] > OTHERS_CORES_MAX}
                    if not made["noisy"]:
                        break
                blocks.append(made)
                print(
                    f"round {number + 1}/{arguments.rounds}: {client.name}, depth {depth}: "
                    f"{made['cpu_us_per_request']:.2f} us{', noisy' if made['noisy'] else ''}",
                    file=sys.stderr,
                )
    return blocks


def medians(blocks):
    """By client and depth; of quiet blocks, where there are any."""
    rows = []
    for client in CLIENTS:
        for depth in DEPTHS:
            own = [b for b in blocks if (b["client"], b["depth"]) == (client.name, depth)]
            quiet = [b for b in own if not b["noisy"]] or own
            cpu = [b["cpu_us_per_request"] for b in quiet]
            rows.append(
                {
                    "client": client.name,
                    "server": client.server,
                    "depth": depth,
                    "blocks": len(own),
                    "noisy_blocks": sum(b["noisy"] for b in own),
                    "cpu_us_per_request": statistics.median(cpu),
                    "cpu_us_per_request_min": min(cpu),
                    "cpu_us_per_request_max": max(cpu),
                    "requests_per_s": statistics.median(b["requests_per_s"] for b in quiet),
                    "busy": statistics.median(b["busy"] for b in quiet),
                    "of_loadtest": ratio(blocks, client, depth),
                }
            )
    return rows


def ratio(blocks, client, depth):
    """The median, over rounds, of this client's cost over the load tester's in the same round."""
    if client.against is None:
        return None
    by_round = {(b["client"], b["round"]): b for b in blocks if b["depth"] == depth}
    pairs = [
        (block_, by_round[client.against, number])
        for (name, number), block_ in by_round.items()
        if name == client.name
    ]
    quiet = [pair for pair in pairs if not any(b["noisy"] for b in pair)] or pairs
    return statistics.median(a["cpu_us_per_request"] / b["cpu_us_per_request"] for a, b in quiet)


# -- what is kept ----------------------------------------------------------------------------------


def versions(bin_dir):
    def said(line, pattern):
        made = subprocess.run(line, capture_output=True, text=True, check=False)
        found = re.search(pattern, made.stdout + made.stderr)
        return found[0] if found else "unknown"

    revision = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--exclude=*"]
    return {
        "loadtest": said([str(bin_dir / "loadtest"), "--version"], r"[\d.]+")
        + " at "
        + said(revision, r"\S+"),
        "wrk": said(["wrk", "--version"], r"wrk [^\s\[]+").removeprefix("wrk "),
        "h2load": said(["h2load", "--version"], r"[\d.]+\d"),
        "redis-benchmark": said(["redis-benchmark", "--version"], r"[\d.]+\d"),
        "nginx": said(["nginx", "-v"], r"[\d.]+\d"),
    }


def machine():
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    return {
        "cpu_model": cpu[1] if cpu else platform.machine(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
    }


def table(result):
    """The Markdown of a result."""

    def cell(row):
        spread = (row["cpu_us_per_request_max"] - row["cpu_us_per_request_min"]) / 2
        percent = 100 * spread / row["cpu_us_per_request"]
        against = f"{row['of_loadtest']:.2f}" if row["of_loadtest"] else "1"
        return f"{row['cpu_us_per_request']:.2f} | {percent:.0f} % | {against} | {row['busy']:.2f}"

    depths = sorted({row["depth"] for row in result["medians"]})
    heads = [f"depth {depth}: CPU us | ± | of loadtest | busy" for depth in depths]
    lines = [f"| client | server | {' | '.join(heads)} |", "|:--|:--|" + "--:|" * 4 * len(depths)]
    for name in dict.fromkeys(row["client"] for row in result["medians"]):
        rows = {row["depth"]: row for row in result["medians"] if row["client"] == name}
        cells = " | ".join(cell(rows[depth]) for depth in depths)
        lines.append(f"| {name} | {rows[depths[0]]['server']} | {cells} |")
    host, known = result["machine"], result["versions"]
    noisy = sum(row["noisy_blocks"] for row in result["medians"])
    blocks = sum(row["blocks"] for row in result["medians"])
    lines += [
        "",
        "The client's CPU (user and system, from its start to its end) in microseconds per "
        f"answered request; {result['connections']} connections, one thread, 64 bytes there and "
        f"back. Medians of {result['rounds']} interleaved blocks of {result['seconds']:g} s, ± "
        'half of their range; "of loadtest" is the median ratio within a round, above 1 where the '
        "other one costs more; busy is the share of a core. The client had one core, its server "
        "another.",
        "",
        f"{host['cpu_model']}, {host['cores']} cores, Linux {host['kernel']}; {result['date']}; "
        + ", ".join(f"{name} {version}" for name, version in known.items())
        + f"; seed {result['seed']}; {noisy} of {blocks} blocks noisy.",
    ]
    return "\n".join(lines) + "\n"


def put_into_readme(text):
    readme = ROOT / "loadtest/README.md"
    whole = readme.read_text()
    if BEGIN not in whole or END not in whole:
        raise Failure(f"{readme} has no {BEGIN} and {END}: the table is not put in")
    head, rest = whole.split(BEGIN, 1)
    readme.write_text(f"{head}{BEGIN}\n\n{text}\n{END}{rest.split(END, 1)[1]}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8, help="blocks of each (default: 8)")
    parser.add_argument("--seconds", type=float, default=2, help="of a block (default: 2)")
    parser.add_argument("--seed", type=int, default=1, help="decides the order (default: 1)")
    parser.add_argument("--bin-dir", type=pathlib.Path, default=ROOT / "target/release")
    parser.add_argument("--output", type=pathlib.Path, help="write the JSON there, and no README")
    parser.add_argument("--table", type=pathlib.Path, metavar="JSON", help="only print its table")
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.seconds < 1:
        parser.error("--rounds and --seconds must be at least 1: wrk and h2load know no less")
    if arguments.table:
        sys.stdout.write(table(json.loads(arguments.table.read_text())))
        return
    for program in ["wrk", "h2load", "redis-benchmark", "redis-server", "nginx"]:
        if not shutil.which(program):
            raise Failure(f"{program} is not on the PATH; {PACKAGES}")
    with tempfile.TemporaryDirectory() as folder:
        bin_dir = arguments.bin_dir.resolve()
        context = Context(bin_dir, pathlib.Path(folder), arguments.seconds, {})
        blocks = measure(arguments, context)
    result = {
        "schema": SCHEMA,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "machine": machine(),
        "versions": versions(bin_dir),
        "connections": CONNECTIONS,
        "rounds": arguments.rounds,
        "seconds": arguments.seconds,
        "seed": arguments.seed,
        "medians": medians(blocks),
        "blocks": blocks,
    }
    output = arguments.output or ROOT / "results/generators.json"
    output.write_text(json.dumps(result, indent=2) + "\n")
    sys.stdout.write(table(result))
    if not arguments.output:
        put_into_readme(table(result))
    print(f"results: {output}", file=sys.stderr)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"measure.py: {failure}")
