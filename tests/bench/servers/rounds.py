"""What the benchmarks of a server's clients share: rounds against a private server; Markdown on standard output."""

import argparse
import json
import os
import re
import resource
import shlex
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "report"))
import goals

# A turn in which other programs had a larger share of the processors is taken again, so often at most.
DISTURBED = 0.1
TURNS = 3
# The exit status of a turn in which others had the processors all the time.
NOTHING_DONE = 2
LONGEST_TURN = 60
# The contender of --against: YokedCache with another library.
OTHER_BUILD = "other-build"
LONGEST_RUN = 7200


class Server:
    """A server of our own on a free port of the loopback; it keeps nothing, and ends with us."""

    def __init__(self, command):
        self.command = command

    def __enter__(self):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = ["timeout", str(LONGEST_RUN), *self.command(self.port)]
        self.process = subprocess.Popen(command, cwd="/", stdin=subprocess.DEVNULL)
        try:
            self.wait_until_it_answers()
        except BaseException:
            # Without a `with` block yet, the server would outlive us.
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def wait_until_it_answers(self):
        for _ in range(100):
            try:
                return socket.create_connection(("127.0.0.1", self.port)).close()
            except ConnectionRefusedError:
                time.sleep(0.1)
        raise RuntimeError(f"the server on port {self.port} does not answer")

    def processor_seconds(self):
        """The processor time of all its threads so far."""
        timeout = self.process.pid
        try:
            server = read(f"/proc/{timeout}/task/{timeout}/children").split()[0]
            threads = Path(f"/proc/{server}/task").glob("*/schedstat")
            return sum(int(read(thread).split()[0]) for thread in threads) / 1e9
        except (IndexError, OSError) as error:
            raise RuntimeError(f"the server on port {self.port} has ended") from error


class Machine:
    """The processors, and the share of them that others had since the last look."""

    def __init__(self, server):
        self.server = server
        self.look()

    def look(self):
        ticks = [int(field) for field in read("/proc/stat").split("\n")[0].split()[1:9]]
        idle, ticks_a_second = ticks[3] + ticks[4], os.sysconf("SC_CLK_TCK")
        self.all, self.busy = sum(ticks) / ticks_a_second, (sum(ticks) - idle) / ticks_a_second
        turns = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.ours = self.server.processor_seconds() + turns.ru_utime + turns.ru_stime

    def share_of_others(self):
        before = (self.all, self.busy, self.ours)
        self.look()
        passed, busy, ours = (now - then for now, then in zip((self.all, self.busy, self.ours), before))
        return max(0, busy - ours) / max(passed, 0.01)


def read(path):
    with open(path) as file:
        return file.read()


def replace_file(path, text):
    """Writes a file as a whole: a program that is ended meanwhile leaves the file of before, and not a half."""
    new = path.with_name(f"{path.name}.new")
    new.write_text(text)
    new.replace(path)


class Bench:
    """Turns of contenders against a server. A turn's figures: operations a second, p50, p99, microseconds of CPU."""

    def __init__(self, measure, server, slice_ms, programs):
        self.measure, self.port, self.slice_ms, self.programs = measure, server.port, slice_ms, programs
        self.machine = Machine(server)
        self.disturbances = []
        self.under = shlex.split(os.environ.get("UNDER", ""))
        self.rates = {}
        self.against = None

    def fill(self):
        subprocess.run([self.measure, str(self.port), "fill"], check=True, timeout=LONGEST_TURN)

    def turn(self, *what):
        """Of some attempts the one that others disturbed least."""
        attempts = []
        while len(attempts) < TURNS and not (attempts and min(attempts)[0] <= DISTURBED):
            self.machine.look()
            figures = self.attempt(*what)
            attempts.append((self.machine.share_of_others(), figures))
        disturbance, figures = min(attempts)
        self.disturbances.append(disturbance)
        return figures

    def attempt(self, *what):
        name, operation, callers, in_flight = what
        if name in self.programs:
            return self.programs[name](self, operation, callers, in_flight)
        environment = os.environ
        if name == OTHER_BUILD:
            name, environment = "yokedcache", {**os.environ, "LD_LIBRARY_PATH": self.against}
        command = [*self.under, self.measure, str(self.port), name, operation, str(callers), str(self.slice_ms)]
        done = subprocess.run(command, env=environment, timeout=LONGEST_TURN, stdout=subprocess.PIPE, text=True)
        if done.returncode == NOTHING_DONE:
            return self.attempt(*what)
        done.check_returncode()
        return tuple(float(figure) for figure in done.stdout.split())


