"""The scaling curves: what varies, what is measured at each point, and the servers that it needs."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent / "servers"))
from rounds import Server

MIB = 1 << 20
# The longest time of one point, with its fill.
LONGEST_POINT = 120
FIGURES = ("rate", "p50", "p99", "p999", "cpu", "waits", "preemptions")


@dataclass
class Series:
    """A line of a curve: a backend, and what differs from the defaults of measure.c."""

    title: str
    backend: str
    set: dict = field(default_factory=dict)


@dataclass
class Curve:
    name: str
    title: str
    x_label: str
    varies: str
    points: list
    series: list
    about: str


DEFAULTS = {"operation": "get", "threads": 2, "entries": 100_000, "value": 100, "tags": 0, "nodes": 1, "pool_size": 2}
EIGHT = {"threads": 8}

CURVES = [
    Curve(
        "threads", "Threads", "threads", "threads", [1, 2, 4, 8, 16, 32, 64],
        [Series("memory get", "memory"), Series("Redis get", "redis"), Series("Memcached get", "memcached")],
        "Threads that call one cache, each with one call at a time. 100,000 entries of 100 bytes.",
    ),
    Curve(
        "values", "Size of values", "bytes of a value", "value", [100, 1_000, 10_000, 100_000, MIB],
        [Series("memory get", "memory"), Series("memory set", "memory", {"operation": "set"}),
         Series("Redis get", "redis", EIGHT), Series("Memcached get", "memcached", EIGHT)],
        "Values of 100 bytes to 1 MiB, 64 MiB in memory and 16 MiB on a server altogether. 2 threads on memory, 8 on a server.",
    ),
    Curve(
        "entries", "Number of entries", "entries", "entries", [10**3, 10**4, 10**5, 10**6, 10**7],
        [Series("memory get", "memory"), Series("memory set", "memory", {"operation": "set"})],
        "Keys drawn evenly from so many entries of 100 bytes. 2 threads.",
    ),
    Curve(
        "tags", "Tags of an entry", "tags of each entry", "tags", [1, 2, 4, 8, 16, 32, 64],
        [Series("memory get", "memory"), Series("memory set", "memory", {"operation": "set"}),
         Series("Redis get", "redis", EIGHT), Series("Memcached get", "memcached", EIGHT)],
        "All entries have the same tags. 10,000 entries of 100 bytes. 2 threads on memory, 8 on a server.",
    ),
    Curve(
        "nodes", "Nodes of a Redis Cluster", "nodes", "nodes", [1, 2, 4, 8, 16],
        [Series("get, 64 threads", "cluster", {"threads": 64}),
         Series("get of 100 keys, 8 threads", "cluster", {"threads": 8, "operation": "many"})],
        "A cluster on this machine, without replicas; all nodes share its processors. 10,000 entries of 100 bytes.",
    ),
    Curve(
        "pools", "Size of the pool", "connections to the server (pool_size)", "pool_size", [1, 2, 4, 8, 16],
        [Series("Redis get", "redis"), Series("Memcached get", "memcached")],
        "64 threads share the connections. 10,000 entries of 100 bytes.",
    ),
]


def settings(curve, series, x):
    """All that one point consists of."""
    point = {**DEFAULTS, **series.set, curve.varies: x}
    if curve.name == "values":
        point["entries"] = max((64 if series.backend == "memory" else 16) * MIB // x, 8)
    if curve.name in ("tags", "nodes", "pools"):
        point["entries"] = 10_000
    if curve.name == "pools":
        point["threads"] = 64
    return point


# ---- Servers ----


def redis_command(port, *more):
    options = f"--port {port} --bind 127.0.0.1 --appendonly no --loglevel warning --logfile /dev/null"
    return ["redis-server", *options.split(), "--save", "", *more]


def memcached_command(port):
    """With room for 16 MiB of values of any size, and for values of 1 MiB with their headers."""
    user = ["-u", "root"] if os.geteuid() == 0 else []
    return ["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "512", "-I", "8m", "-c", "4096", *user]


def ask(port, words):
    """One line of Redis's answer to an inline command."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection, connection.makefile("rwb") as stream:
        stream.write(words.encode() + b"\r\n")
        stream.flush()
        answer = stream.readline().decode().strip()
        if answer.startswith("$"):
            answer = stream.read(int(answer[1:])).decode()
    if answer.startswith("-"):
        raise RuntimeError(f"Redis answers {words!r} with {answer}")
    return answer


