"""Print the README's table of the rows that `sampling.py --json FILE` wrote: `sampling_table.py FILE`."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any


def markdown(rows: list[dict[str, Any]]) -> str:
    """Return the README's table: steps a second, and ours as a part of raw physics."""
    names = list(dict.fromkeys(row["system"] for row in rows))
    lines = ["| family | " + " | ".join(names) + " | metarl / physics |", "|---" * (len(names) + 2) + "|"]
    for env_id in dict.fromkeys(row["env"] for row in rows):
        found = {row["system"]: row for row in rows if row["env"] == env_id}
        cells = [short(found[name]["steps_per_second"]) if name in found else "" for name in names]
        ratio = found.get("metarl", {}).get("ratio_to_physics", math.nan)
        family = env_id.removeprefix("metarl/").removesuffix("-v0")
        lines.append(f"| {family} | " + " | ".join([*cells, f"{ratio:.2f}"]) + " |")
    return "\n".join(lines)


def short(speed: float) -> str:
    """Return three digits: 917k, 16.2M."""
    return f"{speed / 1e6:.3g}M" if speed >= 999_500 else f"{speed / 1e3:.3g}k"


if __name__ == "__main__":
    print(markdown(json.loads(Path(sys.argv[1]).read_text())["rows"]))
