"""A task before and after adaptation, side by side."""

from __future__ import annotations

import io
import warnings
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
from gymnasium import Env
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from stable_baselines3.common.logger import TensorBoardOutputFormat
from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[attr-defined]
from torch.utils.tensorboard import SummaryWriter

from metarl.errors import UserError, check_counts, warn
from metarl.evaluation import AdaptationCurve
from metarl.experiment.adapted import PolicyTrainer, policy_before, policy_for, single_env
from metarl.experiment.callbacks import Callback
from metarl.experiment.checkpoint import write_atomically
from metarl.experiment.log import Log
from metarl.experiment.signals import writing
from metarl.experiment.tensorboard import adding_to
from metarl.experiment.trainer import Trainer
from metarl.rl.adapted_policy import AdaptedPolicy
from metarl.seeding import TEST, draw_tasks

Frames = NDArray[np.uint8]
"""Pictures `[T, height, width, 3]`."""

BANNER = 36
"""Height of the two lines of text above each picture, in pixels."""


class Film(Callback):
    """Films a held-out task at every evaluation, small, into TensorBoard; a run goes on where that fails.

    Args:
        log: The run's log.
    """

    def __init__(self, log: Log) -> None:
        self.log = log

    def on_start(self, trainer: Trainer) -> None:
        """Look whether the configuration wants films."""
        self.trainer, self.on = trainer, getattr(trainer.config, "film", False)

    def on_evaluation(self, curve: AdaptationCurve) -> None:
        """Film, if the configuration says so."""
        outputs = self.log.logger.output_formats
        writers = [output.writer for output in outputs if isinstance(output, TensorBoardOutputFormat)]
        if not (self.on and writers):
            return
        try:
            seed, steps = self.trainer.config.seed, max(self.trainer.config.method.inner_steps, 1)
            film = film_adaptation(self.trainer, None, steps, seed, side=128, longest=40)
        except Exception as error:  # without OpenGL, say; a film is not worth a run
            self.on = False
            warn(f"no films in TensorBoard: {error}")
            return
        with writing(self.log.what):
            _add_film(writers[0], *film, self.trainer.progress.env_steps)


def film_adaptation(
    trainer: PolicyTrainer,
    task: Any = None,
    steps: int = 1,
    seed: int = 0,
    side: int | None = None,
    longest: int | None = None,
) -> tuple[Frames, int]:
    """Film one episode before adaptation and one after it, side by side.

    Args:
        trainer: The training, of a policy.
        task: The task `[d]`; by default a held-out one.
        steps: Gradient steps between the two (episodes, of a recurrent policy).
        seed: Chooses the task, the episodes of the adaptation and the start of those filmed.
        side: Height of the pictures in pixels; by default as the environment draws them.
        longest: Most pictures to take of an episode; by default one a step.

    Returns:
        Pictures `[T, height, width, 3]` and how many of them a second show.

    Raises:
        UserError: If the environment draws no pictures or the task is none of its.
    """
    check_counts(steps=(steps, 0), seed=(seed, 0))
    if task is None:
        task = draw_tasks(trainer.inner_loop, 1, seed, TEST)[0]
    films, fps = [], 20
    unit = "episode" if trainer.inner_loop.adapts_by == "episodes seen" else "step"
    for name, policy in (
        ("before", policy_before(trainer)),
        (f"after {steps} {unit}{'s' * (steps != 1)}", policy_for(trainer, task, steps, seed=seed)),
    ):
        frames, returns, fps = _film(trainer, policy, np.asarray(task, dtype=np.float64), seed, longest)
        captions = [(name, f"step {at}   return {total:.1f}") for at, total in returns]
        shown = zip(frames, captions, strict=True)
        films.append([_captioned(_shrunk(frame, side), *caption) for frame, caption in shown])
    length = max(len(film) for film in films)
    sides = [np.stack(film + [film[-1]] * (length - len(film))) for film in films]  # the shorter waits at its end
    return np.concatenate(sides, axis=2), fps


def check_film(file: Path) -> None:
    """Refuse an ending other than `.gif`, or `.mp4` where imageio's ffmpeg is installed.

    Raises:
        UserError: If it is another.
    """
    if file.suffix not in (".gif", ".mp4"):
        raise UserError(f"a film is .gif or .mp4, not {file.suffix or 'without an ending'!r}")
    if file.suffix == ".mp4" and find_spec("imageio_ffmpeg") is None:
        raise UserError("writing .mp4 needs imageio-ffmpeg (pip install imageio-ffmpeg); .gif does not")


