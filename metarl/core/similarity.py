"""How alike two representations of the same examples are."""

from __future__ import annotations

import torch
from torch import Tensor

from metarl.errors import UserError


def linear_cka(x: Tensor, y: Tensor) -> float:
    """Return the linear centred kernel alignment, ‖Y'X‖² / (‖X'X‖ ‖Y'Y‖) (Kornblith et al. 2019, section 3).

    It lies between 0 and 1 and does not change under rotations and a common scaling of the features.

    Args:
        x: Features `[n, p]` of n examples.
        y: Features `[n, q]` of the same examples.

    Raises:
        UserError: If the numbers of examples differ, or are below 2.
    """
    x, y = _centred(x, y)
    product = _norm_of_product(x, y).square()
    size = _norm_of_product(x, x) * _norm_of_product(y, y)
    return float(product / size) if size > 0 else 1.0 if torch.equal(x, y) else 0.0


def canonical_correlations(x: Tensor, y: Tensor) -> Tensor:
    """Return the canonical correlations, largest first, `[min of the ranks]` (Hotelling 1936).

    They do not change under invertible linear maps of the features; directions without variance are left out.

    Raises:
        UserError: If the numbers of examples differ, or are below 2.
    """
    x, y = _centred(x, y)
    return torch.linalg.svdvals(_basis(x).mT @ _basis(y)).clamp(max=1.0)


def svcca(x: Tensor, y: Tensor) -> float:
    """Return the mean canonical correlation of the main directions (Raghu et al. 2017, section 2.1).

    Args:
        x: Features `[n, p]`.
        y: Features `[n, q]`.

    Raises:
        UserError: If the numbers of examples differ, or are below 2.
    """
    x, y = _centred(x, y)
    found = canonical_correlations(_main(x), _main(y))
    return float(found.mean()) if len(found) else 1.0 if torch.equal(x, y) else 0.0


def _centred(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    if len(x) != len(y) or len(x) < 2:
        raise UserError(f"similarity needs the same examples twice, at least 2; got {len(x)} and {len(y)}")
    return x - x.mean(0), y - y.mean(0)


def _norm_of_product(x: Tensor, y: Tensor) -> Tensor:
    """Return ‖Y'X‖ by whichever of the two ways is smaller: tr(X X' Y Y') = ‖Y'X‖²."""
    if x.shape[1] * y.shape[1] <= len(x) ** 2:
        return torch.linalg.norm(y.mT @ x)
    return ((x @ x.mT) * (y @ y.mT)).sum().clamp(min=0).sqrt()


def _basis(x: Tensor) -> Tensor:
    """Return an orthonormal basis of the columns, `[n, rank]`."""
    u, s, _ = torch.linalg.svd(x, full_matrices=False)
    floor = torch.finfo(x.dtype).eps * max(x.shape) * s.max().clamp(min=1e-30) if len(s) else 0.0
    return u[:, s > floor]


def _main(x: Tensor) -> Tensor:
    """Return the projections on the first principal directions, which explain 99 % of the variance."""
    u, s, _ = torch.linalg.svd(x, full_matrices=False)
    explained = s.square().cumsum(0) / s.square().sum().clamp(min=1e-30)
    number = int((explained < 0.99).sum()) + 1 if s.any() else 0
    return u[:, :number] * s[:number]
