"""The bytes behind every token id, whatever tokenizer they come from.

Constraints are about text, automata about token ids; a `Vocabulary` is what joins them. It knows the bytes of each
token (`text = b"".join(token_bytes[id] for id in ids)`), how the tokenizer would usually spell a text, and a
fingerprint by which models and checkpoints recognize the vocabulary they were made for.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import accumulate
from typing import Any

from ctrlg.arguments import Tokenizer, VocabularySize, checked
from ctrlg.errors import VocabularyError
from ctrlg.vocabulary.characters import TokenSymbols, token_symbols

_CACHED_VOCABULARIES = 4
_SPACE_MARK = "\u2581"  # SentencePiece writes a space as U+2581
_BEFORE = (".", "a")  # texts to put before another to learn how it is spelled inside a text
_cache: OrderedDict[tuple[int, int, int, int], Vocabulary] = OrderedDict()
_cache_lock = threading.Lock()


@checked
@dataclass(frozen=True, eq=False)
class Vocabulary:
    """Token bytes and the end-of-text token.

    Args:
        token_bytes: one entry per id, [V]; None for ids that are never content: special, added and padding tokens, and
            tokens that decode to nothing (they would let a text be padded for ever without changing it). The
            end-of-text token is never content either, and becomes None.
        eos_token_id: in [0, V).
        tokenizer: the Hugging Face tokenizer, or None; used only to learn how words are usually spelled.

    Raises:
        VocabularyError: an empty vocabulary or an end-of-text token outside it.
    """

    token_bytes: tuple[bytes | None, ...]
    eos_token_id: int
    tokenizer: Any = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not self.token_bytes:
            raise VocabularyError("the vocabulary is empty", hint="give at least one token")
        if not 0 <= self.eos_token_id < len(self.token_bytes):
            raise VocabularyError(
                f"the end-of-text token {self.eos_token_id} is outside the vocabulary of {len(self.token_bytes)}",
                hint="give eos_token_id, the id with which the language model ends a text",
            )
        content = [data or None for data in self.token_bytes]
        content[self.eos_token_id] = None
        object.__setattr__(self, "token_bytes", tuple(content))

    @classmethod
    @checked
    def of(
        cls,
        tokenizer: Vocabulary | Tokenizer,
        vocab_size: VocabularySize | None = None,
        eos_token_id: int | None = None,
    ) -> Vocabulary:
        """The vocabulary of a Hugging Face tokenizer (byte-level BPE, or SentencePiece with byte fallback).

        The last few are kept, a second call is free.

        Args:
            tokenizer: a tokenizer; a Vocabulary is returned as it is, if the sizes fit.
            vocab_size: the model's number of logits where it differs from the tokenizer's number of tokens. Logits
                beyond the tokens are padding; special and added tokens beyond the logits are left out.
            eos_token_id: by default the tokenizer's own.

        Raises:
            VocabularyError: other kinds of tokenizers, one whose decoder writes a token otherwise than such a
                tokenizer's, ordinary tokens without a logit, and no end-of-text token known.
        """
        if isinstance(tokenizer, Vocabulary):
            return _checked(tokenizer, vocab_size, eos_token_id)
        known = len(tokenizer)
        size = known if vocab_size is None else vocab_size
        eos = tokenizer.eos_token_id if eos_token_id is None else eos_token_id
        if eos is None:
            raise VocabularyError("the tokenizer has no end-of-text token", hint="give eos_token_id")
        key = (id(tokenizer), known, size, int(eos))
        with _cache_lock:
            if key not in _cache:
                vocabulary = cls(tuple(_read_token_bytes(tokenizer, size)), int(eos), tokenizer)
                _require_own_spelling(vocabulary)
                _cache[key] = vocabulary
            _cache.move_to_end(key)
            if len(_cache) > _CACHED_VOCABULARIES:
                _cache.popitem(last=False)
            return _cache[key]

    @property
    def vocab_size(self) -> int:
        """Number of token ids, padding included."""
        return len(self.token_bytes)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over the token bytes in order and the end-of-text id."""
        digest = hashlib.sha256()
        for data in self.token_bytes:
            digest.update(b"-" if data is None else b"%d:%b" % (len(data), data))
        digest.update(b"|%d" % self.eos_token_id)
        return digest.hexdigest()

    @cached_property
    def symbols(self) -> TokenSymbols:
        """The tokens cut into characters, see `ctrlg.vocabulary.characters`."""
        return token_symbols(self.token_bytes)

    @cached_property
    def drops_first_space(self) -> bool:
        """Whether decoding drops the space a text begins with, as SentencePiece does, which puts one there."""
        spaced = next(
            (t for t, data in enumerate(self.token_bytes) if data and data[:1] == b" " and data[1:].isalpha()), None
        )
        if self.tokenizer is None or spaced is None:
            return False
        return not self.tokenizer.decode([spaced], clean_up_tokenization_spaces=False).startswith(" ")

    def drops_space_of(self, token: int) -> bool:
        """Whether decoding drops the space of a token that a text begins with.

        With some decoders the mark of a space is dropped and the byte of one is not.

        Args:
            token: in [0, V).
        """
        data = self.token_bytes[token]
        if not data or data[:1] != b" " or not self.drops_first_space:
            return False
        decoded = self.tokenizer.decode([token], clean_up_tokenization_spaces=False)
        return decoded != data.decode("utf-8", errors="replace")

    def join(self, ids: Iterable[int]) -> bytes:
        """The bytes of some ids; ids that are not content add nothing.

        Args:
            ids: in [0, V).

        Raises:
            VocabularyError: an id out of range.
        """
        pieces: list[bytes] = []
        for token in ids:
            if not 0 <= token < self.vocab_size:
                raise VocabularyError(
                    f"token {token} is outside the vocabulary", hint=f"ids are 0 to {self.vocab_size - 1}"
                )
            pieces.append(self.token_bytes[token] or b"")
        return b"".join(pieces)

    @checked
    def decode(self, ids: Iterable[int]) -> str:
        """The text of some ids; ids that are not content add nothing, broken characters become U+FFFD.

        SentencePiece decoders drop the space before the first word of a text; this keeps it, as a content usually
        follows a prompt.

        Args:
            ids: in [0, V).

        Raises:
            VocabularyError: an id out of range.
        """
        return self.join(ids).decode("utf-8", errors="replace")

    @checked
    def spell(self, texts: Sequence[str]) -> list[tuple[int, ...] | None]:
        """How each text is usually cut into tokens inside a longer one.

        The tokenizer's own way where its tokens give back exactly the text, else as few tokens as possible.

        Args:
            texts: any.

        Returns:
            Token ids for each text; None where it cannot be spelled.
        """
        spelled: list[tuple[int, ...] | None] = [None] * len(texts)
        if self.tokenizer is not None:
            for variant, before in self._variants(texts):
                missing = [index for index, ids in enumerate(spelled) if ids is None]
                if not missing:
                    break
                rows = self.tokenizer([variant[index] for index in missing], add_special_tokens=False)["input_ids"]
                for index, ids in zip(missing, rows, strict=True):
                    spelled[index] = self._behind(ids, before, texts[index].encode())
        return [ids if ids is not None else self._fewest_tokens(text) for ids, text in zip(spelled, texts, strict=True)]

    def spell_beginning(self, text: str) -> tuple[int, ...] | None:
        """How a text is cut into tokens that begins with it.

        As `spell`, but with the space that the tokenizer puts there and drops again, if it does.

        Args:
            text: any.

        Returns:
            Token ids; None where it cannot be spelled.
        """
        if self.tokenizer is not None and self.drops_first_space:
            usual = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            spelled = self._behind(usual, b"", b" " + text.encode())
            if spelled is not None:
                return spelled
        return self.spell([" " + text if self.drops_first_space and text.startswith(" ") else text])[0]

    def _variants(self, texts: Sequence[str]) -> Iterator[tuple[list[str], bytes]]:
        """Texts whose tokens end with those of `texts`, and the bytes before them."""
        yield list(texts), b""
        # SentencePiece puts a space before a text by itself: " dog" is what it makes of "dog"
        yield [text.removeprefix(" ") for text in texts], b""
        for before in _BEFORE:
            yield [before + text for text in texts], before.encode()

    def _behind(self, ids: Sequence[int], before: bytes, wanted: bytes) -> tuple[int, ...] | None:
        """The last of some ids, if they spell what is wanted behind `before`, which a space may precede."""
        pieces = [self.token_bytes[token] if token < self.vocab_size else None for token in ids]
        data = b"".join(piece or b"" for piece in pieces)
        if None in pieces or data not in (before + wanted, b" " + before + wanted):
            return None
        lengths = [0, *accumulate(len(piece or b"") for piece in pieces)]
        skipped = len(data) - len(wanted)
        return tuple(int(token) for token in ids[lengths.index(skipped) :]) if skipped in lengths else None

    @cached_property
    def _id_of(self) -> dict[bytes, int]:
        return {data: token for token, data in enumerate(self.token_bytes) if data is not None}

    @cached_property
    def _longest(self) -> int:
        return max(map(len, self._id_of), default=0)

    def _fewest_tokens(self, text: str) -> tuple[int, ...] | None:
        """A way to cut a text into as few tokens as possible, the longer ones first; None where there is none."""
        data = text.encode()
        count = [0] * (len(data) + 1)  # of tokens from each byte on; 0 at the end and where there is no way
        first = [-1] * len(data)  # the token that a shortest way begins with
        for start in range(len(data) - 1, -1, -1):
            for end in range(start + 1, min(len(data), start + self._longest) + 1):
                token = self._id_of.get(data[start:end])
                reachable = end == len(data) or count[end]
                if token is not None and reachable and (not count[start] or count[end] + 1 <= count[start]):
                    count[start], first[start] = count[end] + 1, token
        ids, start = [], 0
        while start < len(data):
            if not count[start]:
                return None
            ids.append(first[start])
            start += len(self.token_bytes[first[start]] or b"")
        return tuple(ids)


