#!/usr/bin/env python3
"""What the gRPC server's options cost: each beside the server with all of them off.

The same h2load command, helloworld.Greeter/SayHello, drives the server as it is, with one option at
a time, and a plain tonic server (`benches/examples/plain_tonic.rs`); what counts is the server's CPU
time over the calls that were answered, and how many it answered. Blocks are interleaved, and a row
is the median, over rounds, of its ratio to the server as it is in the same round.

    cargo build --release --package servers --package benches --bins --example plain_tonic
    python3 loadtest/peers/grpc_server.py

writes results/grpc.json and the table in docs/grpc.md. Needs Linux, openssl, and of Debian
nghttp2-client, libmimalloc2.0 and libjemalloc2.
"""

import base64
import dataclasses
import hashlib
import hmac
import json
import pathlib
import re
import shutil
import sys
import tempfile
import time

from result import ROOT, said
from runner import ALLOCATORS, Failure, library
from ways import Study, against, blocks_of, carry_out, driven, flags, source, spread

# (connections, streams on each): the shapes in which public gRPC benchmarks are commonly quoted.
SHAPES = [(50, 1), (8, 16)]
SECRET = b"a secret of the measurement alone; no server keeps it."


@dataclasses.dataclass
class Variant:
    """A server's command line, and what its client has to say to it."""

    name: str
    what: str
    line: object
    tls: bool = False
    heads: tuple = ()


def token(audience):
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")

    claims = {"sub": "h2load", "aud": audience, "exp": int(time.time()) + 86_400}
    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims).encode())
    return (signed + b"." + part(hmac.digest(SECRET, signed, hashlib.sha256))).decode()


def variants(bin_dir, folder):
    """The server as it is comes first: all others are held against it."""
    secret = folder / "secret"
    secret.write_bytes(SECRET)
    bearer = ("-H", f"authorization: Bearer {token('quintet')}")

    def grpc(*flags, log="off"):
        common = ["--workers=1", f"--log={log}"]
        return lambda port: [bin_dir / "grpc", f"--listen=127.0.0.1:{port}", *common, *flags]

    off = ["--deadlines=off", "--catch-panics=off"]
    return [
        Variant("as it is", "no option is given", grpc()),
        Variant(
            "a plain tonic server",
            "tonic's own accept loop and limits",
            lambda port: [bin_dir / "examples/plain_tonic", f"--listen=127.0.0.1:{port}"],
        ),
        *(plain_tonic_with(bin_dir, allocator) for allocator in ALLOCATORS),
        Variant("without the two defaults", f"`{' '.join(off)}`", grpc(*off)),
        Variant(
            "authentication",
            "`--jwt-key` (HS256)",
            grpc(f"--jwt-key={secret}", "--jwt-audience=quintet"),
            heads=bearer,
        ),
        Variant("logging", "`--log-calls on`, to a file", grpc("--log-calls=on", log="info")),
        Variant("rate limit", "`--rate-limit`, not reached", grpc("--rate-limit=10000000")),
        Variant("metrics", "`--call-metrics on`", grpc("--call-metrics=on")),
        Variant("tracing", "`--trace-calls on`", grpc("--trace-calls=on")),
        Variant("compression", "`--compression gzip`, not asked for", grpc("--compression=gzip")),
        Variant(
            "250 streams",
            "`--max-concurrent-streams 250`",
            grpc("--max-concurrent-streams=250"),
        ),
        Variant("TLS 1.3", "`--tls-self-signed`", grpc("--tls-self-signed=on"), tls=True),
    ]


def plain_tonic_with(bin_dir, allocator):
    server = ["env", f"LD_PRELOAD={library(allocator)}", bin_dir / "examples/plain_tonic"]
    return Variant(
        f"a plain tonic server, {allocator}",
        "the allocator in place of the system's",
        lambda port: [*server, f"--listen=127.0.0.1:{port}"],
    )


def h2load(variant, port, shape, seconds, folder):
    body = folder / "request.bin"
    message = b"\x0a\x05world"
    body.write_bytes(b"\0" + len(message).to_bytes(4, "big") + message)
    connections, streams = shape
    scheme = "https" if variant.tls else "http"
    load = ["-t", "1", "-c", connections, "-m", streams, "-D", seconds, "-d", body]
    heads = ["-H", "content-type: application/grpc", "-H", "te: trailers", *variant.heads]
    return ["h2load", *load, *heads, f"{scheme}://127.0.0.1:{port}/helloworld.Greeter/SayHello"]


