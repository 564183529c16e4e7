#!/usr/bin/env python3
"""A soak: all five servers for minutes under churn, mixed work, resets, slow and stalled peers.

    python3 servers/tests/soak/soak.py                   # ten minutes, all at the same time
    python3 servers/tests/soak/soak.py --duration 20s    # a quick try

It builds the release binaries (or takes those of --bins), and exits with 1 where a server did not
hold: memory that grows, descriptors or threads that do not return, a request that is not accounted
for. --json FILE and --table FILE write what was found. Needs Python 3.9 and nothing else.

How the accounts are made exact: the load tester's requests all succeed. The hostile crew's whole
requests ask for more than the contract allows, and so are counted as failed; but for those of the
crew that leave in the middle of a wait, each of which the server may or may not have answered. So
the server's `requests - failed` is the load tester's `ok`, and at most those waits above it.
"""

import argparse, json, os, random, re, signal, socket, struct, subprocess, sys, threading, time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
SERVERS = ["threads", "pool", "tasks", "epoll", "grpc"]
# All kinds of work. Waits and blocks are short: the pool has a worker a core.
WORK = "echo:16..4096=70,echo:65536=5,wait:5ms=10,compute:200=10,block:2ms=5"
# Each server soon gives up who stalls, so that many do within ten minutes.
TIMEOUTS = ["--idle-timeout=5s", "--read-timeout=2s", "--write-timeout=2s"]
REQUESTS_PER_CONNECTION = 200
CONNECTIONS = 16
# Of each kind below, at a time, per server.
CREW = 2
# Between two hostile acts of one member: some dozens of resets a second in all.
CREW_PAUSE_S = 0.05
# How long a member that reads slowly does so, and how much each time.
SLOW_S, SLOW_BYTES = 4, 4096
# Descriptors and threads are at the baseline by then: runtimes keep idle threads for ten seconds.
RETURN_S = 30
# The second half is cut into so many blocks, whose means are fitted: samples a second apart are
# not independent of each other. Student's t for a confidence of 95 % with two parameters.
BLOCKS, STUDENT_T = 10, 2.306
# Flat: not shown to grow by more than a mebibyte in ten minutes.
FLAT_MIB_PER_HOUR = 6.0
# The `blocking` crate keeps the threads that it has started: at most one for each connection of the
# load, since one request of a connection is carried out at a time.
THREADS_STAY = {"epoll": CONNECTIONS}
# A shorter soak is not judged by it: buffers and allocators are still growing to what they need.
JUDGED_S = 120

# -- what the crew says ----------------------------------------------------------------------


def varint(value):
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def wait(us):
    """A Request of the contract: id 1 and wait_us."""
    return b"\x08\x01\x58" + varint(us)


TOO_LONG = wait(2**63)  # INVALID_ARGUMENT, whoever it is that is asked
SHORT_WAIT = wait(50_000)


def http2(kind, flags, stream, body):
    return struct.pack(">I", len(body))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + body


def field(first, text):
    return first + bytes([len(text)]) + text


# RFC 9113, 3.4, and a POST in the plainest form of RFC 7541.
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + http2(4, 0, 0, b"")
HEAD = (b"\x83\x86" + field(b"\x04", b"/quintet.v1.Quintet/Call") + field(b"\x01", b"soak")
        + field(b"\x0f\x10", b"application/grpc") + field(field(b"\x00", b"te"), b"trailers"))
PING = http2(6, 0, 0, b"........")


def asks(model, request):
    if model != "grpc":
        return struct.pack(">I", len(request)) + request
    message = b"\0" + struct.pack(">I", len(request)) + request
    return HELLO + http2(1, 4, 1, HEAD) + http2(0, 1, 1, message)


