"""Write the catalogue of the environments: the tables in envs/README.md and a picture of each family.

    python benchmarks/env_catalogue.py            both
    python benchmarks/env_catalogue.py --tables   only the tables, which need no OpenGL

A picture shows the state after a few random steps of the first task drawn with seed 2.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from metarl_envs import HORIZONS, WITH_PACKAGE
from metarl_envs.catalogue import catalogue, details, table
from PIL import Image

FOLDER = Path(__file__).parents[1] / "envs"
SIZE = 200


def fill(text: str, name: str, content: str) -> str:
    """Return the text with the content between the comments `<!-- name -->` and `<!-- /name -->`."""
    before, rest = text.split(f"<!-- {name} -->\n")
    _, after = rest.split(f"<!-- /{name} -->")
    return f"{before}<!-- {name} -->\n{content}<!-- /{name} -->{after}"


def picture(name: str) -> Image.Image:
    """Return a picture of one family."""
    env: Any = gymnasium.make(f"metarl/{name}-v0", render_mode="rgb_array", render_size=SIZE)
    env.unwrapped.set_task(env.unwrapped.sample_tasks(1, np.random.default_rng(2))[0])
    env.reset(seed=0)
    env.action_space.seed(0)
    steps = min(env.spec.max_episode_steps, 5)
    for _ in range(steps):
        env.step(env.action_space.sample())
    frame = env.render()
    env.close()
    # a palette makes the files a third as large; coverage, so that it keeps the red of a small goal
    return Image.fromarray(frame).quantize(200, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)


def main() -> None:
    """Write tables and pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", action="store_true", help="leave the pictures as they are")
    only_tables = parser.parse_args().tables
    entries = catalogue(HORIZONS | WITH_PACKAGE)
    readme = FOLDER / "README.md"
    text = fill(readme.read_text(), "table", table(entries))
    readme.write_text(fill(text, "details", details(entries, "pictures")))
    if not only_tables:
        (FOLDER / "pictures").mkdir(exist_ok=True)
        for key in HORIZONS | WITH_PACKAGE:
            name = key.split(":")[1]
            picture(name).save(FOLDER / "pictures" / f"{name}.png", optimize=True)


if __name__ == "__main__":
    main()
