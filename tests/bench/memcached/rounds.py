"""The benchmark of the Memcached backend: rounds against a private server; Markdown on standard output."""

import os
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
    "libmemcached": "libmemcached, text",
    "libmemcached-binary": "libmemcached, binary",
    "raw": "raw socket, pipelined",
}
BLOCKING = ["yokedcache", "yokedcache-tags", "libmemcached", "libmemcached-binary"]
MANY = [name for name in BLOCKING if name != "yokedcache-tags"]
IN_FLIGHT = ["yokedcache-queue", "yokedcache-batch", "raw"]
LEASE = ["yokedcache-lease", "yokedcache"]
# Name: what is measured, what the callers are, who is compared with, how many callers, contenders, title.
WORKLOADS = {
    "get": ("get", "threads", "libmemcached", [1, 8, 64, 256], BLOCKING, "GET of 100 bytes"),
    "set": ("set", "threads", "libmemcached", [1, 8, 64, 256], BLOCKING, "SET of 100 bytes"),
    "mget": ("mget", "threads", "libmemcached", [1, 8, 64, 256], MANY, "100 keys at once; an operation is 100 keys"),
    "get-in-flight": ("get", "in flight", "raw", [64, 256], IN_FLIGHT, "GET of 100 bytes, in flight at once"),
    "set-in-flight": ("set", "in flight", "raw", [64, 256], IN_FLIGHT, "SET of 100 bytes, in flight at once"),
    "hit": ("get", "threads", "yokedcache", [1, 8, 64], LEASE, "Read for loading, every key is there"),
    "counter": ("counter", "threads", "yokedcache", [1, 8, 64], ["yokedcache"], "Addition to one of 1,000 counters"),
    "counter-in-flight": ("counter", "in flight", "yokedcache-queue", [64, 256], ["yokedcache-queue"], "The same, in flight at once"),
    "stampede": lambda port: stampede(port),
    "compare": ("compare", "threads", "yokedcache", [1, 8], ["yokedcache"], "Compare-and-set of one key by all"),
}


def command(port):
    """A server with room for all keys of everyone."""
    user = ["-u", "root"] if os.geteuid() == 0 else []
    return ["memcached", "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-m", "512", "-c", "4096", *user]


def stampede(port):
    program = str(Path(os.environ["BENCH_PLACE"]) / "stampede")
    return {"YokedCache": [program, f"memcached://127.0.0.1:{port}?key_prefix=stampede"]}


rounds.main("tests/bench/run memcached", __doc__, TITLES, WORKLOADS, command)
