"""`Generator`: a language model, its tokenizer and an HMM that write texts under one constraint after another."""

from __future__ import annotations

import inspect
import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from transformers import LogitsProcessorList

from ctrlg.arguments import (
    AboveZero,
    LanguageModel,
    LengthPenalty,
    Natural,
    Positive,
    Seed,
    Temperature,
    Tokenizer,
    checked,
)
from ctrlg.decoding.processor import check_soft_mask
from ctrlg.defaults import BEAMS, EXACT_STATES
from ctrlg.errors import ArgumentError
from ctrlg.generation.compiled import (
    CompiledConstraint,
    ConstraintLike,
    Place,
    checked_prompt,
    contents_of,
    logits_of,
    prefix_ids_of,
    suffix_ids_of,
    vocabulary_of,
)
from ctrlg.generation.limits import require_context, require_memory
from ctrlg.generation.options import KEEP_SCORES, checked_options
from ctrlg.generation.path_scores import PathScores
from ctrlg.generation.plain_model import plain_model
from ctrlg.generation.prepared import KEPT, PreparedConstraints
from ctrlg.generation.prompts import Prompt, prompt_ids, prompts_of
from ctrlg.generation.ranking import ScoredIds, score_generated_ids
from ctrlg.generation.results import GenerationResult, Timing
from ctrlg.generation.search import SearchSettings, search
from ctrlg.generation.streaming import pieces
from ctrlg.generation.tracing.origin import Origin, Weighing
from ctrlg.loading import load_pair
from ctrlg.look_ahead.model import HiddenMarkovModel

LENGTH_PENALTY = 0.5
"""Half way between likelihood, which likes short texts best, and the mean over tokens, which likes long ones best."""


