"""What an HMM looks like from inside: how even its rows are, how its probabilities spread, which states it uses.

The entropy of a row is `-sum_v p(v) log p(v)` in nats, of the row divided by its sum. A compressed matrix is read as it
is stored: the entries that equal their row's background are counted, never written out.
"""

from __future__ import annotations

from typing import Annotated, NamedTuple

import torch
from torch import Tensor

from ctrlg.arguments import Between, Natural, Positive, checked
from ctrlg.hmm import HMM, Parameters
from ctrlg.matrices import CompressedMatrix, StochasticMatrix
from ctrlg.quantization import QuantizedHMM

BINS_PER_DECADE = 4
LOWEST_DECADE = -16
MOST_TOKENS = 100_000  # of a text whose states are counted, one step of the chain each
_BLOCK_ENTRIES = 2**22  # of a dense matrix, looked at at a time: 32 MB of float64


class Histogram(NamedTuple):
    """The entries of a matrix by the logarithm of their probability.

    Attributes:
        edges: log10 of the bounds of the n bins, ascending, the last 0, float64 [n + 1]; the lowest bin holds whatever
            is smaller, too.
        entries: how many lie in each, int64 [n].
        mass: sum of their probabilities, float64 [n]; all together H.
        zeros: entries that are 0, in none of the bins.
    """

    edges: Tensor
    entries: Tensor
    mass: Tensor
    zeros: int

    def share_below(self, log10_probability: float) -> tuple[float, float]:
        """The share of entries, zeros among them, and of mass in the bins up to a bound.

        Args:
            log10_probability: the bound.

        Returns:
            Share of entries and share of mass, both in [0, 1].
        """
        below = self.edges[1:] <= log10_probability + 1e-9
        entries = int(self.entries[below].sum()) + self.zeros
        total = int(self.entries.sum()) + self.zeros
        return entries / total, float(self.mass[below].sum() / self.mass.sum())


class MatrixInspection(NamedTuple):
    """A row-stochastic matrix [H, N].

    Attributes:
        shape: (H, N).
        layout: "float", "sparse" or "dense" (codes).
        nbytes: in memory.
        kept: entries with a value of their own, that is, other than 0 and than the background of a compressed row.
        background_mass: share of the mass, mean over rows, in entries that are not kept.
        entropy: of each row, nats, float64 [H], in [0, log N].
        row_sum_error: the largest distance of a row's sum from 1.
        histogram: of all H * N entries.
    """

    shape: tuple[int, int]
    layout: str
    nbytes: int
    kept: int
    background_mass: float
    entropy: Tensor
    row_sum_error: float
    histogram: Histogram

    @property
    def density(self) -> float:
        """The share of entries that are kept, in [0, 1]."""
        return self.kept / (self.shape[0] * self.shape[1])


class EndState(NamedTuple):
    """The state that emits the end-of-text token most surely, with half of its mass or more.

    Attributes:
        state: its number.
        emission: p(end of text | state).
        stays: p(state | state).
        occupancy: share of time in it, see `occupancy`.
    """

    state: int
    emission: float
    stays: float
    occupancy: float


class StateTokens(NamedTuple):
    """A state and its likeliest tokens.

    Attributes:
        state: its number.
        occupancy: how often it is visited.
        tokens: the likeliest, best first.
        probabilities: of these tokens.
    """

    state: int
    occupancy: float
    tokens: tuple[int, ...]
    probabilities: tuple[float, ...]


class Inspection(NamedTuple):
    """An HMM of H states over V tokens.

    Attributes:
        hidden_states: H.
        vocab_size: V.
        eos_token_id: the token that ends a text.
        fingerprint: of the vocabulary, None where unknown.
        method: of the compression; "float32" without one.
        bits: of the compression; 32 without one.
        memory_bytes: while it runs.
        float_bytes: of the same HMM in float32.
        transition: its matrix [H, H].
        emission: its matrix [H, V].
        tokens: how many tokens `occupancy` averages over.
        occupancy: share of time in each state, float64 [H], sums to 1.
        end_state: None where no state is one.
        most_used: the states visited most, in that order, the end-of-text state left out.
    """

    hidden_states: int
    vocab_size: int
    eos_token_id: int
    fingerprint: str | None
    method: str
    bits: int
    memory_bytes: int
    float_bytes: int
    transition: MatrixInspection
    emission: MatrixInspection
    tokens: int
    occupancy: Tensor
    end_state: EndState | None
    most_used: list[StateTokens]

    @property
    def text_occupancy(self) -> Tensor:
        """Share of the time in each state before the end of text, float64 [H]; sums to 1, or is 0 where there is no
        other state than that of the end."""
        used = self.occupancy.clone()
        if self.end_state is not None:
            used[self.end_state.state] = 0
        return used / used.sum() if float(used.sum()) > 0 else used

    @property
    def effective_states(self) -> float:
        """The number of states, equally used, with the entropy of `text_occupancy`: its exponential, in [1, H]."""
        return float(torch.special.entr(self.text_occupancy).sum().exp())


