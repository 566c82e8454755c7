"""The most memory that this process has held."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def peak_bytes() -> int:
    """Peak resident memory of this process. On Linux since its program began: `getrusage` would count the parent's, if
    that was larger."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(
            line for line in status.read_text(encoding="ascii", errors="replace").splitlines() if "VmHWM" in line
        )
        return 1024 * int(line.split()[1])
    if os.name == "nt":  # has no module `resource`
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
