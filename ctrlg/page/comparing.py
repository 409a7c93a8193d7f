"""The same request with HMMs of several widths, and with none: what compression costs, and what the guide is for."""

from __future__ import annotations

import sys
import threading
import traceback
from functools import cached_property
from typing import Any

from ctrlg.errors import CtrlGError
from ctrlg.generation import GenerationResult, Generator
from ctrlg.hmm import HMM
from ctrlg.loading import load_hmm
from ctrlg.loading.embedded import cache_folder
from ctrlg.page.asking import Asked
from ctrlg.page.jobs import Job, Stopped
from ctrlg.page.writing import Writer, place_of, suggestion, write
from ctrlg.quantization import QuantizedHMM, quantize

BITS = (8, 4, 2)


class Comparison:
    """Compares on request.

    The HMMs are compressed when they are first needed, by a thread of its own: that takes minutes, in which others can
    go on writing. They stay in the cache folder of the embedded models.

    writer: the one whose HMM is compared with others.
    """

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._compressed: dict[int, QuantizedHMM] = {}
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._error: Stopped | None = None
        self.status = ""

    def ready(self) -> bool:
        """Whether all HMMs are there; where they are not, somebody works at it from now on.

        Raises Stopped where that failed; the next call tries again.
        """
        if self._writer.generator.hmm is None or len(self._compressed) == len(BITS):
            return True
        with self._starting:
            if self._error is not None:
                error, self._error, self._thread = self._error, None, None
                raise error
            if self._thread is None:
                self._thread = threading.Thread(target=self._compress, name="ctrlg page, compressing", daemon=True)
                self._thread.start()
        return False

    def compare(self, request: Asked, job: Job) -> None:
        """Write a request with each HMM, when they are ready; a row for each goes into `job.partial`."""
        request = self._writer.fit(request)._replace(number=1)
        for name, hmm in self._widths():
            job.check()
            generator = self._generator(hmm)
            generator.prepare(request.constraint, **place_of(request))
            (result, *_) = write(generator, request, job)
            job.partial.append(_row(name, hmm, result, request))

    def _widths(self) -> list[tuple[str, Any]]:
        own = self._writer.generator.hmm
        alone = ("Mask alone, no HMM", None)
        if own is None:
            return [alone]
        as_it_comes = [(f"As it comes, {own.bits} bits", own)] if isinstance(own, QuantizedHMM) else []
        narrower = [(f"{bits} bits", self._compressed[bits]) for bits in BITS]
        return [alone, ("Float, 32 bits", self._dense), *as_it_comes, *narrower]

    @cached_property
    def _dense(self) -> HMM:
        own: Any = self._writer.generator.hmm
        return own.dequantize() if isinstance(own, QuantizedHMM) else own

    def _generator(self, hmm: Any) -> Generator:
        own = self._writer.generator
        if hmm is own.hmm:
            return own
        return Generator(own.model, own.tokenizer, hmm, eos_token_id=self._writer.vocabulary.eos_token_id, kept=0)

    def _compress(self) -> None:
        try:
            checksum = self._dense.checksum()[:16]
            for bits in BITS:
                self.status = f"Compressing the HMM to {bits} bits. This takes some minutes, once on this machine."
                folder = cache_folder() / f"hmm-{checksum}-{bits}-bits"
                if not (folder / "config.json").is_file():
                    quantize(self._dense, bits=bits).save_pretrained(folder)
                found = load_hmm(folder)
                if isinstance(found, QuantizedHMM):
                    self._compressed[bits] = found
        except CtrlGError as error:
            self._error = Stopped(f"The HMM cannot be compressed: {error.message}")
        except Exception as error:
            traceback.print_exception(error, file=sys.stderr)
            self._error = Stopped("The HMM cannot be compressed. The window in which the page was started says why.")


def _row(name: str, hmm: Any, result: GenerationResult, request: Asked) -> dict[str, Any]:
    return {
        "name": name,
        "disk": 0 if hmm is None else getattr(hmm, "packed_nbytes", hmm.nbytes),
        "bytes": 0 if hmm is None else hmm.nbytes,
        "milliseconds": 1000 * result.timing.symbolic / max(1, result.timing.steps),
        "suggestion": suggestion(result, request),
    }
