"""A class for each method, which an editor completes with the settings of that method."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from metarl.models.keywords import (
    EMAMLKeywords,
    MAMLKeywords,
    ProMPKeywords,
    ReptileKeywords,
    RL2Keywords,
    VariBADKeywords,
)
from metarl.models.rl import Model
from metarl.rl.ids import EnvSource


class _WithMAMLsSettings(Model):
    """A method that has the settings of MAML."""

    def __init__(
        self,
        env: EnvSource,
        *,
        log_dir: str | Path | None = None,
        resume: bool = False,
        verbose: bool = False,
        **settings: Unpack[MAMLKeywords],
    ) -> None:
        self._build(env, None, log_dir, resume, verbose, settings)


class MAML(_WithMAMLsSettings):
    """MAML with a TRPO meta-update (Finn et al. 2017, algorithm 3)."""

    name = "maml"


class FOMAML(_WithMAMLsSettings):
    """First-order MAML: the meta-gradient without second derivatives."""

    name = "fomaml"


class ANIL(_WithMAMLsSettings):
    """Almost no inner loop: MAML of the head alone (Raghu et al. 2020)."""

    name = "anil"


class CAVIA(_WithMAMLsSettings):
    """MAML of context params alone, further inputs of the network (Zintgraf et al. 2019)."""

    name = "cavia"


class MetaSGD(_WithMAMLsSettings):
    """MAML with a learned step size per param (Li et al. 2017)."""

    name = "meta-sgd"


class Reptile(Model):
    """Move towards the params that adapt to the tasks (Nichol et al. 2018)."""

    name = "reptile"

    def __init__(
        self,
        env: EnvSource,
        *,
        log_dir: str | Path | None = None,
        resume: bool = False,
        verbose: bool = False,
        **settings: Unpack[ReptileKeywords],
    ) -> None:
        self._build(env, None, log_dir, resume, verbose, settings)


class ProMP(Model):
    """Proximal meta-policy search (Rothfuss et al. 2019)."""

    name = "promp"

    def __init__(
        self,
        env: EnvSource,
        *,
        log_dir: str | Path | None = None,
        resume: bool = False,
        verbose: bool = False,
        **settings: Unpack[ProMPKeywords],
    ) -> None:
        self._build(env, None, log_dir, resume, verbose, settings)


class PPOMAML(_WithMAMLsSettings):
    """MAML with a PPO meta-update."""

    name = "ppo-maml"


class EMAML(Model):
    """MAML that credits the policies before adaptation with what is reached after it (Stadie et al. 2018)."""

    name = "e-maml"

    def __init__(
        self,
        env: EnvSource,
        *,
        log_dir: str | Path | None = None,
        resume: bool = False,
        verbose: bool = False,
        **settings: Unpack[EMAMLKeywords],
    ) -> None:
        self._build(env, None, log_dir, resume, verbose, settings)


class RL2(Model):
    """A recurrent policy whose memory learns the task (Duan et al. 2016); its steps are episodes seen."""

    name = "rl2"

    def __init__(
        self,
        env: EnvSource,
        *,
        log_dir: str | Path | None = None,
        resume: bool = False,
        verbose: bool = False,
        **settings: Unpack[RL2Keywords],
    ) -> None:
        self._build(env, None, log_dir, resume, verbose, settings)


class VariBAD(Model):
    """A policy that acts on its belief about the task (Zintgraf et al. 2020); its steps are episodes seen."""

    name = "varibad"

    def __init__(
        self,
        env: EnvSource,
        *,
        log_dir: str | Path | None = None,
        resume: bool = False,
        verbose: bool = False,
        **settings: Unpack[VariBADKeywords],
    ) -> None:
        self._build(env, None, log_dir, resume, verbose, settings)


MODELS: dict[str, type[Model]] = {
    kind.name: kind for kind in (MAML, FOMAML, ANIL, CAVIA, MetaSGD, Reptile, ProMP, PPOMAML, EMAML, RL2, VariBAD)
}
"""Every model class by its method's name."""
