"""Look-ahead tables: how likely the constraint is kept, from every automaton state and hidden state, for every
number of tokens left.

With the horizon (least, most) of `ctrlg.look_ahead.reachability`, `B` is the probability that content tokens of
that number and then the suffix follow, with the HMM in state `h` about to emit and the automaton in state
`d`; `C` is `B` after one transition:

    B(least, most)[d, h] = [least == 0 and accepting[d]] S_0[h]
                         + [most > 0] sum over edges (d -> d') of mass[d -> d', h] C(next)[d', h]
    C(least, most)[d, h] = sum_h' transition[h, h'] B(least, most)[d, h']

The recursion runs over horizons, so lengths are summed as it goes and no table per length is kept. Rows exist
only for live states that some content reaches. Where all tables would take too much memory, every sqrt(n)-th
stays and the others are computed again in stretches.
"""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ctrlg.devices import lacking_memory
from ctrlg.errors import BudgetError
from ctrlg.look_ahead.content import ContentAutomaton, live_edges
from ctrlg.look_ahead.edges import add_edges_
from ctrlg.look_ahead.model import HiddenMarkovModel
from ctrlg.look_ahead.reachability import Horizon, Reachability
from ctrlg.look_ahead.scaled import ScaledRows, rescale_
from ctrlg.look_ahead.suffix import SuffixProbabilities

TABLE_BYTES = 1 << 30  # memory for look-ahead tables before only checkpoints are kept


class StateTable(NamedTuple):
    """C of one horizon.

    Attributes:
        row_of: int32 [S], the row of a state or -1.
        rows: float32 [n, H] with their scales.
    """

    row_of: np.ndarray
    rows: ScaledRows


