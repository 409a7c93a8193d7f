"""Look-ahead of a factored constraint: one table for the core beside each alternative, joined for each hidden state.

Given the hidden state, and that the core accepts, clauses are taken as independent of each other:

    p(all kept | z) ~ C_core[z] prod over clauses of p_clause[z]
    p_clause = C_i / C_core for one alternative i, 1 - prod_i (1 - C_i / C_core) for several

C_i is exact for the core and alternative i together. Of a nondeterministic alternative it is the expected number of
accepting runs: its probability where there is never more than one, an upper bound otherwise, and so at most C_core.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ctrlg.automata.dfa import DFA
from ctrlg.look_ahead.content import ContentAutomaton, content_automaton
from ctrlg.look_ahead.model import HiddenMarkovModel
from ctrlg.look_ahead.reachability import Horizon, Reachability
from ctrlg.look_ahead.scaled import ScaledRows, rescale_
from ctrlg.look_ahead.suffix import SuffixProbabilities
from ctrlg.look_ahead.tables import LookAhead, StateTable
from ctrlg.parts.graph import Graph
from ctrlg.parts.states import JointStates

KEPT = 1.0  # the share of an alternative that accepts whatever follows

_HIGHEST = 700.0  # difference of scales, nats: float64 holds its exponential


class FactoredLookAhead:
    """How likely a factored constraint is kept from joint states.

    Args:
        hmm: the model.
        graph: of the constraint.
        states: numbers the joint states.
        suffix: what the suffix contributes.
        eos_token_id: the token that ends a text.
        token_ranges: least and most content tokens, one pair or several.
        table_bytes: memory for tables.

    Raises:
        BudgetError: the tables do not fit into memory.
    """

    def __init__(
        self,
        hmm: HiddenMarkovModel,
        graph: Graph,
        states: JointStates,
        suffix: SuffixProbabilities,
        eos_token_id: int,
        token_ranges: Sequence[tuple[int, int]],
        table_bytes: int,
    ) -> None:
        self._graph = graph
        self._states = states
        automaton = _over_nodes(graph, eos_token_id)
        starts = sorted({node for nodes in graph.starts for node in nodes})
        reachability = Reachability(automaton, token_ranges, starts)
        self._tables = LookAhead(hmm, automaton, suffix, reachability, table_bytes)

    @property
    def nbytes(self) -> int:
        """Bytes of the tables in memory."""
        return self._tables.nbytes

    def products(
        self, predictive: Tensor, sequences: NDArray[np.int64], states: NDArray[np.int64], horizon: Horizon
    ) -> tuple[Tensor, NDArray[np.float64]]:
        """What the HMM expects of joint states, times what each sequence expects of hidden states.

        Args:
            predictive: float32 [U, H].
            sequences: int64 [R]; a row of `predictive`.
            states: int64 [R]; a joint state after one more token.
            horizon: after that token.

        Returns:
            Rows float32 [R, H] and scale float64 [U]: the product is `rows[r] * exp(scale[sequences[r]])`; the scale is
            -inf where nothing of a sequence is above 0.
        """
        table = self._tables.table(horizon)
        core, factors, values = self._rows(self._states.tuples(states), table)
        products = factored_products(predictive, sequences, values, core, factors, self._graph.factored.clauses)
        height = products.log_scale + np.where(core >= 0, values.log_scale[core], -np.inf)
        scale = np.full(len(predictive), -np.inf)
        np.maximum.at(scale, sequences, height)
        base = np.where(np.isfinite(scale), scale, 0.0)[sequences]
        by = torch.from_numpy(np.exp(height - base)).to(products.values)
        return products.values.mul_(by[:, None]).float(), scale

    def value(self, predictive: Tensor, horizon: Horizon) -> float:
        """log p(constraint) before the first token, in nats; `predictive` is [1, H]."""
        starts = self._graph.starts
        nodes = np.array([node for some in starts for node in some], dtype=np.int64)
        found = self._tables.value(horizon, nodes)
        ends = np.cumsum([len(some) for some in starts])
        # The members of each start set add up.
        rows = _sums(
            found, [list(range(end - len(some), end)) for some, end in zip(starts, ends.tolist(), strict=True)]
        )
        factors = np.arange(1, len(starts), dtype=np.int64)[None]
        first = np.zeros(1, dtype=np.int64)
        clauses = self._graph.factored.clauses
        products = factored_products(predictive, first, rows, first, factors, clauses)
        mass = float(products.values.sum())
        return float(np.log(mass) + products.log_scale[0] + rows.log_scale[0]) if mass > 0 else -np.inf

    def _rows(
        self, tuples: NDArray[np.int32], table: StateTable
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], ScaledRows]:
        """Of each tuple the rows of core [R] and alternatives [R, P], -1 where there is none, and these rows."""
        node_of, row_of = self._graph.node_of, table.row_of
        core = row_of[tuples[:, 0]].astype(np.int64)
        factors = np.full((len(tuples), len(node_of)), -1, dtype=np.int64)
        sums: dict[tuple[int, ...], int] = {}
        for place, nodes in enumerate(node_of):
            own = tuples[:, 2 + place]
            if self._graph.several[place]:
                factors[:, place] = [
                    self._row(nodes[state, list(self._states.members(place, number))], table, sums)
                    for state, number in zip(tuples[:, 0].tolist(), own.tolist(), strict=True)
                ]
            else:
                factors[:, place] = row_of[nodes[tuples[:, 0], own]]
        if not sums:
            return core, factors, table.rows
        several = _sums(table.rows, [list(rows) for rows in sums])
        values = ScaledRows(
            torch.cat([table.rows.values, several.values]),
            np.concatenate([table.rows.log_scale, several.log_scale]),
        )
        return core, factors, values

    @staticmethod
    def _row(nodes: NDArray[np.int32], table: StateTable, sums: dict[tuple[int, ...], int]) -> int:
        """The row of a set of nodes: its only live one's, or that of a sum, which follow those of the table."""
        rows = tuple(sorted(row for row in table.row_of[nodes].tolist() if row >= 0))
        if len(rows) <= 1:
            return rows[0] if rows else -1
        return len(table.rows.values) + sums.setdefault(rows, len(sums))


