"""A constraint as a potential of genlm-control, to be multiplied with others and sampled by sequential Monte Carlo.

    llm = PromptedLLM.from_name("path/of/model")
    potential = ConstraintPotential(llm.vocab, guiding, Request(Keywords(["dog"]), suffix="."))
    sampler = direct_token_sampler(llm)
    texts = await sampler.smc(n_particles=10, max_tokens=40, critic=potential)

`prefix` is log p(constraint | tokens so far) under the HMM: how promising a particle is. `complete` is 0 for a whole
text (content and suffix) that keeps the constraint, and -inf for any other.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import numpy as np
from genlm.control import Potential  # pyright: ignore[reportMissingImports]

from ctrlg.decoding.cursors import Cursor, advance_all
from ctrlg.engines.requests import Guiding, Request
from ctrlg.errors import VocabularyError

KEPT = 512
"""Contexts whose cursors stay; of as many, the scores of all tokens would take 100 MB."""

_KEPT_SCORES = 64


class ConstraintPotential(Potential):
    """log p(constraint | context), and its value after each token.

    Args:
        vocabulary: of the language model's potential: tokens with a `token_id`, the end-of-text token not among them.
        guiding: of the same model and tokenizer.
        request: what a text is to keep.

    Raises:
        CtrlGError: as `Guiding.cursor`.
        VocabularyError: tokens without a `token_id`.
    """

    def __init__(self, vocabulary: Sequence[Any], guiding: Guiding, request: Request) -> None:
        tokens = list(vocabulary)
        if not all(hasattr(token, "token_id") for token in tokens):
            raise VocabularyError("the tokens have no token_id", hint="pass the vocab of a PromptedLLM")
        super().__init__(tokens)
        self._guiding = guiding
        start = guiding.cursor(request)
        predictive = start.here.predictive
        guide = start.guide
        self._first = 0.0 if predictive is None else guide.log_probability(predictive, guide.token_ranges[0])
        self._end = guide.eos_token_id
        self._ids = np.array([*(token.token_id for token in tokens), self._end], dtype=np.int64)
        self._cursors: OrderedDict[tuple[int, ...], Cursor] = OrderedDict([((), start)])
        self._scores: OrderedDict[tuple[int, ...], np.ndarray] = OrderedDict()

    async def complete(self, context: Sequence[Any]) -> float:
        """0 where the tokens are a whole text that keeps the constraint, -inf elsewhere.

        Args:
            context: tokens, without the end of text.
        """
        ids = _ids_of(context)
        (cursor,) = self._at([ids])
        ended = cursor.copy()
        ended.advance([self._end])
        return 0.0 if ended.finished else -np.inf

    async def prefix(self, context: Sequence[Any]) -> float:
        """log p(constraint | context), in nats; without an HMM 0 where it can be kept.

        Args:
            context: tokens.
        """
        return float((await self.batch_prefix([context]))[0])

    async def batch_prefix(self, contexts: Sequence[Sequence[Any]]) -> np.ndarray:
        """`prefix` of several, in one pass over the HMM's emission.

        Args:
            contexts: lists of tokens.

        Returns:
            float64 [contexts].
        """
        ids = [_ids_of(context) for context in contexts]
        before = dict(zip(parents := [one[:-1] for one in ids if one], self._scored(parents), strict=True))
        return np.array([before[one[:-1]][one[-1]] if one else self._first for one in ids])

    async def logw_next(self, context: Sequence[Any]) -> Any:
        """How `prefix` changes with each next token, and at the end of the text.

        Args:
            context: tokens, with a prefix weight above -inf.

        Raises:
            ValueError: the constraint cannot be kept any more.
        """
        return self.make_lazy_weights((await self._next([context]))[0])

    async def batch_logw_next(self, contexts: Sequence[Sequence[Any]]) -> Any:
        """`logw_next` of several, in one pass over the HMM's emission.

        Args:
            contexts: lists of tokens.
        """
        return self.make_lazy_weights(await self._next(contexts))

    async def _next(self, contexts: Sequence[Sequence[Any]]) -> np.ndarray:
        """float64 [contexts, V + 1]."""
        so_far = await self.batch_prefix(contexts)
        if np.isneginf(so_far).any():
            lost = contexts[int(np.isneginf(so_far).argmax())]
            raise ValueError(f"the constraint cannot be kept after {list(lost)!r}")
        scores = np.stack(self._scored([_ids_of(context) for context in contexts]))[:, self._ids]
        scores[:, -1] = [await self.complete(context) for context in contexts]
        return scores - so_far[:, None]

    def _scored(self, contexts: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
        """log p(constraint | context, token) for all token ids, float64 [V] each."""
        found = {ids: self._scores[ids] for ids in contexts if ids in self._scores}
        new = [ids for ids in dict.fromkeys(contexts) if ids not in found]
        if new:
            ratios = self._guiding.batch.log_ratios(self._at(new)).double().cpu().numpy()
            found.update(zip(new, ratios, strict=True))
        for ids in dict.fromkeys(contexts):
            self._scores[ids] = found[ids]
            self._scores.move_to_end(ids)
        while len(self._scores) > _KEPT_SCORES:
            self._scores.popitem(last=False)
        return [found[ids] for ids in contexts]

    def _at(self, contexts: Sequence[tuple[int, ...]]) -> list[Cursor]:
        """Cursors at the ends of different contexts, each one token from a known one where there is such."""
        cursors, behind = {}, []
        for ids in contexts:
            known = self._cursors.get(ids)
            if known is None:
                nearest = next(ids[:length] for length in range(len(ids) - 1, -1, -1) if ids[:length] in self._cursors)
                known = self._cursors[nearest].copy()
                behind.append((known, list(ids[len(nearest) :])))
            cursors[ids] = known
        while behind := [(cursor, rest) for cursor, rest in behind if rest]:
            advance_all([cursor for cursor, _ in behind], [rest.pop(0) for _, rest in behind])
        for ids, cursor in cursors.items():
            self._cursors[ids] = cursor
            self._cursors.move_to_end(ids)
        self._cursors.move_to_end(())
        while len(self._cursors) > KEPT:
            self._cursors.popitem(last=False)
        return [cursors[ids] for ids in contexts]


def _ids_of(context: Sequence[Any]) -> tuple[int, ...]:
    return tuple(int(token.token_id) for token in context)