class Crew:
    """Hostile clients of one server. Each method is one act of a member."""

    def __init__(self, model, port, over):
        self.model, self.port, self.over = model, port, over
        self.acts = {"cut": 0, "stall": 0, "deaf": 0, "slow": 0, "leave": 0}
        self.lock = threading.Lock()
        self.members = [threading.Thread(target=self.member, args=(kind,), daemon=True)
                        for kind in self.acts for _ in range(CREW)]

    def member(self, kind):
        act, dice = getattr(self, kind), random.Random(kind)
        while not self.over.is_set():
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=10) as peer:
                    # Whoever leaves, leaves by a reset.
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    with self.lock:
                        self.acts[kind] += 1
                    act(peer, dice)
            except OSError:
                pass  # the server ended it first
            self.over.wait(CREW_PAUSE_S)

    def cut(self, peer, dice):
        """A reset at any place of a request, or behind it."""
        whole = asks(self.model, TOO_LONG)
        peer.sendall(whole[: dice.randint(0, len(whole))])

    def stall(self, peer, dice):
        """Half of it, and no more, until the server closes."""
        whole = asks(self.model, TOO_LONG)
        peer.sendall(whole[: dice.randint(1, len(whole) - 1)])
        until_end(peer, self.over)

    def endless(self):
        return (asks(self.model, TOO_LONG) if self.model != "grpc" else PING) * 2000

    def deaf(self, peer, _):
        """Asks without end and reads nothing, until the server closes."""
        peer.settimeout(0.1)
        if self.model == "grpc":
            peer.sendall(HELLO)
        more, sent = self.endless(), 0
        while not self.over.is_set():
            try:
                sent += peer.send(more[sent % len(more):])
            except socket.timeout:
                pass

    def slow(self, peer, _):
        """The same, and reads a little now and then; leaves in the middle."""
        peer.settimeout(0.1)
        if self.model == "grpc":
            peer.sendall(HELLO)
        more, sent, began = self.endless(), 0, time.monotonic()
        while time.monotonic() < began + SLOW_S and not self.over.is_set():
            try:
                sent += peer.send(more[sent % len(more):])
            except socket.timeout:
                peer.recv(SLOW_BYTES)

    def leave(self, peer, _):
        """Leaves while it is waited for its answer."""
        peer.sendall(asks(self.model, SHORT_WAIT))
        self.over.wait(0.01)


def until_end(peer, over):
    peer.settimeout(0.1)
    while not over.is_set():
        try:
            if not peer.recv(4096):
                return
        except socket.timeout:
            pass


# -- a server and what it has -----------------------------------------------------------------


class Server:
    def __init__(self, model, bins):
        command = [str(bins / model), "--listen=127.0.0.1:0", "--log=error", *TIMEOUTS]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                        text=True)
        ready = self.process.stdout.readline()
        self.port = int(ready.rsplit(":", 1)[1])

    def has(self):
        """MiB of anonymous memory, descriptors, threads."""
        pid = self.process.pid
        status = Path(f"/proc/{pid}/status").read_text()
        kib, threads = (int(re.search(rf"^{name}:\s+(\d+)", status, re.M)[1])
                        for name in ("RssAnon", "Threads"))
        return kib / 1024, len(os.listdir(f"/proc/{pid}/fd")), threads

    def settled(self):
        """Descriptors and threads, once they have been the same for a second."""
        seen, same = None, 0
        while same < 10:
            time.sleep(0.1)
            _, *now = self.has()
            seen, same = now, same + 1 if now == seen else 0
        return seen

    def stats(self):
        self.process.send_signal(signal.SIGUSR1)
        while line := self.process.stderr.readline():
            if line.startswith("stats "):
                return json.loads(line.removeprefix("stats "))
        raise RuntimeError("the server ended")

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=30)