class Generator:
    """Writes texts under constraints, and keeps what it has prepared for the last of them.

        generator = Generator.default()
        generator(Keywords(["dog"]), suffix=".")[0].text

    A second call with the same constraint, prefix, suffix and numbers of tokens needs no preparation. Threads may share
    a generator. The HMM may be changed between calls; what was prepared with it is forgotten then.

    Args:
        model: a causal language model of transformers; it is used in evaluation mode and is not changed.
        tokenizer: the model's tokenizer.
        hmm: HMM or QuantizedHMM distilled from the model; None for the mask alone.
        max_states: most states of one automaton for a whole constraint; one that needs more is kept in parts.
        eos_token_id: the token that ends a text; the HMM's where None, the tokenizer's without an HMM.
        kept: constraints that stay prepared, as far as their tables fit into 1 GiB together.

    Raises:
        ArgumentError: a model or tokenizer that is none, or a number out of range.
    """

    @checked
    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        hmm: HiddenMarkovModel | None = None,
        *,
        max_states: Positive = EXACT_STATES,
        eos_token_id: Natural | None = None,
        kept: Natural = KEPT,
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.hmm = hmm
        self.eos_token_id = eos_token_id
        self._prepared = PreparedConstraints(hmm, max_states, kept)

    @classmethod
    @checked
    def default(cls, name: Literal["default", "instruct"] = "default", device: str = "cpu") -> Generator:
        """A generator with an embedded pair of language model and HMM.

        Args:
            name: "default" writes captions, "instruct" answers prompts.
            device: where both halves run.

        Returns:
            The generator. The base model, about 93 MB, is fetched once.

        Raises:
            CheckpointError: the base model cannot be fetched.
        """
        return cls(*load_pair(name, device=device))

    def __call__(
        self, constraint: ConstraintLike, prompt: Prompt | None = None, n: int = 1, **settings: Any
    ) -> list[GenerationResult]:
        """Texts that keep a constraint, best first.

        Args:
            constraint: a Constraint about the whole text, or an automaton about the content's tokens.
            prompt: everything the language model reads first; by default end of text and the prefix.
            n: most texts to return.
            settings: those of `ctrlg.generate`, by name.

        Returns:
            At most n different texts.

        Raises:
            CtrlGError: as `ctrlg.generate`.
        """
        (results,) = self.batch([constraint], None if prompt is None else [prompt], n, **settings)
        return results

    def stream(self, constraint: ConstraintLike, prompt: Prompt | None = None, **settings: Any) -> Iterator[str]:
        """One text, piece by piece, as soon as each is decided: greedy, or sampled with `do_sample=True`.

            for piece in generator.stream(Keywords(["dog"]), suffix=".", do_sample=True):
                print(piece, end="", flush=True)

        A character of several tokens comes whole. Closing the iterator stops the model at its next token.

        Args:
            constraint: as in a call.
            prompt: as in a call.
            settings: those of `ctrlg.generate`, by name, except those of several texts.

        Returns:
            Pieces of the text of prefix, content and suffix, none of them empty.

        Raises:
            ArgumentError: at once for settings of several texts; all others, as `ctrlg.generate`, with the first piece.
        """
        for name in ("n", "num_return_sequences", "num_beams", "streamer", "stopping_criteria", "progress"):
            if name in settings:
                raise ArgumentError(
                    f"a stream takes no {name}", hint=f"leave out {name}: one text is shown as it grows"
                )
        prefix = settings.get("prefix", "")
        vocabulary = vocabulary_of(plain_model(self.model), self.tokenizer, self.hmm, self.eos_token_id)
        drops_space = prompt is None and not prefix and vocabulary.drops_first_space

        def write(**own: Any) -> None:
            self(constraint, prompt, num_beams=1, progress=False, **settings, **own)

        return pieces(write, vocabulary, prefix, drops_space)

    @checked
    def batch(
        self,
        constraints: Sequence[ConstraintLike],
        prompts: Sequence[Prompt] | Any | None = None,
        n: Positive = 1,
        *,
        prefix: str = "",
        suffix: str = "",
        min_new_tokens: Natural = 1,
        max_new_tokens: Natural = 32,
        num_beams: Positive | None = None,
        do_sample: bool = False,
        seed: Seed | None = None,
        temperature: Temperature = 1.0,
        progress: bool | None = None,
        soft_mask: bool = False,
        strength: AboveZero | None = None,
        length_penalty: LengthPenalty = LENGTH_PENALTY,
        **options: Any,
    ) -> list[list[GenerationResult]]:
        """Texts for each of several constraints, which are kept side by side in one search.

        Args:
            constraints: one for each list of texts.
            prompts: one for each, of any lengths, or all as one batch; by default end of text and the prefix.
            n: most texts to return for each.
            prefix: and all that follow are those of `ctrlg.generate`, the same for all.

        Returns:
            For each constraint at most n different texts, best first.

        Raises:
            CtrlGError: as `ctrlg.generate`.
        """
        asked = [None] * len(constraints) if prompts is None else prompts_of(prompts)
        if not constraints or len(asked) != len(constraints):
            raise ArgumentError(
                f"{len(constraints)} constraints, {len(asked)} prompts",
                hint="at least one constraint, and a prompt for each or none",
            )
        check_soft_mask(self.hmm, soft_mask)
        given = [prompt if prompt is None else prompt_ids(prompt, self.tokenizer) for prompt in asked]
        beams = _checked_beams(num_beams, do_sample, n)
        sampled = n * len(constraints) if do_sample else len(constraints)
        options = checked_options(options, inspect.signature(Generator.batch).parameters, sampled, beams)
        rows = max(beams, n)
        require_context(self.model, 1, max_new_tokens)  # before any work, and again when the prompts are known
        require_memory(self.model, len(constraints), rows, max_new_tokens)

        started = time.perf_counter()
        model = plain_model(self.model)
        vocabulary = vocabulary_of(model, self.tokenizer, self.hmm, self.eos_token_id)
        end = vocabulary.eos_token_id
        beginning = [end, *prefix_ids_of(vocabulary, prefix)]
        read = [checked_prompt(beginning if ids is None else ids, logits_of(model)) for ids in given]
        width, steps = max(map(len, read)), max_new_tokens + len(suffix_ids_of(vocabulary, suffix))
        require_context(model, width, steps)
        require_memory(model, len(read), rows, width + steps)
        token_range = (min_new_tokens, max_new_tokens)
        places = [Place(prefix, suffix, ids is None, token_range, soft_mask) for ids in given]
        prepared = self._prepared.prepare(vocabulary, constraints, places)
        pull = getattr(self.hmm, "strength", 1.0) if strength is None else strength
        weighing = Weighing(self.hmm, temperature, soft_mask, pull)
        processors = [
            weighing.processor(one, [end] * (width - len(prompt)) + prompt)
            for one, prompt in zip(prepared, read, strict=True)
        ]
        preparation = time.perf_counter() - started

        paths = [PathScores(width, end) for _ in read]
        pairs = [LogitsProcessorList(pair) for pair in zip(paths, processors, strict=True)]
        returned = n if do_sample else beams
        settings = SearchSettings(steps, beams, do_sample, returned, end, seed, progress, length_penalty, options)
        outputs = search(model, read, pairs, settings)
        neural = time.perf_counter() - started - preparation - sum(processor.seconds for processor in processors)
        results = []
        for one, place, prompt, written, path, processor in zip(
            prepared, places, read, outputs, paths, processors, strict=True
        ):
            constraint = one.constraint
            contents = contents_of(written, constraint, None if soft_mask else token_range)
            seen = path if KEEP_SCORES.issuperset(options) else None
            best = _ordered(_scored(model, contents, prompt, constraint, seen), constraint, length_penalty)[:n]
            timing = Timing(preparation / len(read), processor.seconds, neural / len(read), written.shape[1])
            tracer = Origin(model, self._prepared, constraint, place, tuple(prompt), weighing).trace
            results.append([_result(constraint, content, timing).traced_by(tracer) for content in best])
        return results

    @checked
    def prepare(
        self,
        constraint: ConstraintLike,
        prompt: Prompt | None = None,
        *,
        prefix: str = "",
        suffix: str = "",
        min_new_tokens: Natural = 1,
        max_new_tokens: Natural = 32,
        soft_mask: bool = False,
    ) -> None:
        """Prepare a constraint, so that the first texts under it come as soon as those of a second call.

        Args:
            constraint: and all others are those of the call to come.
            prompt: it matters only whether there is one.
            prefix: text before the content.
            suffix: text after the content.
            min_new_tokens: least tokens of the content.
            max_new_tokens: most tokens of the content.
            soft_mask: the HMM alone steers.

        Raises:
            CtrlGError: what the call would raise about the constraint, its place and its tokens.
        """
        check_soft_mask(self.hmm, soft_mask)
        vocabulary = vocabulary_of(self.model, self.tokenizer, self.hmm, self.eos_token_id)
        place = Place(prefix, suffix, prompt is None, (min_new_tokens, max_new_tokens), soft_mask)
        self._prepared.prepare(vocabulary, [constraint], [place])


