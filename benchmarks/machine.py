"""What machine, what versions: the facts without which figures mean nothing."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from contenders import HERE
from processes import Failed


def cores() -> tuple[int, int]:
    """The core of the servers and the core of the load.

    Raises:
        Failed: there is only one.
    """
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        raise Failed("two cores are wanted, one for the server and one for the load")
    return usable[0], usable[1]


def require_descriptors(clients: int) -> None:
    """See that a process may have so many clients, raising its soft limit if that is what it takes.

    Raises:
        Failed: the hard limit is too low.
    """
    wanted = clients + 200
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard not in (resource.RLIM_INFINITY,) and hard < wanted:
        raise Failed(f"{wanted} open files are wanted for {clients} clients; ulimit -Hn says {hard}")
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def describe() -> dict[str, Any]:
    """The machine."""
    facts = _cpu_facts()
    return {
        "cpu": facts.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "virtual": "hypervisor" in facts.get("flags", "").split(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": f"{platform.system()} {platform.release()}",
        "compiler": f"cc {_output('cc', '-dumpfullversion')}",
    }


def _cpu_facts() -> dict[str, str]:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def commit() -> str:
    """The commit that was measured, with a plus if files have been changed since."""
    short = _output("git", "rev-parse", "--short=10", "HEAD")
    changed = _output("git", "status", "--porcelain", "--untracked-files=no", "--", "src", "benchmarks/load")
    return f"{short}{'+' if changed else ''}" if short else "unknown"


def today() -> str:
    """The date and time, in UTC, to the minute."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