def slope(samples):
    """Least squares over the second half, in MiB/hour: the estimate and its interval."""
    half = samples[len(samples) // 2:]
    size = max(1, len(half) // BLOCKS)
    blocks = [half[at: at + size] for at in range(0, size * (len(half) // size), size)]
    points = [tuple(sum(of) / len(of) for of in zip(*block)) for block in blocks]
    count = len(points)
    if count < 3:
        return None
    mean_t, mean_y = (sum(of) / count for of in zip(*points))
    spread = sum((t - mean_t) ** 2 for t, _ in points)
    rise = sum((t - mean_t) * (y - mean_y) for t, y in points) / spread
    left = sum((y - mean_y - rise * (t - mean_t)) ** 2 for t, y in points)
    error = STUDENT_T * (left / (count - 2) / spread) ** 0.5
    return {name: round(value * 3600, 2) for name, value in
            (("estimate", rise), ("low", rise - error), ("high", rise + error))}


def soak(model, args, results):
    server = Server(model, args.bins)
    try:
        results[model] = soaked(model, server, args)
    except Exception as error:  # one server's failure is its own
        results[model] = {"held": False, "failures": [f"{type(error).__name__}: {error}"]}
    finally:
        server.process.kill()


def soaked(model, server, args):
    over, samples = threading.Event(), []
    crew = Crew(model, server.port, over)
    descriptors, threads = server.settled()
    scheme = "grpc" if model == "grpc" else "tcp"
    load = subprocess.Popen(
        [str(args.bins / "loadtest"), "run", f"{scheme}://127.0.0.1:{server.port}",
         f"--rate={args.rate}", "--arrivals=poisson", f"--duration={args.duration}s",
         f"--connections={CONNECTIONS}", f"--work={WORK}", "--timeout=10s",
         f"--requests-per-connection={REQUESTS_PER_CONNECTION}", "--json=-"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    told = []
    listener = threading.Thread(target=lambda: told.append(load.communicate()))
    for thread in [listener, *crew.members]:
        thread.start()
    began, peak = time.monotonic(), (descriptors, threads)
    while listener.is_alive():
        mib, *now = server.has()
        samples.append((time.monotonic() - began, mib))
        peak = tuple(map(max, peak, now))
        listener.join(timeout=1)
    over.set()
    for member in crew.members:
        member.join()
    run = json.loads(told[0][0] or "null")
    if run is None:
        raise RuntimeError(told[0][1])

    stay, give_up = THREADS_STAY.get(model, 0), time.monotonic() + RETURN_S
    while time.monotonic() < give_up:
        stats, (_, *after) = server.stats(), server.has()
        if stats["open"] == 0 and after[0] <= descriptors and after[1] <= threads + stay:
            break
        time.sleep(0.1)
    exit_code = server.end()
    return judged(args, stay, run, stats, crew.acts, samples, exit_code,
                  {"descriptors": [descriptors, peak[0], after[0]],
                   "threads": [threads, peak[1], after[1]]})


def judged(args, stay, run, stats, acts, samples, exit_code, had):
    fitted, failures = slope(samples), []
    errors = sum(run["errors"].values())
    planned, ok, late, unsent = (run[of] for of in ("planned", "ok", "timed_out", "unsent"))
    succeeded = stats["requests"] - stats["failed"]

    def expect(is_so, otherwise):
        if not is_so:
            failures.append(otherwise)

    expect(planned == ok + errors + late + unsent, "planned is not what came of it")
    expect(planned == ok, f"{planned - ok} requests of the load were not answered: {run['errors']}")
    expect(ok <= succeeded <= ok + acts["leave"],
           f"the server counted {succeeded}, the load tester {ok} and at most {acts['leave']}")
    expect(stats["open"] == 0, f"{stats['open']} connections are open")
    for of, (before, _, after) in had.items():
        may_stay = stay if of == "threads" else 0
        expect(after <= before + may_stay, f"{of}: {before} before, {after} after")
    expect(exit_code == 0, f"exit code {exit_code}")
    expect(all(acts.values()), f"a kind of the crew never came: {acts}")
    flat = args.duration < JUDGED_S or fitted["low"] <= FLAT_MIB_PER_HOUR
    expect(flat, f"memory grows by {fitted} MiB/hour")
    return {
        "held": not failures, "failures": failures,
        "planned": planned, "ok": ok, "errors": errors, "timed_out": late, "unsent": unsent,
        "server_ok": succeeded, "crew": acts, "stats": stats,
        "rss_anon_mib": {"first": round(samples[0][1], 2), "last": round(samples[-1][1], 2),
                         "most": round(max(mib for _, mib in samples), 2)},
        "slope_mib_per_hour": fitted, "before_most_after": had,
        "samples": [[round(at, 1), round(mib, 2)] for at, mib in samples],
    }


# -- what is said of it -----------------------------------------------------------------------


def table(found):
    rows = ["| server | requests, all answered | counted by the server | resets and stalls of the crew "
            "| memory, last of most, MiB | slope, MiB/hour (95 %) | descriptors | threads | |",
            "|---|---|---|---|---|---|---|---|---|"]
    for model, it in found["servers"].items():
        if "planned" not in it:
            rows.append(f"| {model} | | | | | | | | no: {it['failures'][0]} |")
            continue
        fit, memory = it["slope_mib_per_hour"], it["rss_anon_mib"]
        fit = f"{fit['estimate']} ({fit['low']} to {fit['high']})" if fit else "too short"
        extra = it["server_ok"] - it["ok"]
        had = it["before_most_after"]
        rows.append(
            f"| {model} | {it['ok']:,} of {it['planned']:,} | the same, and {extra:,} of the "
            f"{it['crew']['leave']:,} that left | {sum(it['crew'].values()):,} "
            f"| {memory['last']} of {memory['most']} | {fit} "
            f"| {' / '.join(map(str, had['descriptors']))} | {' / '.join(map(str, had['threads']))} "
            f"| {'held' if it['held'] else 'no: ' + '; '.join(it['failures'])} |")
    return "\n".join(rows) + "\n"


def page(found):
    command = "python3 servers/tests/soak/soak.py --json results/soak.json --table docs/soak.md"
    return f"""# The soak

All five servers at the same time for {found['duration_s']:g} s: each under {found['rate']}
requests/s of mixed work (`{WORK}`) on connections that are opened anew after
{REQUESTS_PER_CONNECTION} requests, and a hostile crew that resets at any place, leaves while it is
waited for, stalls in mid-frame, never reads, or reads slowly. Made by

    {command}

{table(found)}
Descriptors and threads are those before, the most, and after (epoll's side threads for blocking
work stay, at most one for each connection of its load). Flat is memory (RssAnon, each second)
whose line by least squares over the second half, fitted to {BLOCKS} block means, is not shown to
rise by more than {FLAT_MIB_PER_HOUR:g} MiB/hour; a soak below {JUDGED_S} s is not judged by it. The load tester's requests all succeed; the crew's
are refused by the contract, but for those that left in the middle of a wait, which a server may
or may not have answered: so its count of successes is exactly the load tester's, and at most those.
"""


def seconds(text):
    amount = re.fullmatch(r"(\d+)(s|m)", text)
    if not amount:
        raise argparse.ArgumentTypeError("a duration is written 20s or 10m")
    return int(amount[1]) * {"s": 1, "m": 60}[amount[2]]


def main():
    parse = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parse.add_argument("--duration", type=seconds, default=600, metavar="10m")
    parse.add_argument("--rate", type=int, default=300, help="requests/s of each server's load")
    parse.add_argument("--servers", nargs="+", choices=SERVERS, default=SERVERS)
    parse.add_argument("--bins", type=Path, help="where the binaries are; else they are built")
    parse.add_argument("--json", type=Path, metavar="FILE")
    parse.add_argument("--table", type=Path, metavar="FILE", help="a page in Markdown")
    args = parse.parse_args()
    if args.bins is None:
        subprocess.run(["cargo", "build", "--release", "--bins", "--quiet"], cwd=ROOT, check=True)
        args.bins = ROOT / "target/release"
    results = {}
    soaks = [threading.Thread(target=soak, args=(model, args, results)) for model in args.servers]
    for thread in soaks:
        thread.start()
    for thread in soaks:
        thread.join()
    found = {"schema": "quintet/soak/1", "duration_s": args.duration, "rate": args.rate,
             "work": WORK, "flat_mib_per_hour": FLAT_MIB_PER_HOUR,
             "servers": {model: results[model] for model in args.servers}}
    if args.json:
        args.json.write_text(json.dumps(found, indent=1) + "\n")
    if args.table:
        args.table.write_text(page(found))
    print(table(found), end="")
    sys.exit(0 if all(it["held"] for it in results.values()) else 1)


if __name__ == "__main__":
    main()