@checked
def inspect_hmm(
    hmm: HMM | QuantizedHMM,
    tokens: Annotated[int, Between(1, MOST_TOKENS)] = 32,
    states: Natural = 8,
    words: Positive = 6,
) -> Inspection:
    """Look at an HMM, float or compressed; nothing dense is made of a compressed one.

    Args:
        hmm: the model.
        tokens: length of the texts whose states are counted, end of text and what follows it included, >= 1.
        states: how many of the most used states to name, >= 0; all where there are fewer.
        words: how many tokens of each, >= 1; all where there are fewer.

    Raises:
        ArgumentError: other numbers.
    """
    parameters = hmm.inference_parameters
    used = occupancy(parameters, tokens)
    end_state = _end_state(parameters, hmm.eos_token_id, used)
    compressed = isinstance(hmm, QuantizedHMM)
    return Inspection(
        hidden_states=hmm.hidden_states,
        vocab_size=hmm.vocab_size,
        eos_token_id=hmm.eos_token_id,
        fingerprint=hmm.fingerprint,
        method=hmm.method if compressed else "float32",
        bits=hmm.bits if compressed else 32,
        memory_bytes=hmm.nbytes,
        float_bytes=4 * hmm.hidden_states * (hmm.hidden_states + hmm.vocab_size + 1),
        transition=inspect_matrix(parameters.transition),
        emission=inspect_matrix(parameters.emission),
        tokens=tokens,
        occupancy=used.cpu(),
        end_state=end_state,
        most_used=_most_used(parameters.emission, used, end_state, states, words),
    )