def answered(output):
    found = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored", output)
    others = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
    # Streams that the end cut off are neither; a refusal of gRPC's is a 2xx, and has no body.
    body = re.search(r"\((\d+)\) data", output)
    if not found or not others or int(others[3]) + int(others[4]) or not body:
        raise Failure(f"h2load: {output.strip()[-300:]}")
    succeeded = int(found[1])
    if int(body[1]) < succeeded * len(b"\0\0\0\0\x0d\x0a\x0bHello world"):
        raise Failure(f"h2load: calls were answered without their reply: {output.strip()[-300:]}")
    return succeeded


def block(variant, shape, seconds, folder):
    """What one run says."""
    run = driven(
        variant.name,
        variant.line,
        lambda port: h2load(variant, port, shape, seconds, folder),
    )
    calls = answered(run.output)
    return {
        "variant": variant.name,
        "shape": list(shape),
        "calls": calls,
        "calls_per_s": calls / seconds,
        "cpu_us_per_call": run.cpu_s * 1e6 / calls,
        "others_cores": run.others_cores,
    }


def summary(blocks, rows, seed):
    """By variant and shape, with the ratio to the first row within each round."""

    def of(variant, shape):
        return [b for b in blocks if (b["variant"], b["shape"]) == (variant.name, list(shape))]

    lines = []
    for variant in rows:
        for shape in SHAPES:
            own, base = of(variant, shape), of(rows[0], shape)
            figures = against(own, base, ["cpu_us_per_call", "calls_per_s"], seed)
            what = {"variant": variant.name, "what": variant.what, "shape": list(shape)}
            lines.append({**what, **figures})
    return lines


def table(result):
    """The Markdown of a result."""
    shapes = [tuple(shape) for shape in result["shapes"]]
    heads = [f"{c} x {s}: calls/s | CPU us | CPU, of as it is" for c, s in shapes]
    lines = [f"| | flag | {' | '.join(heads)} |", "|:--|:--|" + "--:|--:|--:|" * len(shapes)]
    for name in dict.fromkeys(line["variant"] for line in result["rows"]):
        own = {tuple(l["shape"]): l for l in result["rows"] if l["variant"] == name}
        first = name == result["rows"][0]["variant"]
        cells = []
        for line in (own[shape] for shape in shapes):
            ratio = "1" if first else spread(line["cpu_us_per_call_ratio"])
            cells.append(f"{line['calls_per_s']:,.0f} | {line['cpu_us_per_call']:.2f} | {ratio}")
        lines.append(f"| {name} | {own[shapes[0]]['what']} | {' | '.join(cells)} |")
    lines += [
        "",
        "The server's CPU (user and system) in microseconds per answered call of SayHello; "
        "connections x streams on each; one core for the server (`--workers=1`), another for "
        f"`h2load -t 1`. Medians of {result['rounds']} interleaved blocks of {result['seconds']} "
        "s, a new server for each; the ratio is the median over rounds, with its bootstrap "
        "interval of 95 %.",
        "",
        source(result, f"h2load {result['h2load']}; "),
    ]
    return "\n".join(lines) + "\n"


def measured(arguments):
    if not shutil.which("h2load"):
        raise Failure("h2load is not on the PATH: apt install nghttp2-client")
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        rows = variants(arguments.bin_dir, folder)
        if arguments.only:
            wanted = arguments.only.split(",")
            if unknown := set(wanted) - {row.name for row in rows}:
                raise Failure(f"--only: no such row: {', '.join(sorted(unknown))}")
            rows = [row for row in rows if row.name in wanted or row is rows[0]]
        pairs = [(variant, shape) for variant in rows for shape in SHAPES]
        blocks = blocks_of(pairs, lambda pair: block(*pair, arguments.seconds, folder), arguments)
    return {
        "h2load": said(["h2load", "--version"], r"[\d.]+\d"),
        "shapes": SHAPES,
        "rows": summary(blocks, rows, arguments.seed),
        "blocks": blocks,
    }


STUDY = Study(
    schema="quintet/grpc/1",
    output=ROOT / "results/grpc.json",
    page=ROOT / "docs/grpc.md",
    place="costs",
    table=table,
)


def main():
    parser = flags(__doc__, rounds=10)
    parser.add_argument("--only", metavar="NAMES", help="these rows, by commas, and the first")
    carry_out(STUDY, parser, measured)


if __name__ == "__main__":
    try:
        main()
    except Failure as failure:
        sys.exit(f"grpc_server.py: {failure}")
