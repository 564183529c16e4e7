"""Who is measured: command lines of servers and clients, and what a client's output says.

Each client is told to use one thread and CONNECTIONS connections; a failure in its output ends the
whole, because a figure of requests that went wrong means nothing.
"""

import dataclasses
import json
import pathlib
import re

from runner import Failure

CONNECTIONS = 50  # redis-benchmark's own default
DEPTHS = [1, 16]
PAYLOAD = "x" * 64


@dataclasses.dataclass
class Context:
    """What a command line may depend on."""

    bin_dir: pathlib.Path
    folder: pathlib.Path
    seconds: float
    # Requests per second of redis-benchmark, which knows no duration, by depth.
    redis_rps: dict


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