def factored_products(
    predictive: Tensor,
    sequences: NDArray[np.int64],
    rows: ScaledRows,
    core: NDArray[np.int64],
    factors: NDArray[np.int64],
    clauses: Sequence[Sequence[int]],
) -> ScaledRows:
    """predictive * C_core * prod over clauses of their share, less the core's scale.

    Twenty clauses of e^-30 each are below the least float64, so rows are rescaled on the way.

    Args:
        predictive: float32 [U, H].
        sequences: int64 [R], into predictive.
        rows: float32 [n, H] with their scales.
        core: int64 [R]; a row, or -1 where nothing is left.
        factors: int64 [R, P]; the row of each alternative, or -1.
        clauses: the alternatives of each.

    Returns:
        Rows [R, H], their values float64.
    """
    if predictive.device.type != "cpu":
        return factored_products_in_torch(predictive, sequences, rows, core, factors, clauses)
    from ctrlg.kernels import threads
    from ctrlg.look_ahead import edge_loops

    factor = _factors(rows.log_scale, core, factors)
    order = np.array([place for clause in clauses for place in clause], dtype=np.int64)
    ends = np.cumsum([0, *(len(clause) for clause in clauses)]).astype(np.int64)
    products = torch.empty(len(sequences), predictive.shape[1], dtype=torch.float64)
    log_scale = np.empty(len(sequences))
    arrays = (predictive.numpy(), sequences, rows.values.numpy(), core, factors, factor, order, ends)
    threads.run(edge_loops.multiply_factors, products.numel() * (1 + len(order)), *arrays, products.numpy(), log_scale)
    return ScaledRows(products, log_scale)


def factored_products_in_torch(
    predictive: Tensor,
    sequences: NDArray[np.int64],
    rows: ScaledRows,
    core: NDArray[np.int64],
    factors: NDArray[np.int64],
    clauses: Sequence[Sequence[int]],
) -> ScaledRows:
    """`factored_products` on any device."""
    device = predictive.device
    factor = torch.from_numpy(_factors(rows.log_scale, core, factors)).to(device)
    there = torch.from_numpy(core >= 0).to(device)
    whole = rows.values[torch.from_numpy(core.clip(min=0)).to(device)].double() * there[:, None]
    inverse = torch.where(whole > 0, 1 / whole, 0.0)
    products = rescale_(predictive[torch.from_numpy(sequences).to(device)].double() * whole, np.zeros(len(sequences)))
    for clause in clauses:
        share = torch.zeros_like(whole)
        for place in clause:
            row = rows.values[torch.from_numpy(factors[:, place].clip(min=0)).to(device)].double()
            one = (row * inverse * factor[:, place, None]).clamp_(max=KEPT)
            share += one * (1 - share)
        products = rescale_(products.values * share, products.log_scale)
    return products


def _factors(log_scale: NDArray[np.float64], core: NDArray[np.int64], factors: NDArray[np.int64]) -> NDArray:
    """exp(scale of an alternative's row - that of the core's), float64 [R, P]; 0 where either is missing."""
    there = (factors >= 0) & (core >= 0)[:, None]
    lacking = ~np.isfinite(log_scale)
    finite = np.where(lacking, 0.0, log_scale)
    difference = np.where(there, finite[factors.clip(min=0)] - finite[core.clip(min=0)][:, None], 0.0)
    # A share is at most 1, so what is beyond is capped: an infinite factor times an entry of 0 would be no number.
    ratio = np.exp(np.minimum(difference, _HIGHEST))
    return np.where(there & ~lacking[factors.clip(min=0)], ratio, 0.0)


def _sums(rows: ScaledRows, members: Sequence[Sequence[int]]) -> ScaledRows:
    """The sum of some rows for each of several sets of them."""
    values = torch.zeros(len(members), rows.values.shape[1], dtype=torch.float32, device=rows.values.device)
    scale = np.zeros(len(members))
    for place, some in enumerate(members):
        scale[place] = rows.log_scale[some].max(initial=-np.inf)
        if np.isfinite(scale[place]):
            weight = torch.from_numpy(np.exp(rows.log_scale[some] - scale[place])).to(values)
            values[place] = weight @ rows.values[some]
    return rescale_(values, scale)


def _over_nodes(graph: Graph, eos_token_id: int) -> ContentAutomaton:
    """The graph as look-ahead walks it: edges into a node lead into those entered with it, too."""
    dfa = DFA(graph.factored.class_of, graph.delta, graph.starts[0][0], graph.accepting)
    base = content_automaton(dfa, eos_token_id)
    source = np.repeat(np.arange(base.num_states), np.diff(base.edge_start))
    target, sets = base.edge_target, base.edge_set
    for node, others in graph.entered_with.items():
        into = np.flatnonzero(base.edge_target == node)
        for other in others:
            source = np.append(source, source[into])
            target = np.append(target, np.full(len(into), other, target.dtype))
            sets = np.append(sets, base.edge_set[into])
    order = np.argsort(source, kind="stable")
    start = np.searchsorted(source[order], np.arange(base.num_states + 1))
    # No class takes a single edge here: decoding asks the joint states what a class leads to.
    no_edges = np.full_like(base.edge_of, -1)
    return replace(base, edge_start=start, edge_target=target[order], edge_set=sets[order], edge_of=no_edges)
