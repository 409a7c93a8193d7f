"""The positions of one text side by side, as if they were the sequences of one step.

What a position needs of the text before it is in `Sequences` and `Choices`; how they are joined with a language model
does not ask how long each is. So all positions of a text share one pass over the HMM's emission, which is most of what
they cost.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from ctrlg.decoding.choices import AllowedEndings, Choices
from ctrlg.decoding.sequences import Sequences


def side_by_side(steps: Sequence[Sequences], choices: Sequence[Choices]) -> tuple[Sequences, Choices]:
    """Sequences of several steps and their choices as one batch, in order; `step` is that of the last.

    Args:
        steps: at least one, each of whose sequences is a row of its own (`of_row` counts them).
        choices: of each step.
    """
    counts = np.cumsum([0, *(len(step.state) for step in steps)])
    predictive = [step.predictive for step in steps if step.predictive is not None]
    together = Sequences(
        of_row=np.arange(counts[-1]),
        step=steps[-1].step,
        label=np.concatenate([step.label for step in steps]),
        state=np.concatenate([step.state for step in steps]),
        endings=[endings for step in steps for endings in step.endings],
        over=np.concatenate([step.over for step in steps]),
        predictive=torch.cat(predictive) if predictive else None,
    )
    return together, _joined(choices, counts)


def _joined(choices: Sequence[Choices], counts: np.ndarray) -> Choices:
    """The choices of all; the first sequence of each has the number that `counts` says."""
    weights = [each.weights for each in choices if each.weights is not None]
    first_row = np.cumsum([0, *map(len, weights)]) if weights else np.zeros(len(choices), dtype=np.int64)
    rows = [
        np.where(each.row_of >= 0, each.row_of + first, each.row_of).astype(np.int32)
        for each, first in zip(choices, first_row, strict=False)
    ]
    endings = AllowedEndings(
        np.concatenate([each.endings.sequence + first for each, first in zip(choices, counts, strict=False)]),
        np.concatenate([each.endings.token for each in choices]),
        np.concatenate([each.endings.log_ratio for each in choices]),
    )
    scale = np.concatenate([each.log_scale for each in choices])
    return Choices(np.concatenate(rows), endings, torch.cat(weights) if weights else None, scale)