class Servers:
    """Servers of one kind; they end with the `with` block."""

    def __init__(self, backend, nodes):
        self.backend, self.nodes, self.servers = backend, nodes, []
        self.folder = tempfile.TemporaryDirectory(prefix="yokedcache-bench-")

    def __enter__(self):
        try:
            for _ in range({"memory": 0, "cluster": self.nodes}.get(self.backend, 1)):
                self.servers.append(Server(self.command).__enter__())
            if self.backend == "cluster":
                self.join()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for server in self.servers:
            server.__exit__()
        self.folder.cleanup()

    def command(self, port):
        if self.backend == "memcached":
            return memcached_command(port)
        if self.backend == "redis":
            return redis_command(port)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            bus = free.getsockname()[1]
        return redis_command(port, "--cluster-enabled", "yes", "--cluster-port", str(bus), "--dir", self.folder.name,
                             "--cluster-config-file", f"{port}.conf")

    def join(self):
        """Gives each node its share of the slots, and waits until all know all."""
        ports = [server.port for server in self.servers]
        for at, port in enumerate(ports):
            ask(port, f"CLUSTER ADDSLOTSRANGE {16384 * at // len(ports)} {16384 * (at + 1) // len(ports) - 1}")
            ask(port, f"CLUSTER SET-CONFIG-EPOCH {at + 1}")
        bus = ask(ports[0], "CONFIG GET cluster-port") and bus_port(ports[0])
        for port in ports[1:]:
            ask(port, f"CLUSTER MEET 127.0.0.1 {ports[0]} {bus}")
        for port in ports:
            wait_for_cluster(port, len(ports))

    def url(self, settings):
        options = f"key_prefix=bench&socket_timeout=10s&pool_size={settings['pool_size']}"
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers)
        if self.backend == "memory":
            return f"memory://?max_size={2 * settings['entries'] + 1000}"
        scheme = {"redis": "redis", "cluster": "redis+cluster", "memcached": "memcached"}[self.backend]
        return f"{scheme}://{hosts}?{options}"

    def processor_seconds(self):
        return sum(server.processor_seconds() for server in self.servers)


def bus_port(port):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection, connection.makefile("rwb") as stream:
        stream.write(b"CONFIG GET cluster-port\r\n")
        stream.flush()
        lines = [stream.readline().decode().strip() for _ in range(5)]
    return int(lines[4])


def wait_for_cluster(port, nodes):
    end = time.monotonic() + 30
    while time.monotonic() < end:
        state = ask(port, "CLUSTER INFO")
        if "cluster_state:ok" in state and f"cluster_known_nodes:{nodes}\r" in state and "cluster_slots_ok:16384" in state:
            return
        time.sleep(0.05)
    raise RuntimeError("a node does not join the cluster")


# ---- Points ----


def measure(program, servers, point, slices, milliseconds):
    """The figures of each slice; also the processors that the servers used, and the share that other programs had."""
    numbers = [point[name] for name in ("operation", "threads", "entries", "value", "tags")]
    command = ["timeout", str(LONGEST_POINT), program, servers.url(point), *map(str, numbers), str(slices), str(milliseconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            entry_bytes = float(process.stdout.readline() or 0)
            started, used, busy = time.monotonic(), servers.processor_seconds(), busy_seconds()
            lines = process.stdout.read().splitlines()
            passed = time.monotonic() - started
            used, busy = servers.processor_seconds() - used, busy_seconds() - busy
            process.wait()
        finally:
            # Does nothing after the wait; otherwise, the end of the block would wait for the program.
            process.terminate()
    if process.returncode or len(lines) != slices:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    found = [dict(zip(FIGURES, map(float, text.split()))) for text in lines]
    for one in found:
        others = max(0, (busy - used) / passed - one["rate"] * one["cpu"] / 1e6) / os.cpu_count()
        one.update(server=used / passed, entry_bytes=entry_bytes, others=others)
    return found


def busy_seconds():
    """The time that the processors of the machine worked so far."""
    with open("/proc/stat") as file:
        ticks = [int(field) for field in file.readline().split()[1:9]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def run(curves, program, passes, slices, milliseconds, end, log):
    """Measures all points in turn, so often, until the time is over. Yields the curves so far, as JSON, after each curve of a pass."""
    found = {(curve.name, series.title, x): [] for curve in curves for series in curve.series for x in curve.points}
    problems = []
    for number in range(passes):
        for curve in curves:
            for series, x in [(series, x) for series in curve.series for x in curve.points]:
                if time.monotonic() > end:
                    problems.append(f"The time was over in pass {number + 1} of {passes}: some points have fewer slices or none.")
                    yield as_json(curves, found, problems)
                    return
                log(f"pass {number + 1}: {curve.name}, {series.title}, {x}")
                point = settings(curve, series, x)
                try:
                    with Servers(series.backend, point["nodes"]) as servers:
                        found[curve.name, series.title, x] += measure(program, servers, point, slices, milliseconds)
                except (RuntimeError, OSError) as error:
                    problems.append(f"{curve.title}, {series.title}, {x}: {error}")
            yield as_json(curves, found, problems)


def as_json(curves, found, problems):
    data = {"problems": sorted(set(problems)), "curves": {}}
    for curve in curves:
        lines = {}
        for series in curve.series:
            points = [(x, found[curve.name, series.title, x]) for x in curve.points]
            lines[series.title] = [{"x": x, **medians(figures)} for x, figures in points if figures]
        data["curves"][curve.name] = {title: points for title, points in lines.items() if points}
    return data


def medians(figures):
    return {name: float(f"{median(one[name] for one in figures):.5g}") for name in figures[0]}
