"""The one interface of a row-stochastic matrix `M` [H, N], and what every storage gets for free.

A storage says how to decode a block of columns, `column_block`; every operation then follows by decoding and
multiplying block after block (`ctrlg.kernels.reference`). A storage with a faster way overrides the operation and
keeps its meaning. Operations check shapes and index ranges before any kernel runs.
"""

from __future__ import annotations

import abc

import torch
from torch import Tensor

from ctrlg.arguments import refused
from ctrlg.devices import without_autocast
from ctrlg.errors import ArgumentError, VocabularyError
from ctrlg.kernels import reference
from ctrlg.kernels.scoring import ScoringStep
from ctrlg.kernels.token_classes import TokenClasses

MISSING = -1
"""The id of a missing token in `columns`, and of a dead next state in `row_of`."""


class StochasticMatrix(abc.ABC):
    """`M` [H, N], entries >= 0, every row sums to 1. Floats come and go as tensors on `device`."""

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, int]:
        """(H, N)."""

    @property
    @abc.abstractmethod
    def nbytes(self) -> int:
        """Bytes of memory held: every tensor of the storage, indices included."""

    @property
    @abc.abstractmethod
    def device(self) -> torch.device:
        """Where the storage lives and inputs are expected."""

    @abc.abstractmethod
    def to(self, device: torch.device | str) -> StochasticMatrix:
        """The same matrix on another device."""

    @abc.abstractmethod
    def column_block(self, start: int, stop: int, dtype: torch.dtype) -> Tensor:
        """`M[:, start:stop]`, decoded.

        Args:
            start: the first column, >= 0.
            stop: the column behind the last, start <= stop <= N.
            dtype: of the result.

        Returns:
            [H, stop - start].
        """

    def left(self, x: Tensor) -> Tensor:
        """`x @ M`: predictive states, token marginals.

        Args:
            x: [B, H].

        Returns:
            [B, N], of the type of x.

        Raises:
            ArgumentError: another shape.
        """
        self._require("x", x, (None, self.shape[0]))
        return reference.left(self, x)

    def right(self, y: Tensor) -> Tensor:
        """`y @ M.T`: look-ahead tables.

        Args:
            y: [S, N].

        Returns:
            [S, H], of the type of y.

        Raises:
            ArgumentError: another shape.
        """
        self._require("y", y, (None, self.shape[1]))
        return reference.right(self, y)

    def columns(self, ids: Tensor) -> Tensor:
        """`M[:, ids].T`: the probabilities of some tokens in every state.

        Args:
            ids: int64 [n]; -1 (a missing token) gives ones.

        Returns:
            float32 [n, H].

        Raises:
            VocabularyError: any other id outside [0, N).
        """
        self._require_ids(ids)
        return self.trusted_columns(ids)

    def trusted_columns(self, ids: Tensor) -> Tensor:
        """`columns` of ids that are known to be right: on a GPU, to check them is to wait for the device.

        Args:
            ids: int64 [n] in [-1, N).

        Returns:
            float32 [n, H].
        """
        return reference.columns(self, ids)

    @without_autocast()
    def class_sums(self, class_of: Tensor, num_classes: int) -> Tensor:
        """Mass of every class of columns: `class_sums(c, K)[k, h] = sum of M[h, v] over v with c[v] == k`.

        Args:
            class_of: int [N] in [0, num_classes).
            num_classes: K.

        Returns:
            float32 [K, H].

        Raises:
            ArgumentError: a class out of range.
        """
        self._require_classes(class_of, num_classes)
        return reference.class_sums(self, class_of, num_classes)

    @without_autocast()
    def scores(self, step: ScoringStep) -> Tensor:
        """Next-token scores: the log of a ratio of two mixtures of rows.

            log(weights[row_of[b, class_of[v]]] @ M[:, v]) - log(predictive[b] @ M[:, v])

        Args:
            step: see `ScoringStep`.

        Returns:
            [B, N], in nats; -inf where row_of is -1 or the numerator or the denominator is 0; never NaN, never +inf.

        Raises:
            ArgumentError: shapes or ranges do not fit.
        """
        self._require_scores(step)
        return self._scores(step)

    def _scores(self, step: ScoringStep) -> Tensor:
        """`scores` of arguments that fit."""
        return reference.scores(self, step)

    @without_autocast()
    def add_scores(
        self,
        log_probs: Tensor,
        step: ScoringStep,
        out: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """`log_probs + scores(...)` and its log-sum-exp over each row, in one pass.

        Args:
            log_probs: [B, N], of the language model; unnormalized logits are fine, -inf is fine, +inf and NaN are not.
            step: as for `scores`.
            out: where the sums go, [B, N] of predictive's dtype; may be `log_probs` itself. A new tensor where None.

        Returns:
            The sums [B, N] and the log-sum-exp of each row [B], -inf for a row without any live token.

        Raises:
            ArgumentError: as `scores`.
        """
        self._require_add_scores(log_probs, step, out)
        scores = self._scores(step)
        joined = torch.add(log_probs.to(scores.dtype), scores, out=out)
        return joined, torch.logsumexp(joined, dim=-1)

    @property
    def pairs_in_one_pass(self) -> bool:
        """Whether `add_paired_scores` has a kernel here; decoding stays on the device then."""
        return False

    def add_paired_scores(
        self, logits: Tensor, predictive: Tensor, rows: Tensor, row_of: Tensor, offset: Tensor, classes: TokenClasses
    ) -> tuple[Tensor, Tensor]:
        """`add_scores` whose weights are `predictive[b] * rows[r]` with `r = row_of[b, k]`, plus `offset[b, k]`.

        No weights are built for each sequence and next state, nothing is checked, and nothing waits for the device.

        Args:
            logits: [B, N], of the language model; NaN counts as -inf, +inf as LARGEST_LOGIT.
            predictive: float32 [B, H].
            rows: float32 [n, H], of look-ahead tables, the largest entry of each about 1.
            row_of: int [B, K] in [-1, n), -1 is dead.
            offset: float32 [B, K].
            classes: of all N tokens.

        Returns:
            The sums float32 [B, N], -inf as in `scores`, and the log-sum-exp of each row [B].
        """
        return reference.add_paired_scores(self, logits, predictive, rows, row_of, offset, classes.class_of)

    def rows(self, ids: Tensor) -> Tensor:
        """`M[ids]`, for inspection and sampling.

        Args:
            ids: int64 [n] in [0, H).

        Returns:
            float32 [n, N].

        Raises:
            ArgumentError: an id out of range.
        """
        self._require_rows(ids)
        one_hot = torch.zeros(len(ids), self.shape[0], dtype=torch.float32, device=self.device)
        return self.left(one_hot.scatter_(1, ids.long()[:, None], 1.0))

    def to_dense(self) -> Tensor:
        """All of `M`, float32 [H, N]. Memory H * N * 4 bytes: for tests and small matrices."""
        return self.column_block(0, self.shape[1], torch.float32)

    def _require(self, name: str, tensor: Tensor, shape: tuple[int | None, ...]) -> None:
        if not isinstance(tensor, Tensor):
            raise refused(name, tensor, "a Tensor")
        given = tuple(tensor.shape)
        if len(given) != len(shape) or any(b is not None and a != b for a, b in zip(given, shape, strict=True)):
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise ArgumentError(
                f"{name} has shape {list(given)}, expected [{wanted}]",
                hint=f"the matrix has shape {list(self.shape)}",
            )

    def _require_rows(self, ids: Tensor) -> None:
        self._require("ids", ids, (None,))
        if ids.numel() and not 0 <= int(ids.min()) <= int(ids.max()) < self.shape[0]:
            raise ArgumentError(f"row ids reach from {int(ids.min())} to {int(ids.max())}, H is {self.shape[0]}")

    def _require_ids(self, ids: Tensor) -> None:
        self._require("ids", ids, (None,))
        if ids.numel() and not MISSING <= int(ids.min()) <= int(ids.max()) < self.shape[1]:
            raise VocabularyError(
                f"token ids reach from {int(ids.min())} to {int(ids.max())}, N is {self.shape[1]}",
                hint="ids lie in [0, N); -1 stands for a missing token",
            )

    def _require_classes(self, class_of: Tensor, num_classes: int) -> None:
        self._require("class_of", class_of, (self.shape[1],))
        if class_of.numel() and not 0 <= int(class_of.min()) <= int(class_of.max()) < num_classes:
            raise ArgumentError(
                f"classes reach from {int(class_of.min())} to {int(class_of.max())}, there are {num_classes}",
                hint="every class lies in [0, K)",
            )

    def _require_scores(self, step: ScoringStep) -> None:
        weights, predictive, row_of, class_of = step
        hidden_states = self.shape[0]
        self._require("weights", weights, (None, hidden_states))
        self._require("predictive", predictive, (None, hidden_states))
        self._require("row_of", row_of, (len(predictive), None))
        self._require_classes(class_of, row_of.shape[1])
        if row_of.numel() and not MISSING <= int(row_of.min()) <= int(row_of.max()) < len(weights):
            raise ArgumentError(
                f"row_of reaches from {int(row_of.min())} to {int(row_of.max())}, R is {len(weights)}",
                hint="-1 marks a dead next state, other values are rows of weights",
            )

    def _require_add_scores(
        self,
        log_probs: Tensor,
        step: ScoringStep,
        out: Tensor | None,
    ) -> None:
        self._require_scores(step)
        self._require("log_probs", log_probs, (len(step.predictive), self.shape[1]))
        if out is not None:
            self._require("out", out, tuple(log_probs.shape))
            if out.dtype != step.predictive.dtype:
                raise ArgumentError(f"out is {out.dtype}, predictive is {step.predictive.dtype}")
