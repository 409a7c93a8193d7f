"""Numba code of soft emission counts: every sampled token is credited to the states that explain it.

A token's probabilities and its counts are read and written once a sample, and samples of one token at one place count
together. What is done is cut into `parts` by token, so that no two write the same counts and sums come in one order
however many there are. Arguments are not checked here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ctrlg.kernels.lanes import compiled, dot
from ctrlg.kernels.log_ratios import SMALLEST


@compiled
def credit_samples(
    by_token: Any, predictive: Any, samples: Any, counts: Any, logs: Any, least_log: float, part: int, parts: int
) -> None:
    """counts[v] += by_token[v] * predictive[t] / (K * p) for every sample v of every place t, p = by_token[v] @
    predictive[t]; logs[part] = sum of log p over this part's samples. A sample of a probability below the
    smallest normal float32 counts for nothing, its log is least_log.

    by_token, counts: float32 [V, H]; predictive: float32 [n, H]; samples: int32 [n, K], those of one token side
    by side (ascending, say); logs: float64 [parts]. All contiguous.
    """
    per_place = samples.shape[1]
    total = 0.0
    for t in range(len(samples)):
        states = predictive[t]
        first = 0
        while first < per_place:
            v = samples[t, first]
            last = first + 1
            # Equal samples lie side by side: one pass over H for all of them.
            while last < per_place and samples[t, last] == v:
                last += 1
            # A token belongs to one part: no two write the same row of counts, and its sums have the same order always.
            if v % parts == part:
                emission = by_token[v]
                probability = dot(states, emission)
                if probability >= SMALLEST:
                    # The posterior p(h | v) = predictive[h] * emission[h] / p shares out one count, a K-th
                    # for each sample.
                    weight = np.float32(last - first) / (np.float32(per_place) * probability)
                    row = counts[v]
                    for h in range(len(row)):
                        row[h] += weight * states[h] * emission[h]
                    total += (last - first) * np.log(probability)
                else:
                    total += (last - first) * least_log
            first = last
    logs[part] = total