def _checked(vocabulary: Vocabulary, vocab_size: int | None, eos_token_id: int | None) -> Vocabulary:
    for name, wanted, has in (
        ("vocab_size", vocab_size, vocabulary.vocab_size),
        ("eos_token_id", eos_token_id, vocabulary.eos_token_id),
    ):
        if wanted is not None and wanted != has:
            raise VocabularyError(
                f"{name} is {wanted}, the vocabulary has {has}", hint=f"leave {name} out, or make it {has}"
            )
    return vocabulary


def _require_own_spelling(vocabulary: Vocabulary) -> None:
    """VocabularyError where the tokenizer's decoder writes a token otherwise than `token_bytes` has it, at the start of
    a text (but for a space that is dropped there) or behind a word. Parts of characters are not looked at."""
    backend = getattr(vocabulary.tokenizer, "backend_tokenizer", None)
    if backend is None:
        return
    read = [(token, _text_of(data)) for token, data in enumerate(vocabulary.token_bytes) if data]
    texts = {token: text for token, text in read if text}
    drops = vocabulary.drops_first_space
    # Where the first of two spaces is dropped, they never begin a text: see `decoding.tasks`.
    inner = [token for token, text in texts.items() if " " in text[1:] and not (drops and text[:2] == "  ")]
    for token, found in zip(inner, _written(backend, [[token] for token in inner]), strict=True):
        if found != texts[token][drops and texts[token][0] == " " and found[:1] != " " :]:
            raise _written_otherwise(token, texts[token], found)
    word = next((token for token, text in texts.items() if text.isalpha()), None)
    # All at once first: a call for each takes half a second.
    if word is None or _written(backend, [[word, *texts]]) == [texts[word] + "".join(texts.values())]:
        return
    for token, found in zip(texts, _written(backend, [[word, token] for token in texts]), strict=True):
        if found != texts[word] + texts[token]:
            raise _written_otherwise(token, texts[token], found.removeprefix(texts[word]))