def write_film(frames: Frames, fps: int, file: Path) -> None:
    """Write pictures as the ending of the file says.

    Raises:
        UserError: If the file cannot be written, or `check_film` refuses it.
    """
    check_film(file)
    try:
        if file.suffix == ".gif":
            write_atomically(file, encode_gif(frames, fps))
        else:
            iio.imwrite(file, frames, plugin="FFMPEG", fps=fps, macro_block_size=2)
    except OSError as error:
        raise UserError(f"cannot write {str(file)!r}: {error}") from error


def log_film(frames: Frames, fps: int, directory: Path, step: int) -> None:
    """Show a film in a run's TensorBoard; errors as `adding_to`."""
    with adding_to(directory) as writer:
        _add_film(writer, frames, fps, step)


def _add_film(writer: SummaryWriter, frames: Frames, fps: int, step: int) -> None:
    """Add a film as a moving image (TensorBoard's own add_video needs a moviepy that is gone)."""
    _, height, width, _ = frames.shape
    image = Summary.Image(
        height=height, width=width, colorspace=3, encoded_image_string=encode_gif(frames, fps)
    )  # fmt: skip
    writer._get_file_writer().add_summary(Summary(value=[Summary.Value(tag="pictures/film", image=image)]), step)


def encode_gif(frames: Frames, fps: int) -> bytes:
    """Return pictures as a GIF that repeats."""
    file = io.BytesIO()
    images = [Image.fromarray(frame).quantize(64) for frame in frames]
    images[0].save(file, "GIF", save_all=True, append_images=images[1:], duration=1000 / fps, loop=0)
    return file.getvalue()


def _rendering(trainer: PolicyTrainer) -> Env:
    """Make one environment that draws itself.

    Raises:
        UserError: If it does not.
    """
    asked = {"category": UserWarning, "message": ".*render"}  # Gymnasium's, of the same
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", **asked)
            env = single_env(trainer, render_mode="rgb_array")
        why = f"its render_mode is {env.render_mode!r}"
    except TypeError as error:
        env, why = None, str(error).split(" was raised from")[0]
    if env is None or env.render_mode != "rgb_array":
        raise UserError(
            f"{trainer.config.title} draws no pictures ({why}): a film needs render_mode='rgb_array' among the "
            "environment's arguments and metadata, and render()"
        )
    return env


def _film(
    trainer: PolicyTrainer, policy: AdaptedPolicy, task: NDArray[np.float64], seed: int, longest: int | None
) -> tuple[list[Frames], list[tuple[int, float]], int]:
    """Play one episode by the likeliest actions.

    Returns:
        Its pictures, the step and the return so far at each of them, and pictures a second.
    """
    env = _rendering(trainer)
    try:
        env.get_wrapper_attr("set_task")(task)
        observation, _ = env.reset(seed=seed)
        try:
            frames, returns, total, done = [env.render()], [(0, 0.0)], 0.0, False
        except DependencyNotInstalled as error:
            raise UserError(f"environment {trainer.config.env!r} draws no pictures: {error}") from error
        every = 1 if longest is None else -(-env.get_wrapper_attr("_max_episode_steps") // longest)
        for step in count(1):
            action, _ = policy.predict(observation, deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(action)
            policy.see(float(reward))
            total, done = total + float(reward), terminated or truncated
            if done or not step % every:
                frames.append(env.render())
                returns.append((step, total))
            if done:
                break
        if not isinstance(frames[0], np.ndarray):
            raise UserError(f"environment {trainer.config.env!r} draws no pictures")
        return frames, returns, max(1, int(env.metadata.get("render_fps", 20)) // every)  # type: ignore[return-value]
    finally:
        env.close()


def _shrunk(frame: Frames, side: int | None) -> Frames:
    """Return the picture with this height."""
    height, width, _ = frame.shape
    if side is None:
        return frame
    return np.asarray(Image.fromarray(frame).resize((width * side // height, side), Image.Resampling.BILINEAR))


def _captioned(frame: Frames, *lines: str) -> Frames:
    """Return the picture with two lines of text above it."""
    height, width, _ = frame.shape
    image = Image.new("RGB", (width, height + BANNER), "white")
    image.paste(Image.fromarray(frame), (0, BANNER))
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((6, 4 + 15 * number), line, fill="black")
    draw.line([(width - 1, 0), (width - 1, height + BANNER)], fill="grey")
    return np.asarray(image)