def interleave(bench, rounds, names, operation, callers, in_flight):
    """What everyone measured in every round; each round begins with the next one."""
    measured = {name: [] for name in names}
    for round_ in range(rounds):
        for turn in range(len(names)):
            name = names[(round_ + turn) % len(names)]
            measured[name].append(bench.turn(name, operation, callers, in_flight))
    return measured


def medians(turns):
    return [statistics.median(figures) for figures in zip(*turns)]


def ratio(turns, of):
    """The median of the ratios of each round."""
    return statistics.median(turn[0] / other[0] for turn, other in zip(turns, of))


def print_table(title, about, rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    print(f"\n### {title}\n\n{about}\n")
    for row in [rows[0], ["-" * width for width in widths], *rows[1:]]:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |", flush=True)


def run(workload, bench, options, results, titles):
    operation, unit, peer, all_callers, names, title = options.known[workload]
    bench.disturbances.clear()
    if options.against:
        names, peer = [name for name in ("yokedcache", OTHER_BUILD) if "yokedcache" in names], OTHER_BUILD
    names = [name for name in names if options.only in (None, name)]
    rows = [[unit, "contender", "thousand/s", f"÷ {peer}", "p50 µs", "p99 µs", "client CPU µs"]]
    for callers in [callers for callers in all_callers if callers in options.callers]:
        measured = interleave(bench, options.rounds, names, operation, callers, unit == "in flight")
        results[workload, callers] = measured
        for name in names:
            rate, p50, p99, cpu = medians(measured[name])
            of = f"{ratio(measured[name], measured[peer]):.2f}" if peer in measured else ""
            rows.append([str(callers), titles[name], f"{rate / 1e3:.1f}", of, f"{p50:.1f}", f"{p99:.1f}", f"{cpu:.2f}"])
    if len(rows) > 1:
        others = statistics.median(bench.disturbances)
        print_table(title, f"Client CPU is for each operation. Others had {others:.0%} of the processors.", rows)


# What a stampede is: processes, callers in each, and the milliseconds of the load.
STAMPEDE = (4, 250, 50)


def run_stampede(bench, options, commands):
    """Callers of several processes ask for one cold key at once. `commands` are programs, each with the server's address."""
    processes, callers, load_ms = STAMPEDE
    measured = {title: [] for title in commands}
    for round_ in range(options.rounds):
        for turn in range(len(commands)):
            title = list(commands)[(round_ + turn) % len(commands)]
            command = [*commands[title], *map(str, STAMPEDE)]
            done = subprocess.run(command, timeout=LONGEST_TURN, stdout=subprocess.PIPE, text=True, check=True)
            measured[title].append(tuple(float(figure) for figure in done.stdout.split()))
    rows = [["contender", "loads, at most", "callers served, at least", "last caller after the fill, ms", "slowest round, ms"]]
    for title, turns in measured.items():
        loads, served, last = zip(*turns)
        rows.append([title, f"{max(loads):.0f}", f"{min(served):.0f}", f"{statistics.median(last):.1f}", f"{max(last):.1f}"])
    about = f"{processes} processes with {callers} callers each ask for one cold key at once; its load takes {load_ms} ms."
    print_table("Stampede", f"{about} Goals: 1 load, and the last caller at most 30 ms after the fill.", rows)


# The messages a second of a publisher; 0: as many as it can.
RATES = (10_000, 0)


def run_messages(bench, options, commands):
    """One program publishes messages, another one receives them."""
    rows = [["messages a second", "contender", "thousand/s", "p50 µs", "p99 µs", "subscriber CPU µs", "lost, at most"]]
    for rate in RATES:
        measured = {title: [] for title in commands}
        for round_ in range(options.rounds):
            for turn in range(len(commands)):
                title = list(commands)[(round_ + turn) % len(commands)]
                command = [*commands[title], str(rate), str(options.slice)]
                done = subprocess.run(command, timeout=LONGEST_TURN, stdout=subprocess.PIPE, text=True, check=True)
                measured[title].append(tuple(float(figure) for figure in done.stdout.split()))
        for title, turns in measured.items():
            received, p50, p99, cpu, _ = medians(turns)
            lost = max(turn[4] for turn in turns)
            wanted = f"{rate:,}" if rate else "no limit"
            rows.append([wanted, title, f"{received / 1e3:.1f}", f"{p50:.1f}", f"{p99:.1f}", f"{cpu:.2f}", f"{lost:.0f}"])
    about = "Messages of 100 bytes on one channel. The delay is from before PUBLISH is sent until the subscriber has the message."
    print_table("Messages", about, rows)


def print_goals(records):
    rows = goals.judge_rounds(records)
    if rows:
        print(f"\n### Goals\n\nRatios are medians of the ratios of each round.\n\n{goals.as_table(rows)}", flush=True)


def read_options(prog, description, titles, workloads):
    parser = argparse.ArgumentParser(prog=prog, description=description)
    names = ", ".join(workloads) + "; 1callers, 8callers, 64callers, 256callers"
    parser.add_argument("what", nargs="*", metavar="WORKLOAD|Ncallers", help=names)
    parser.add_argument("--quick", action="store_true", help="3 short rounds: to see that it works")
    parser.add_argument("--rounds", type=int, help="rounds of each comparison (9)")
    parser.add_argument("--slice", type=int, help="milliseconds each contender has in a round (300)")
    parser.add_argument("--only", choices=titles, help="one contender")
    parser.add_argument("--against", type=Path, metavar="LIBRARY", help="another libyokedcache.so, beside this one and nobody else")
    parser.add_argument("--json", type=Path, help="a file for the figures of all rounds")
    parser.add_argument("--measure", required=True, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.rounds = options.rounds or (3 if options.quick else 9)
    options.slice = options.slice or (100 if options.quick else 300)
    numbers = [re.fullmatch(r"(\d+)callers?", what) for what in options.what]
    options.callers = [int(number[1]) for number in numbers if number] or [1, 8, 64, 256]
    options.workloads = [what for what, number in zip(options.what, numbers) if not number] or list(workloads)
    unknown = set(options.workloads) - set(workloads)
    if unknown:
        parser.error(f"{unknown.pop()} is no workload; there are {', '.join(workloads)}")
    options.known = workloads
    return options


def records_of(results, backend):
    """All rounds of all contenders; the figures of a round are those of a turn."""
    return [
        {"backend": backend, "workload": workload, "callers": callers, "contender": name, "rounds": turns}
        for (workload, callers), measured in results.items()
        for name, turns in measured.items()
    ]


def under_its_name(library, folder):
    """A folder in which the loader finds the library."""
    for name in ("libyokedcache.so", "libyokedcache.so.0"):
        (Path(folder) / name).symlink_to(library.resolve(strict=True))
    return folder


def main(prog, description, titles, workloads, command, programs=None, prepare=lambda bench: None):
    """`command` starts a server on a port; `programs` are contenders that are programs of their own."""
    # Ended from outside, the server ends, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended from outside"))
    options = read_options(prog, description, titles, workloads)
    results, backend = {}, prog.split()[-1]
    with Server(command) as server, tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.measure, server, options.slice, programs or {})
        if options.against:
            titles = {**titles, OTHER_BUILD: "YokedCache, the other build"}
            bench.against = under_its_name(options.against, folder)
        bench.fill()
        prepare(bench)
        for workload in options.workloads:
            if workload == "stampede":
                run_stampede(bench, options, workloads[workload](server.port))
            elif workload == "messages":
                run_messages(bench, options, workloads[workload](server.port))
            else:
                run(workload, bench, options, results, titles)
            if options.json:
                # After each workload: a run that is ended from outside leaves what it has.
                replace_file(options.json, json.dumps(records_of(results, backend), indent=1) + "\n")
    print_goals(records_of(results, backend))