def _checked_beams(num_beams: int | None, do_sample: bool, returned: int) -> int:
    beams = num_beams or (1 if do_sample else max(BEAMS, returned))
    if not do_sample and beams < returned:
        raise ArgumentError(f"{returned} texts from {beams} beams", hint="a search finds at most one text per beam")
    return beams


def _result(constraint: CompiledConstraint, content: ScoredIds, timing: Timing) -> GenerationResult:
    ids = content.token_ids
    return GenerationResult(constraint.text(ids), ids, content.log_prob, content.total, constraint.holds(ids), timing)


def _ordered(scored: Sequence[ScoredIds], constraint: CompiledConstraint, length_penalty: float) -> list[ScoredIds]:
    """Best first by log-probability over the number of tokens, content and suffix, to the power of length_penalty."""

    def value(content: ScoredIds) -> float:
        return content.total / (len(content.token_ids) + len(constraint.suffix_ids)) ** length_penalty

    return sorted(scored, key=value, reverse=True)


def _scored(
    model: Any,
    contents: Sequence[tuple[int, ...]],
    prompt: list[int],
    constraint: CompiledConstraint,
    paths: PathScores | None,
) -> list[ScoredIds]:
    """The contents with the language model's scores: those the search has seen, or read again where it has not."""
    seen: dict[tuple[int, ...], ScoredIds] = {}
    for content in contents:
        total = None if paths is None else paths.total((*content, *constraint.suffix_ids[:-1]))
        if total is not None:
            seen[content] = ScoredIds(content, total / (len(content) + len(constraint.suffix_ids)), total)
    others = [content for content in contents if content not in seen]
    read = score_generated_ids(model, others, prompt, constraint.suffix_ids) if others else []
    return [*seen.values(), *read]
