"""The configuration of a run on supervised tasks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from metarl.errors import UserError, check_counts, check_known, warn
from metarl.experiment.base_config import Settings
from metarl.experiment.build_shots import build_shot_loop
from metarl.experiment.config import OWN, check_widths, perceptron
from metarl.experiment.parts import Parts
from metarl.fewshot.images import SIDE
from metarl.fewshot.inner_loop import ShotInnerLoop
from metarl.fewshot.losses import Regression
from metarl.methods import SUPERVISED, Method

PICTURES = ("glyphs", "omniglot", "folder")
"""Supervised tasks of telling pictures apart."""
DATA = ("sinusoid", *PICTURES)
"""Supervised tasks there are."""


@dataclass(frozen=True)
class FewShotConfig(Settings):
    """Everything a run on supervised tasks depends on; same configuration, same run bit for bit on the same machine."""

    method: Method = field(default_factory=lambda: SUPERVISED["maml"], kw_only=True)
    """Method and its outer update, with their settings."""
    data: str
    """The tasks: sinusoid; pictures of letters: glyphs (drawn from fonts), omniglot, folder (pictures of yours); or
    module:name, tasks of your own."""
    shots: int = 10
    """Examples a task is adapted to; of each class in classification."""
    queries: int = 10
    """Examples that judge the adapted network; of each class in classification."""
    oracle: bool = False
    """Tell the network the sine's amplitude and phase: nothing is left to adapt to."""
    ways: int = 5
    """Classes of a task of classification."""
    folder: str = ""
    """Folder of the pictures: FOLDER/CLASS/*.png or *.jpg, every fifth class held out; or with FOLDER/train,
    FOLDER/validation and FOLDER/test, which hold the classes; of omniglot, that which holds images_background and
    images_evaluation."""
    side: int = SIDE
    """Pixels that pictures of a folder become high and wide."""
    colour: bool = False
    """Keep the colours of a folder's pictures; else they become grey, and their negative: dark ink is 1, white 0."""
    network: Literal["mlp", "conv"] = "mlp"
    """Kind of network: conv, of four blocks, is for classification of pictures."""
    filters: int = 32
    """Channels of each block of the conv network."""
    hidden: tuple[int, ...] = (40, 40)
    """Width of each hidden layer of the mlp."""
    context: int = 0
    """Further inputs of the mlp that are params, the same for all examples; 0 has none, with CAVIA 16."""
    later_lr: float = field(default=1.0, kw_only=True)
    """Factor on the inner step size beyond the steps trained with."""
    eval_queries: int = 100
    """Examples that judge the network in an evaluation; of each class in classification."""

    plays_episodes: ClassVar[bool] = False

    @property
    def source(self) -> str:
        """The data."""
        return self.data

    @property
    def title(self) -> str:
        """The tasks and the number of shots."""
        return f"{self.data}, {f'{self.ways}-way ' if self.pictures else ''}{self.shots}-shot"

    @property
    def origin(self) -> str:
        """The data, and the kind of tasks drawn from them."""
        return self.data + f", {self.ways}-way" * self.pictures + ", oracle" * self.oracle

    @property
    def methods(self) -> dict[str, Method]:
        """Those that learn from labelled examples."""
        return SUPERVISED

    @property
    def pictures(self) -> bool:
        """Whether the tasks are classification of pictures that come with the package or from a folder."""
        return self.data in PICTURES

    @property
    def channels(self) -> int:
        """Channels of a picture."""
        return 3 if self.colour else 1

    @property
    def named_parts(self) -> dict[str, str]:
        """The tasks, where they are the user's."""
        return {"data": self.data} if ":" in self.data else {}

    def build(
        self, parts: Parts, held_out: bool = False, tasks: int | None = None, episodes: int | None = None
    ) -> ShotInnerLoop:
        """Build the inner loop of supervised tasks."""
        return build_shot_loop(self, parts, tasks or (self.eval_tasks if held_out else self.tasks), held_out)

    def check_held_out(self, parts: Parts) -> None:
        """Refuse pictures or classes that are missing."""
        build_shot_loop(self, parts, 1, held_out=True)

    def check_heeded(self) -> None:
        """Refuse settings of a new run that nothing would heed.

        Raises:
            UserError: If there is such a one.
        """
        conv = self.network == "conv"
        unheard = {
            "ways": (self.data == "sinusoid", "classification, sinusoid is regression"),
            "hidden": (conv, "network mlp, got conv"),
            "filters": (not conv, "network conv, got mlp"),
        }
        for name, (is_unheard, what) in unheard.items():
            value, usual = getattr(self, name), getattr(type(self), name)
            if is_unheard and value != usual:
                raise UserError(f"{name}={value} is for {what}; give {name} {usual}")

    def warn_of_unheard(self, inner_loop: ShotInnerLoop) -> None:
        """Warn of `ways` where the tasks are the user's, of regression."""
        if ":" in self.data and isinstance(inner_loop.losses, Regression) and self.ways != type(self).ways:
            warn(f"without effect, as the targets of {self.data} are no classes: ways={self.ways}")

    @property
    def batched(self) -> bool:
        """Whether the network is convolutional: others are small enough for Python to take the time."""
        return self.network == "conv"

    def judging(self, held_out: bool) -> int:
        """Return the query examples of a task."""
        return self.eval_queries if held_out else self.queries

    @property
    def least_params(self) -> int:
        """How many params the network has at least."""
        if self.network == "conv":
            return 9 * self.filters * (self.channels + 3 * self.filters)
        return perceptron(self._inputs, self.hidden) + self.context_size * sum(self.hidden[:1])

    def least_data(self, judging: int) -> int:
        """Return how many numbers a task's examples are at least."""
        return (self.shots + judging) * (self.ways * self._inputs if self.pictures else 2)

    @property
    def _inputs(self) -> int:
        """Numbers that the network is given of an example, at least."""
        return self.channels * self.side**2 if self.pictures else 1

    def sizes(self, tasks: int, judging: int) -> str:
        """Return in words what decides how much memory so many tasks take."""
        width = f"filters={self.filters}" if self.network == "conv" else f"hidden={self.hidden}"
        side = f"side={self.side}, " * (self.data == "folder")
        return f"tasks={tasks}, {side}shots={self.shots}, queries={judging} and {width}"

    @property
    def iteration_size(self) -> str:
        """Tasks x shots."""
        return f"{self.tasks} x {self.shots}"

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        if ":" not in self.data:
            check_known("data", self.data, DATA, OWN)
        check_counts(**{name: (getattr(self, name), 1) for name in ("shots", "queries", "eval_queries", "filters")})
        check_counts(ways=(self.ways, 2))
        waves = self.data == "sinusoid"
        if self.network not in ("mlp", "conv") or (self.network == "conv" and waves):
            raise UserError(f"network must be mlp{' or conv' * (not waves)}, got {self.network!r}")
        if self.oracle and not waves:
            raise UserError("the oracle is for the sinusoid only")
        check_counts(context=(self.context, 0))
        if self.context_size and self.network == "conv":
            raise UserError(f"a context is for network mlp, got {self.context_size} with conv")
        if self.folder and self.data not in ("omniglot", "folder"):
            raise UserError(f"folder is for data omniglot or folder, the others have none; got {self.folder!r}")
        check_counts(side=(self.side, 1))
        if self.data != "folder" and (self.side != SIDE or self.colour):
            got = f"side={self.side}, colour={self.colour}"
            raise UserError(f"side and colour are for data folder, those of {self.data} are fixed; got {got}")
        check_widths(self.hidden)