def inspect_matrix(matrix: StochasticMatrix) -> MatrixInspection:
    """Entropies, density and histogram of a matrix, a block at a time, or entry by entry where it stores few.

    Args:
        matrix: [H, N].
    """
    tally = _Tally(matrix)
    kept, background_mass = 0, 0.0
    if isinstance(matrix, CompressedMatrix):
        kept_of_row = _kept_of_row(matrix)
        kept = int(kept_of_row.sum())
        background_mass = float((matrix.background.double() * (matrix.shape[1] - kept_of_row)).mean())
    if isinstance(matrix, CompressedMatrix) and matrix.layout == "sparse":
        tally.add_stored(matrix)
    else:
        width = max(1, _BLOCK_ENTRIES // matrix.shape[0])
        for start in range(0, matrix.shape[1], width):
            tally.add_block(matrix.column_block(start, min(start + width, matrix.shape[1]), torch.float32))
    histogram = tally.histogram()
    return MatrixInspection(
        shape=matrix.shape,
        layout=matrix.layout if isinstance(matrix, CompressedMatrix) else "float",
        nbytes=matrix.nbytes,
        kept=kept if isinstance(matrix, CompressedMatrix) else int(histogram.entries.sum()),
        background_mass=background_mass,
        entropy=tally.entropy(),
        row_sum_error=float((tally.sums - 1).abs().max()),
        histogram=histogram,
    )


def occupancy(model: Parameters, tokens: int) -> Tensor:
    """Mean over t = 1..tokens of p(z_t = h).

    Args:
        model: the HMM.
        tokens: >= 1.

    Returns:
        float64 [H]; sums to 1.
    """
    predictive = model.initial[None]
    visits = torch.zeros(len(model.initial), dtype=torch.float64, device=model.initial.device)
    for t in range(tokens):
        if t:
            predictive = model.transition.left(predictive)
            predictive = predictive / predictive.sum()  # what rounding does to the sum must not pile up
        visits += predictive[0]
    return visits / visits.sum()


class _Tally:
    """Sums over the entries of a matrix [H, N] that came so far."""

    def __init__(self, matrix: StochasticMatrix) -> None:
        states, device = matrix.shape[0], matrix.device
        self.sums = torch.zeros(states, dtype=torch.float64, device=device)
        self._p_log_p = torch.zeros_like(self.sums)
        bins = -LOWEST_DECADE * BINS_PER_DECADE
        self._mass = torch.zeros(bins, dtype=torch.float64, device=device)
        self._entries = torch.zeros(bins, dtype=torch.int64, device=device)
        self._zeros = 0

    def add_block(self, block: Tensor) -> None:
        """Some columns, [H, n]."""
        values = block.double()
        self.sums += values.sum(1)
        self._p_log_p += torch.special.xlogy(values, values).sum(1)
        self._count(values.flatten(), None)

    def add_stored(self, matrix: CompressedMatrix) -> None:
        """All of a sparse matrix: what is stored, and the background as often as it stands in each row."""
        rows = matrix.row_of_entry.long()
        scale, background = matrix.scale.double(), matrix.background.double()
        stored = (scale[rows] * matrix.codebook.double()[matrix.codes.int()] + background[rows]).clamp_min_(0)
        others = matrix.shape[1] - torch.bincount(rows, minlength=matrix.shape[0])
        self.sums.index_add_(0, rows, stored).add_(others * background)
        self._p_log_p.index_add_(0, rows, torch.special.xlogy(stored, stored))
        self._p_log_p += others * torch.special.xlogy(background, background)
        self._count(stored, None)
        self._count(background, others)

    def entropy(self) -> Tensor:
        """Of each row, nats, float64 [H]; rounding may not push it below 0."""
        return (self.sums.log() - self._p_log_p / self.sums).clamp_min(0).cpu()

    def histogram(self) -> Histogram:
        edges = LOWEST_DECADE + torch.arange(len(self._mass) + 1, dtype=torch.float64) / BINS_PER_DECADE
        return Histogram(edges, self._entries.cpu(), self._mass.cpu(), self._zeros)

    def _count(self, values: Tensor, times: Tensor | None) -> None:
        """Sort values [n], each taken `times` [n] (once where None), into bins."""
        positive = values > 0
        times = torch.ones_like(values, dtype=torch.int64) if times is None else times
        self._zeros += int(times[~positive].sum())
        values, times = values[positive], times[positive]
        place = ((values.log10() - LOWEST_DECADE) * BINS_PER_DECADE).floor_().long().clamp_(0, len(self._mass) - 1)
        self._entries.index_add_(0, place, times)
        self._mass.index_add_(0, place, values * times)


def _kept_of_row(matrix: CompressedMatrix) -> Tensor:
    """Entries of each row whose code is not that of the background, int64 [H]."""
    if matrix.layout == "sparse":
        own = matrix.codebook[matrix.codes.int()] != 0
        return torch.bincount(matrix.row_of_entry.long()[own], minlength=matrix.shape[0])
    is_own = matrix.codebook != 0
    return torch.stack([is_own[row.int()].sum() for row in matrix.codes])


def _end_state(model: Parameters, eos_token_id: int, used: Tensor) -> EndState | None:
    emitted = model.emission.columns(torch.tensor([eos_token_id], device=model.emission.device))[0]
    state = int(emitted.argmax())
    if float(emitted[state]) < 0.5:
        return None
    stays = model.transition.rows(torch.tensor([state], device=model.transition.device))[0, state]
    return EndState(state, float(emitted[state]), float(stays), float(used[state]))


def _most_used(
    emission: StochasticMatrix, used: Tensor, end_state: EndState | None, states: int, words: int
) -> list[StateTokens]:
    order = used.sort(descending=True, stable=True).indices.tolist()
    chosen = [state for state in order if end_state is None or state != end_state.state][:states]
    if not chosen:
        return []
    best = emission.rows(torch.tensor(chosen, device=emission.device)).topk(min(words, emission.shape[1]))
    return [
        StateTokens(state, float(used[state]), tuple(tokens), tuple(probabilities))
        for state, tokens, probabilities in zip(chosen, best.indices.tolist(), best.values.tolist(), strict=True)
    ]