def _written(backend: Any, rows: list[list[int]]) -> list[str]:
    return backend.decode_batch(rows, skip_special_tokens=False)


def _written_otherwise(token: int, text: str, found: str) -> VocabularyError:
    return VocabularyError(
        f"token {token} should read {text!r}; the tokenizer's decoder writes {found!r}",
        hint="use a byte-level BPE, or SentencePiece with \u2581 for spaces and ByteFallback for bytes <0xNN>; or "
        "build a Vocabulary from token bytes",
    )


def _text_of(data: bytes) -> str | None:
    """None for parts of characters."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None


def _read_token_bytes(tokenizer: Any, size: int) -> list[bytes | None]:
    known = len(tokenizer)
    to_bytes = _byte_level if _is_byte_level(tokenizer) else _sentence_piece
    tokens: list[str | None] = tokenizer.convert_ids_to_tokens(list(range(known)))
    token_bytes = [None if token is None else to_bytes(token) for token in tokens]
    for token in set(tokenizer.added_tokens_decoder) | set(tokenizer.all_special_ids):
        if token < known:
            token_bytes[token] = None
    lost = [token for token in range(size, known) if token_bytes[token]]
    if lost:
        raise VocabularyError(
            f"vocab_size is {size}, the tokenizer writes {tokens[lost[0]]!r} as token {lost[0]}",
            hint="give the number of the language model's logits; only special and added tokens may lie beyond them",
        )
    return token_bytes[:size] + [None] * (size - known)


def _is_byte_level(tokenizer: Any) -> bool:
    """True for byte-level BPE, False for SentencePiece; VocabularyError for what is neither."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        decoder = {} if backend.decoder is None else json.loads(backend.decoder.__getstate__())
        steps = [step.get("type") for step in decoder.get("decoders", [decoder])]
        if "ByteLevel" in steps:
            return True
        replaces_mark = any(_SPACE_MARK in json.dumps(step, ensure_ascii=False) for step in decoder.get("decoders", []))
        if "ByteFallback" in steps or "Metaspace" in steps or replaces_mark:
            return False
    elif hasattr(tokenizer, "byte_decoder"):
        return True
    elif hasattr(tokenizer, "sp_model"):
        return False
    raise VocabularyError(
        f"{type(tokenizer).__name__} keeps neither the bytes nor the spaces of its tokens",
        hint="use a byte-level BPE or a SentencePiece tokenizer, or build a Vocabulary from token bytes",
    )


@lru_cache(maxsize=1)
def _byte_of_mark() -> dict[str, int]:
    """GPT-2's table: printable bytes stand for themselves, the others for U+0100, U+0101, ... in order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in set(printable)]
    table = {chr(byte): byte for byte in printable}
    table.update({chr(0x100 + rank): byte for rank, byte in enumerate(hidden)})
    return table


def _byte_level(token: str) -> bytes | None:
    table = _byte_of_mark()
    try:
        return bytes([table[mark] for mark in token])
    except KeyError:
        return None


def _sentence_piece(token: str) -> bytes:
    if len(token) == 6 and token.startswith("<0x") and token.endswith(">"):
        try:
            return bytes([int(token[3:5], 16)])
        except ValueError:
            pass
    return token.replace(_SPACE_MARK, " ").encode("utf-8", errors="surrogatepass")
