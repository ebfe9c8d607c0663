"""The machine, the versions and the commit that figures are of."""

import os
import re
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def line(command):
    """The first line of a command's output, or why there is none."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20)
        return done.stdout.strip().split("\n")[0]
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"none ({error.strerror if isinstance(error, OSError) else 'no answer'})"


def processor():
    found = re.search(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1] if found else os.uname().machine


def memory():
    kilobytes = int(re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())[1])
    return f"{kilobytes / (1 << 20):.0f} GiB of memory"


def kernel():
    """The system and the version of its kernel, without what its distributor or the machine's owner appends."""
    system = os.uname()
    return f"{system.sysname} {re.match(r'[0-9]+([.][0-9]+)?', system.release)[0]}"


def describe():
    """What a report states first, by name."""
    load = " ".join(f"{number:.2f}" for number in os.getloadavg())
    return {
        "measured": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "commit": line(["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]),
        "machine": f"{processor()}, {os.cpu_count()} processors, {memory()}, {kernel()}",
        "compilers": f"{line(['rustc', '--version'])}; {line(['cc', '--version'])}",
        "servers": f"{' '.join(line(['redis-server', '--version']).split()[:3])}; {line(['memcached', '--version'])}",
        "languages": f"{line(['go', 'version'])}; node {line(['node', '--version'])}",
        "load at the beginning": load,
    }


def as_markdown(description):
    return "\n".join(f"- {name}: {value}" for name, value in description.items())
