"""The benchmark of the near cache: rounds against private servers; Markdown on standard output."""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "servers"))
import rounds

PLACE = Path(os.environ["BENCH_PLACE"])
TITLES = {
    "memory": "memory backend",
    "redis": "near cache, Redis",
    "memcached": "near cache, Memcached",
    "yokedcache": "YokedCache, near cache",
    "hiredis": "hiredis, `CLIENT TRACKING`",
}
# The sets a second of another process while the delays of changes are measured.
RATES = (0, 10_000)
LONGEST_HITS = 1200


def redis(port):
    options = f"--port {port} --bind 127.0.0.1 --appendonly no --loglevel warning --logfile /dev/null"
    return ["redis-server", *options.split(), "--save", ""]


def memcached(port):
    user = ["-u", "root"] if os.geteuid() == 0 else []
    return ["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", *user]


def run(program, *arguments, timeout):
    command = [PLACE / program, *map(str, arguments)]
    return subprocess.run(command, timeout=timeout, stdout=subprocess.PIPE, text=True, check=True).stdout


def record(workload, callers, contender, turns):
    return {"backend": "near", "workload": workload, "callers": callers, "contender": contender, "rounds": turns}


def hits(redis_port, memcached_port, options):
    """The nanoseconds of a hit in each round, as records."""
    out = run("hits", redis_port, memcached_port, options.rounds, options.slice, timeout=LONGEST_HITS)
    records, memory = [], []
    rows = [["call", "threads", "contender", "ns", "÷ memory"]]
    for line in out.splitlines():
        call, threads, contender, *figures = line.split()
        figures = [float(figure) for figure in figures]
        records.append(record(f"hit {call}", int(threads), contender, [[figure] for figure in figures]))
        memory = figures if contender == "memory" else memory
        ratio = statistics.median(figure / other for figure, other in zip(figures, memory))
        of = "" if contender == "memory" else f"{ratio:.2f}"
        rows.append([f"`yc_{call}`", threads, TITLES[contender], f"{statistics.median(figures):.1f}", of])
    rounds.print_table("Hits of copies", "1,000 keys, values of 100 bytes. Times are of the threads' processors, for each hit.", rows)
    return records


def delays(port, options):
    """Microseconds at the median, at 99 % and at most, in each round."""
    records = []
    rows = [["sets a second meanwhile", "reader", "p50 µs", "p99 µs", "longest µs", "delays", "sets a second, measured"]]
    for rate in RATES:
        measured = {"yokedcache": [], "hiredis": []}
        for round_ in range(options.rounds):
            for turn in range(len(measured)):
                name = list(measured)[(round_ + turn) % len(measured)]
                out = run("delay", port, name, rate, 5 * options.slice, timeout=rounds.LONGEST_TURN)
                measured[name].append([float(figure) for figure in out.split()])
        for name, turns in measured.items():
            p50, p99, _, _, sets = rounds.medians(turns)
            longest, number = max(turn[2] for turn in turns), sum(turn[3] for turn in turns)
            rows.append([f"{rate:,}", TITLES[name], f"{p50:.1f}", f"{p99:.1f}", f"{longest:.0f}", f"{number:.0f}", f"{sets:.0f}"])
            records.append(record("delay", rate, name, turns))
    about = "From before one process sends a set until another one has no copy. Percentiles are medians of those of each round."
    rounds.print_table("Delay of changes", about, rows)
    return records


def main():
    # Ended from outside, the servers end, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    parser = argparse.ArgumentParser(prog="tests/bench/run near", description=__doc__)
    parser.add_argument("what", nargs="*", metavar="WORKLOAD", help="hits, delay; both without it")
    parser.add_argument("--quick", action="store_true", help="3 short rounds: to see that it works")
    parser.add_argument("--rounds", type=int, help="rounds of each comparison (9)")
    parser.add_argument("--slice", type=int, help="milliseconds each contender has in a round (200), 5 times that for delays")
    parser.add_argument("--json", type=Path, help="a file for the figures of all rounds")
    options = parser.parse_args()
    if set(options.what) - {"hits", "delay"}:
        parser.error("the workloads are hits and delay")
    options.rounds = options.rounds or (3 if options.quick else 9)
    options.slice = options.slice or (50 if options.quick else 200)
    records = []
    with rounds.Server(redis) as one, rounds.Server(memcached) as other:
        for workload in options.what or ["hits", "delay"]:
            records += hits(one.port, other.port, options) if workload == "hits" else delays(one.port, options)
            if options.json:
                rounds.replace_file(options.json, json.dumps(records, indent=1) + "\n")
    rounds.print_goals(records)


main()
