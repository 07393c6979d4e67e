"""A task before and after adaptation, side by side."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[attr-defined]
from torch.utils.tensorboard import SummaryWriter

from metarl.errors import UserError
from metarl.models import AdaptedPolicy, Model, check_counts
from metarl.players import HELD_OUT
from metarl.rl.make import make_single

Frames = NDArray[np.uint8]
"""Pictures `[T, height, width, 3]`."""

BANNER = 20
"""Height of the line of text above each picture, in pixels."""


def film_adaptation(model: Model, task: Any = None, steps: int = 1, seed: int = 0) -> tuple[Frames, int]:
    """Film one episode before adaptation and one after it, side by side.

    Args:
        model: The model, which stays as it is.
        task: The task `[d]`; by default a held-out one.
        steps: Gradient steps between the two.
        seed: Chooses the task, the episodes of the adaptation and the start of those filmed.

    Returns:
        Pictures `[T, height, width, 3]` and how many of them a second show.

    Raises:
        UserError: If the environment draws no pictures or the task is none of its.
    """
    check_counts(steps=(steps, 0), seed=(seed, 0))
    if model.config.learner.inner_steps == 0 or model.method == "rl2":
        raise UserError("an RL² policy cannot be filmed: it acts from the memory of the running episode")
    if task is None:
        rng = np.random.default_rng(np.random.SeedSequence([seed, HELD_OUT]))
        task = model.trainer.player.sample_tasks(1, rng)[0]
    films, fps = [], 20
    for name, policy in (
        ("before", model.policy),
        (f"after {steps} step{'s' * (steps != 1)}", model.adapt(task, steps, seed=seed)),
    ):
        frames, total, fps = _film(model, policy, np.asarray(task, dtype=np.float64), seed)
        films.append([_captioned(frame, f"{name}: {total:.1f}") for frame in frames])
    length = max(len(film) for film in films)
    sides = [np.stack(film + [film[-1]] * (length - len(film))) for film in films]  # the shorter waits at its end
    return np.concatenate(sides, axis=2), fps


def write_film(frames: Frames, fps: int, file: Path) -> None:
    """Write pictures as the ending of the file says: `.gif`, or `.mp4` where imageio's ffmpeg is installed.

    Raises:
        UserError: If the file cannot be written.
    """
    try:
        if file.suffix == ".gif":
            file.write_bytes(encode_gif(frames, fps))
        elif file.suffix == ".mp4":
            iio.imwrite(file, frames, plugin="FFMPEG", fps=fps, macro_block_size=2)
        else:
            raise UserError(f"a film is .gif or .mp4, not {file.suffix or 'without an ending'!r}")
    except ImportError as error:
        raise UserError("writing .mp4 needs imageio-ffmpeg (pip install imageio-ffmpeg); .gif does not") from error
    except OSError as error:
        raise UserError(f"cannot write {str(file)!r}: {error}") from error


def log_film(frames: Frames, fps: int, directory: Path, step: int) -> None:
    """Show a film as a moving image in TensorBoard (its own add_video needs a moviepy that is gone)."""
    _, height, width, _ = frames.shape
    image = Summary.Image(
        height=height, width=width, colorspace=3, encoded_image_string=encode_gif(frames, fps)
    )  # fmt: skip
    writer = SummaryWriter(str(directory))
    writer._get_file_writer().add_summary(Summary(value=[Summary.Value(tag="adaptation/film", image=image)]), step)
    writer.close()


def encode_gif(frames: Frames, fps: int) -> bytes:
    """Return pictures as a GIF that repeats."""
    file = io.BytesIO()
    images = [Image.fromarray(frame).quantize(64) for frame in frames]
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=1000 / fps, loop=0)
    return file.getvalue()


def _film(model: Model, policy: AdaptedPolicy, task: NDArray[np.float64], seed: int) -> tuple[list[Frames], float, int]:
    """Play one episode by the likeliest actions; returns its pictures, its return and pictures a second."""
    options = {**model.config.env_options, "render_mode": "rgb_array"}
    env = make_single(model.trainer.source, model.config.horizon, options)
    try:
        env.get_wrapper_attr("set_task")(task)
        observation, _ = env.reset(seed=seed)
        frames, total, done = [env.render()], 0.0, False
        while not done:
            action, _ = policy.predict(observation, deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(action)
            frames.append(env.render())
            total, done = total + float(reward), terminated or truncated
        if not isinstance(frames[0], np.ndarray):
            raise UserError(f"environment {model.config.env!r} draws no pictures")
        return frames, total, int(env.metadata.get("render_fps", 20))  # type: ignore[return-value]
    finally:
        env.close()


def _captioned(frame: Frames, text: str) -> Frames:
    """Return the picture with a line of text above it."""
    height, width, _ = frame.shape
    image = Image.new("RGB", (width, height + BANNER), "white")
    image.paste(Image.fromarray(frame), (0, BANNER))
    draw = ImageDraw.Draw(image)
    draw.text((6, 4), text, fill="black")
    draw.line([(width - 1, 0), (width - 1, height + BANNER)], fill="grey")
    return np.asarray(image)
