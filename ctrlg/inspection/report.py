"""What `ctrlg inspect` says: an inspection in plain numbers for JSON, and as tables for a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from ctrlg.errors import VocabularyError
from ctrlg.hmm import HMM
from ctrlg.inspection.inspect import Inspection, MatrixInspection
from ctrlg.quantization import QuantizedHMM
from ctrlg.terminal.text import visible_token
from ctrlg.vocabulary.token_bytes import Vocabulary

_SMALL = -5  # log10 of what counts as a small probability in the tables
_QUARTILES = {"least": 0.0, "lower_quartile": 0.25, "median": 0.5, "upper_quartile": 0.75, "most": 1.0}


def quartiles(values: Tensor) -> dict[str, float]:
    """Least, lower quartile, median, upper quartile and most of float [n], n >= 1; between two, interpolated."""
    return {name: float(values.double().quantile(share)) for name, share in _QUARTILES.items()}


def check_tokenizer(hmm: HMM | QuantizedHMM, tokenizer: Any) -> None:
    """Raise VocabularyError where the tokenizer cannot be the one of the HMM's tokens."""
    hint = "--model names the language model that the HMM was distilled from; --model none shows ids"
    if len(tokenizer) > hmm.vocab_size:
        raise VocabularyError(f"the tokenizer has {len(tokenizer)} tokens, the HMM {hmm.vocab_size}", hint=hint)
    if hmm.fingerprint is not None:
        theirs = Vocabulary.of(tokenizer, hmm.vocab_size, hmm.eos_token_id).fingerprint
        if theirs != hmm.fingerprint:
            raise VocabularyError(
                f"the HMM knows vocabulary {hmm.fingerprint[:12]}, the tokenizer has {theirs[:12]}", hint=hint
            )


def as_record(found: Inspection, file_bytes: int, tokenizer: Any | None) -> dict[str, Any]:
    """Everything in numbers, strings, lists and dictionaries.

    file_bytes: of the checkpoint's tensors on disk. tokenizer: gives tokens their texts; ids alone where None.
    """
    return {
        "hidden_states": found.hidden_states,
        "vocab_size": found.vocab_size,
        "eos_token_id": found.eos_token_id,
        "fingerprint": found.fingerprint,
        "method": found.method,
        "bits": found.bits,
        "file_bytes": file_bytes,
        "memory_bytes": found.memory_bytes,
        "float_bytes": found.float_bytes,
        "transition": _matrix_record(found.transition),
        "emission": _matrix_record(found.emission),
        "occupancy_tokens": found.tokens,
        "effective_states": found.effective_states,
        "end_state": None if found.end_state is None else found.end_state._asdict(),
        "most_used_states": [
            {
                "state": state.state,
                "occupancy": state.occupancy,
                "tokens": [
                    {"token": token, "probability": probability}
                    | ({} if tokenizer is None else {"text": tokenizer.decode([token])})
                    for token, probability in zip(state.tokens, state.probabilities, strict=True)
                ],
            }
            for state in found.most_used
        ],
    }


def show(found: Inspection, file_bytes: int, tokenizer: Any | None, console: Console) -> None:
    """Print tables. Arguments as for `as_record`."""
    made = found.method if found.bits == 32 else f"{found.method}, {found.bits} bits"
    sizes = f"{found.hidden_states:,} states, {found.vocab_size:,} tokens"
    console.print(Text.assemble((sizes, "bold"), f", {made}"), soft_wrap=True)
    smaller = found.float_bytes / file_bytes
    console.print(
        f"{file_bytes:,} bytes on disk, {found.memory_bytes:,} in memory, {found.float_bytes:,} as float32"
        + (f" ({smaller:.0f} times the file)" if smaller > 2 else ""),
        highlight=False,
        soft_wrap=True,
    )
    console.print(_matrices_table(found))
    console.print(_end_of_text(found), highlight=False, soft_wrap=True)
    before = "" if found.end_state is None else ", up to the end of text,"
    console.print(
        f"the states{before} are used like {found.effective_states:,.0f} equally frequent ones",
        highlight=False,
        soft_wrap=True,
    )
    if found.most_used:
        console.print(_words_table(found, tokenizer))


def _matrix_record(matrix: MatrixInspection) -> dict[str, Any]:
    histogram = matrix.histogram
    return {
        "shape": list(matrix.shape),
        "layout": matrix.layout,
        "memory_bytes": matrix.nbytes,
        "kept_entries": matrix.kept,
        "density": matrix.density,
        "background_mass": matrix.background_mass,
        "row_sum_error": matrix.row_sum_error,
        "row_entropy_nats": quartiles(matrix.entropy),
        "histogram": {
            "log10_edges": histogram.edges.tolist(),
            "entries": histogram.entries.tolist(),
            "mass": histogram.mass.tolist(),
            "zeros": histogram.zeros,
        },
    }


def _matrices_table(found: Inspection) -> Table:
    table = Table("", "transition", "emission")
    pair = (found.transition, found.emission)
    table.add_row("shape", *(f"{m.shape[0]:,} x {m.shape[1]:,}" for m in pair))
    table.add_row("layout", *(m.layout for m in pair))
    table.add_row("bytes in memory", *(f"{m.nbytes:,}" for m in pair))
    table.add_row("entries of their own", *(f"{m.kept:,} ({m.density:.2%})" for m in pair))
    table.add_row("mass of the others", *(f"{m.background_mass:.2%}" for m in pair))
    small = [m.histogram.share_below(_SMALL) for m in pair]
    table.add_row(f"entries below 1e{_SMALL}", *(f"{entries:.1%}, {mass:.2%} of the mass" for entries, mass in small))
    spreads = [quartiles(m.entropy) for m in pair]
    middle = [f"{s['lower_quartile']:.2f}, {s['median']:.2f}, {s['upper_quartile']:.2f}" for s in spreads]
    table.add_row("row entropy (nats), quartiles", *middle)
    table.add_row("row entropy (nats), range", *(f"{s['least']:.2f} to {s['most']:.2f}" for s in spreads))
    return table


def _end_of_text(found: Inspection) -> str:
    end = found.end_state
    if end is None:
        return f"no state emits end of text (token {found.eos_token_id}) with a probability of 0.5 or more"
    return (
        f"end of text is state {end.state}: it emits token {found.eos_token_id} with probability {end.emission:.4f}, "
        f"stays with {end.stays:.4f}, and is {end.occupancy:.1%} of {found.tokens} tokens"
    )


def _words_table(found: Inspection, tokenizer: Any | None) -> Table:
    table = Table("state", "share of tokens", "likeliest tokens", title="most used states", title_justify="left")
    for state in found.most_used:
        names = [str(token) if tokenizer is None else visible_token(tokenizer, token) for token in state.tokens]
        words = "  ".join(f"{name} {share:.1%}" for name, share in zip(names, state.probabilities, strict=True))
        table.add_row(str(state.state), f"{state.occupancy:.2%}", words)
    return table