class LookAhead:
    """C for every horizon, all in memory or from checkpoints.

    Args:
        hmm: the model.
        automaton: the content's.
        suffix: what the suffix contributes.
        reachability: of the same automaton.
        table_bytes: memory for tables. Where they do not fit, checkpoints and one stretch between two of them are kept
            all the same.

    Raises:
        BudgetError: not even these fit into the memory that is free.
    """

    def __init__(
        self,
        hmm: HiddenMarkovModel,
        automaton: ContentAutomaton,
        suffix: SuffixProbabilities,
        reachability: Reachability,
        table_bytes: int = TABLE_BYTES,
    ) -> None:
        self._automaton = automaton
        self._transition = hmm.transition
        self._suffix = suffix
        self._visited = reachability.visited
        self._masses = _set_masses(hmm, automaton)
        # A table is read for the token that comes next, so the longest horizon of each range needs none of its own.
        # Fewest tokens first: the order in which they are computed.
        self._horizons = sorted(
            {horizon.next() for horizon in self._visited if horizon.most > 0},
            key=lambda horizon: horizon.most,
        )
        sizes = {horizon: 4 * hmm.hidden_states * int(self._visited[horizon].sum()) for horizon in self._horizons}
        self._stride = 1
        if sum(sizes.values()) > table_bytes:
            # Every sqrt(n)-th of n tables stays, and one stretch of sqrt(n) between two of them: 2 sqrt(n) in memory
            # instead of n, each computed twice when the text is written once from start to end.
            self._stride = math.isqrt(max(horizon.most for horizon in self._horizons)) + 1
        self._kept: dict[Horizon, StateTable] = {}
        self._stretch: OrderedDict[Horizon, StateTable] = OrderedDict()
        self._recomputing = threading.Lock()
        checkpoints = sum(size for horizon, size in sizes.items() if self._is_checkpoint(horizon))
        self._stretch_bytes = max(0, table_bytes - checkpoints)
        # What cannot be done without, more than table_bytes or not: checkpoints and one stretch of largest tables.
        least = checkpoints + (0 if self._stride == 1 else self._stride * max(sizes.values()))
        if least > table_bytes and (reason := lacking_memory(least, self._masses.device)):
            raise BudgetError(
                f"look-ahead tables of {automaton.num_states:,} states for {self._horizons[-1].most + 1:,} tokens "
                f"do not fit into memory: {reason}",
                hint="lower max_new_tokens, make the constraint simpler, or use an HMM of fewer hidden states",
            )
        self._fill()

    @property
    def nbytes(self) -> int:
        """Bytes of the tables and the masses that are in memory now."""
        with self._recomputing:
            tables = [*self._kept.values(), *self._stretch.values()]
        return sum(_table_bytes(table) for table in tables) + self._masses.numel() * self._masses.element_size()

    def table(self, horizon: Horizon) -> StateTable:
        """C of a horizon that some content leads to; computed again where it was not kept."""
        if horizon in self._kept:
            return self._kept[horizon]
        with self._recomputing:  # several processors may share the tables, each in a thread of its own
            if horizon not in self._stretch:
                self._recompute(horizon)
            self._stretch.move_to_end(horizon)
            return self._stretch[horizon]

    def value(self, horizon: Horizon, states: np.ndarray) -> ScaledRows:
        """B of live states, int [n] -> scaled rows [n, H]."""
        later = self.table(horizon.next()) if horizon.most > 0 else None
        return self._value(horizon, states, later)

    def _is_checkpoint(self, horizon: Horizon) -> bool:
        return horizon.most % self._stride == 0

    def _fill(self) -> None:
        """Compute every table, fewest tokens left first, and keep the checkpoints."""
        latest: dict[Horizon, StateTable] = {}
        most = 0
        for horizon in self._horizons:
            if horizon.most != most:
                # Only tables one token shorter are read from here on; others that are no checkpoints can go.
                latest = {at: table for at, table in latest.items() if at.most == horizon.most - 1}
                most = horizon.most
            latest[horizon] = self._table(horizon, latest.get(horizon.next()) if horizon.most > 0 else None)
            if self._is_checkpoint(horizon):
                self._kept[horizon] = latest[horizon]

    def _recompute(self, horizon: Horizon) -> None:
        """Compute the tables from the checkpoint below up to `horizon`; those used longest ago make room."""
        missing = []
        while horizon not in self._kept and horizon not in self._stretch:
            missing.append(horizon)
            horizon = horizon.next()
        table = self._kept[horizon] if horizon in self._kept else self._stretch[horizon]
        # A stretch is kept whole even where it is larger than the room: the next tokens need the rest of it.
        room = self._stretch_bytes - sum(self._bytes_of(horizon) for horizon in missing)
        while self._stretch and sum(map(_table_bytes, self._stretch.values())) > room:
            self._stretch.popitem(last=False)
        for horizon in reversed(missing):
            table = self._table(horizon, table)
            self._stretch[horizon] = table

    def _bytes_of(self, horizon: Horizon) -> int:
        return 4 * self._masses.shape[1] * int(self._visited[horizon].sum())

    def _table(self, horizon: Horizon, later: StateTable | None) -> StateTable:
        states = np.flatnonzero(self._visited[horizon])
        row_of = np.full(self._automaton.num_states, -1, dtype=np.int32)
        row_of[states] = np.arange(len(states), dtype=np.int32)
        # B, then one transition, for all live and visited states in one product [n, H] x [H, H].
        value = self._value(horizon, states, later)
        return StateTable(row_of, rescale_(self._transition.right(value.values), value.log_scale))

    def _value(self, horizon: Horizon, states: np.ndarray, later: StateTable | None) -> ScaledRows:
        """B of `states` from C of the next horizon; `later` is None where no content token may follow."""
        ends = self._automaton.accepting[states] if horizon.least == 0 else np.zeros(len(states), dtype=bool)
        # B[d] is a sum of terms with scales of their own: the suffix, and C of every successor. The largest of them
        # becomes the scale of the row, so weights are at most 1 and no term overflows.
        scale = np.where(ends, self._suffix.whole.log_scale, -np.inf)
        if later is None:
            later = StateTable(np.full(self._automaton.num_states, -1), ScaledRows(self._masses[:0], np.empty(0)))
        edges = live_edges(self._automaton, states, later.row_of)
        log_scale = later.rows.log_scale[edges.target]
        np.maximum.at(scale, edges.source, log_scale)
        base = np.where(np.isfinite(scale), scale, 0.0)
        out = torch.zeros(len(states), self._masses.shape[1], dtype=torch.float32, device=self._masses.device)
        if ends.any():
            weight = torch.from_numpy(np.exp(self._suffix.whole.log_scale - base[ends])).to(out)
            # [least == 0 and accepting[d]] S_0[h]
            out[torch.from_numpy(np.flatnonzero(ends)).to(out.device)] = weight[:, None] * self._suffix.whole.values
        # + sum over edges (d -> d') of mass[d -> d', h] C(next)[d', h]
        weight = np.exp(log_scale - base[edges.source]).astype(np.float32)
        add_edges_(out, edges.start, edges.target, weight, edges.mass, self._masses, later.rows.values)
        return ScaledRows(out, scale)


def _set_masses(hmm: HiddenMarkovModel, automaton: ContentAutomaton) -> Tensor:
    """Emission mass of every set of classes from every hidden state, float32 [M, H]."""
    device = hmm.initial.device
    class_of = torch.from_numpy(automaton.class_of.astype(np.int64)).to(device)
    # Masses of single classes, [K + 1, H], the last of which (end-of-text) is never content; then their sums over the
    # sets, one product [M, K] x [K, H].
    masses = hmm.emission.class_sums(class_of, automaton.num_classes + 1)[: automaton.num_classes].float()
    return torch.from_numpy(automaton.class_sets).to(masses) @ masses


def _table_bytes(table: StateTable) -> int:
    return table.rows.values.numel() * table.rows.values.element_size()
