"""How many cores a container leaves: trees of files as Linux shows them."""

import os
import subprocess
import sys

import pytest

from harness import PYDL_FOLDER
from pydl import _core

pytestmark = pytest.mark.once

V2_HERE = "30 23 0:26 {shown} {place} rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1_HERE = "31 23 0:27 {shown} {place} rw,nosuid shared:5 - cgroup cgroup rw,{controllers}\n"

V2 = V2_HERE.format(shown="/", place="/sys/fs/cgroup")
V1 = V1_HERE.format(shown="/", place="/sys/fs/cgroup/cpu,cpuacct", controllers="cpu,cpuacct")


def v2(group, quota):
    return {f"sys/fs/cgroup{group}/cpu.max": f"{quota} 100000\n"}


def v1(group, quota, period=100000):
    folder = f"sys/fs/cgroup/cpu,cpuacct{group}"
    return {f"{folder}/cpu.cfs_quota_us": f"{quota}\n", f"{folder}/cpu.cfs_period_us": f"{period}\n"}


CASES = {
    # name: (/proc/self/cgroup, /proc/self/mountinfo, files, cores of 16)
    "no control groups": (None, None, {}, 16),
    "version 2, no quota": ("0::/a\n", V2, v2("/a", "max"), 16),
    "version 2, own group": ("0::/a/b\n", V2, v2("/a/b", 400000), 4),
    "version 2, the group around it": ("0::/a/b/c\n", V2, v2("/a/b/c", 800000) | v2("/a", 300000), 3),
    "version 2, the smallest is in between": (
        "0::/a/b/c\n", V2, v2("/a/b/c", "max") | v2("/a/b", 200000) | v2("/a", 500000), 2),
    "version 2, a sister's quota": ("0::/a\n", V2, v2("/a", 400000) | v2("/ab", 100000) | v2("/b", 100000), 4),
    "version 2, root of a namespace": ("0::/\n", V2, v2("", 200000), 2),
    "version 2, no table of mounts": ("0::/a\n", None, v2("/a", 500000), 5),
    "version 2, mounted elsewhere": (
        "0::/a\n", V2_HERE.format(shown="/", place="/groups"), {"groups/a/cpu.max": "600000 100000\n"}, 6),
    "version 2, told its path on the host, shown its part": (
        "0::/docker/77/inner\n", V2_HERE.format(shown="/docker/77", place="/sys/fs/cgroup"),
        v2("/inner", 300000) | v2("", 700000), 3),
    "version 2, told a path that is not shown": ("0::/docker/77\n", V2, v2("", 200000), 2),
    "version 2, outside of its namespace": ("0::/../other\n", V2, v2("", 300000), 3),
    "version 2, another period": ("0::/a\n", V2, {"sys/fs/cgroup/a/cpu.max": "50000 20000\n"}, 3),
    "part of a core": ("0::/a\n", V2, v2("/a", 10000), 1),
    "one core and a half": ("0::/a\n", V2, v2("/a", 150000), 2),
    "more than the machine has": ("0::/a\n", V2, v2("/a", 6400000), 16),
    "version 1, no quota": ("4:cpu,cpuacct:/a\n", V1, v1("/a", -1), 16),
    "version 1, own group": ("5:memory:/m\n4:cpu,cpuacct:/a\n", V1, v1("/a", 400000), 4),
    "version 1, the group around it": ("4:cpu,cpuacct:/a/b\n", V1, v1("/a/b", -1) | v1("/a", 150000, 50000), 3),
    "version 1, shown its part": (
        "4:cpu,cpuacct:/docker/77\n",
        V1_HERE.format(shown="/docker/77", place="/sys/fs/cgroup/cpu,cpuacct", controllers="cpuacct,cpu"),
        v1("", 500000), 5),
    "version 1, the usual place": (
        "4:cpu:/a\n", None,
        {"sys/fs/cgroup/cpu/a/cpu.cfs_quota_us": "200000\n", "sys/fs/cgroup/cpu/a/cpu.cfs_period_us": "100000\n"}, 2),
    "version 1, cpuset is not cpu": (
        "4:cpuset:/a\n", V1_HERE.format(shown="/", place="/sys/fs/cgroup/cpu,cpuacct", controllers="cpuset"),
        v1("/a", 100000), 16),
    "both, quota in version 1": ("4:cpu,cpuacct:/a\n0::/a\n", V1 + V2_HERE.format(
        shown="/", place="/sys/fs/cgroup/unified"), v1("/a", 200000), 2),
    "both, quota in version 2": ("4:cpu,cpuacct:/a\n0::/a\n", V1 + V2_HERE.format(
        shown="/", place="/sys/fs/cgroup/unified"), v1("/a", -1) | {"sys/fs/cgroup/unified/a/cpu.max": "300000 100000"},
        3),
    "lines that say nothing": ("\n0\n0:\nabc\n", V2 + "no mount\n1 2 - 3\n", v2("", 200000), 16),
}


@pytest.mark.parametrize("name", CASES)
def test_control_groups(name, tmp_path):
    groups, mounts, files, cores = CASES[name]
    known = {"proc/self/cgroup": groups, "proc/self/mountinfo": mounts}
    for path, text in (files | {path: text for path, text in known.items() if text is not None}).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert _core.count_cores(str(tmp_path), 16) == cores


def test_this_machine():
    assert 1 <= _core.count_cores("", 4096) <= 4096


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_affinity():
    """A process that may run on one core counts one."""
    core = min(os.sched_getaffinity(0))
    environment = {k: v for k, v in os.environ.items() if k != "PYDL_NUM_THREADS" and not k.startswith("OMP_")}
    found = subprocess.run([sys.executable, "-c", "import pydl; print(pydl.config.threads())"], check=True, text=True,
                           stdout=subprocess.PIPE, env=environment, cwd=PYDL_FOLDER,
                           preexec_fn=lambda: os.sched_setaffinity(0, {core})).stdout
    assert found.split() == ["1"]
