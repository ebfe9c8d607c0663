"""The benchmark of the Redis backend: rounds against a private server; Markdown on standard output."""

import csv
import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "servers"))
import rounds

TITLES = {
    "yokedcache": "YokedCache",
    "yokedcache-tags": "YokedCache, 2 tags",
    "yokedcache-lease": "YokedCache, `yc_get_or_lease`",
    "yokedcache-batch": "YokedCache, `yc_batch`",
    "yokedcache-queue": "YokedCache, completion queue",
    "hiredis": "hiredis",
    "hiredis-pipeline": "hiredis, pipelined",
    "raw": "raw socket, pipelined",
    "crate-current": "`redis`, current-thread",
    "crate-multi": "`redis`, multi-thread",
    "crate-current-tasks": "`redis`, current-thread tasks",
    "crate-multi-tasks": "`redis`, multi-thread tasks",
    "redis-benchmark": "redis-benchmark",
}
BLOCKING = ["yokedcache", "yokedcache-tags", "hiredis", "crate-current", "crate-multi", "redis-benchmark"]
MANY = [name for name in BLOCKING if name != "yokedcache-tags"]
IN_FLIGHT = [
    "yokedcache-queue",
    "yokedcache-batch",
    "raw",
    "hiredis-pipeline",
    "crate-current-tasks",
    "crate-multi-tasks",
    "redis-benchmark",
]
LEASE = ["yokedcache-lease", "yokedcache"]
# Name: what is measured, what the callers are, who is compared with, how many callers, contenders, title.
WORKLOADS = {
    "get": ("get", "threads", "hiredis", [1, 8, 64, 256], BLOCKING, "GET of 100 bytes"),
    "set": ("set", "threads", "hiredis", [1, 8, 64, 256], BLOCKING, "SET of 100 bytes"),
    "mget": ("mget", "threads", "hiredis", [1, 8, 64, 256], MANY, "MGET of 100 keys; an operation is 100 keys"),
    "get-in-flight": ("get", "in flight", "raw", [64, 256], IN_FLIGHT, "GET of 100 bytes, in flight at once"),
    "set-in-flight": ("set", "in flight", "raw", [64, 256], IN_FLIGHT, "SET of 100 bytes, in flight at once"),
    "hit": ("get", "threads", "yokedcache", [1, 8, 64], LEASE, "Read for loading, every key is there"),
    "counter": ("counter", "threads", "hiredis", [1, 8, 64], ["yokedcache", "hiredis"], "Addition to one of 1,000 counters"),
    "counter-in-flight": ("counter", "in flight", "hiredis-pipeline", [64, 256], ["yokedcache-queue", "hiredis-pipeline"], "The same, in flight at once"),
    "stampede": lambda port: stampede(port),
    "messages": lambda port: messages(port),
    "compare": ("compare", "threads", "yokedcache", [1, 8], ["yokedcache"], "Compare-and-set of one key by all"),
}


def command(port):
    """A server that keeps nothing."""
    options = f"--port {port} --bind 127.0.0.1 --appendonly no --loglevel warning --logfile /dev/null"
    return ["redis-server", *options.split(), "--save", ""]


def stampede(port):
    """rueidisaside, the peer, is a program of its own; without Go or its module there is none."""
    place = Path(os.environ["BENCH_PLACE"])
    commands = {"YokedCache": [str(place / "stampede"), f"redis://127.0.0.1:{port}?key_prefix=stampede"]}
    aside = place / "aside"
    if aside.exists():
        commands["rueidisaside"] = [str(aside), f"127.0.0.1:{port}"]
    return commands


def messages(port):
    """A subscriber of each kind beside the same publisher."""
    program = str(Path(os.environ["BENCH_PLACE"]) / "messages")
    return {title: [program, str(port), name] for name, title in (("yokedcache", "YokedCache"), ("hiredis", "hiredis"))}


def redis_benchmark_turn(bench, operation, callers, in_flight):
    key = (operation, callers, in_flight)
    n = int(bench.rates.get(key, 20_000) * bench.slice_ms / 1000) + callers
    clients, depth = (1, callers) if in_flight else (callers, 1)
    figures = redis_benchmark(bench, operation, clients, depth, n)
    bench.rates[key] = figures[0]
    return figures


def redis_benchmark(bench, operation, clients, depth, n):
    """Its keys look like ours and lie in a database of their own."""
    command = f"redis-benchmark -p {bench.port} --dbnum 1 -r 100000 -d 100 -n {n} -c {clients} -P {depth} --csv"
    key = "key:__rand_int__"
    asked = ["mget", *[key] * 100] if operation == "mget" else ["-t", operation]
    command = ["timeout", str(rounds.LONGEST_TURN), *command.split(), *asked]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    rows = list(csv.reader(process.stdout))
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0 or len(rows) < 2:
        raise SystemExit(f"redis-benchmark failed: {rows}")
    rate, _, _, p50, _, p99, _ = (float(figure) for figure in rows[-1][1:])
    return rate, p50 * 1e3, p99 * 1e3, (used.ru_utime + used.ru_stime) * 1e6 / n


rounds.main(
    "tests/bench/run redis",
    __doc__,
    TITLES,
    WORKLOADS,
    command,
    programs={"redis-benchmark": redis_benchmark_turn},
    prepare=lambda bench: redis_benchmark(bench, "set", 64, 64, 1_000_000),
)
