"""llama-cpp-python: one text at a time, prompt and output in one array.

    guiding = Guiding(tokenizer, hmm)
    processor = LlamaCppProcessor(guiding, Request(Keywords(["dog"]), suffix="."))
    answer = processor.complete(llama, "A photo of", max_tokens=64)

llama-cpp-python swallows what a processor raises. Here it is kept, the text is ended, and `complete` raises it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ctrlg.engines.following import follow_all
from ctrlg.engines.requests import Guiding, Request


class LlamaCppProcessor:
    """A logits processor of llama-cpp-python, for one text.

    Args:
        guiding: of the same model and tokenizer.
        request: what the text is to keep.

    Attributes:
        error: what went wrong inside the engine, None where nothing did.

    Raises:
        CtrlGError: as `Guiding.cursor`, before the engine is asked for anything.
    """

    def __init__(self, guiding: Guiding, request: Request) -> None:
        self._guiding = guiding
        self.cursor = guiding.cursor(request)
        self.error: Exception | None = None
        self._prompt: int | None = None

    def __call__(self, input_ids: NDArray[np.intc], scores: NDArray[np.single]) -> NDArray[np.single]:
        """The scores of the next token, -inf where it must not come.

        Args:
            input_ids: int [prompt + tokens so far].
            scores: float32 [V].

        Returns:
            float32 [V], log-probabilities.
        """
        if self.error is None:
            try:
                return self._scored(input_ids, scores)
            except Exception as error:  # raised again by `check`: the engine would print it and go on unconstrained
                self.error = error
        ended = np.full_like(scores, -np.inf)
        ended[self.cursor.guide.eos_token_id] = 0.0
        return ended

    def complete(self, llama: Any, prompt: str | list[int], **settings: Any) -> Any:
        """`llama.create_completion` under the constraint.

        Args:
            llama: llama_cpp.Llama.
            prompt: text or token ids.
            settings: of `create_completion` (max_tokens, temperature, stream, ...).

        Returns:
            What `create_completion` returns.

        Raises:
            Exception: whatever went wrong in the processor.
        """
        from llama_cpp import LogitsProcessorList  # pyright: ignore[reportMissingImports, reportAttributeAccessIssue]

        settings.setdefault("max_tokens", self.cursor.guide.token_ranges[0][1] + len(self.cursor.guide.suffix_ids))
        answer = llama.create_completion(prompt, logits_processor=LogitsProcessorList([self]), **settings)
        if settings.get("stream"):
            return self._checked_stream(answer)
        self.check()
        return answer

    def check(self) -> None:
        """Raise what went wrong inside the engine, if anything did."""
        if self.error is not None:
            raise self.error

    def _checked_stream(self, chunks: Any) -> Any:
        for chunk in chunks:
            self.check()
            yield chunk
        self.check()

    def _scored(self, input_ids: NDArray[np.intc], scores: NDArray[np.single]) -> NDArray[np.single]:
        if self._prompt is None:
            self._prompt = len(input_ids)
        follow_all([self.cursor], [input_ids[self._prompt :].tolist()])
        logits = torch.from_numpy(np.ascontiguousarray(scores, dtype=np.float32))[None]
        return self._guiding.batch.join([self.cursor], logits)[0].cpu().numpy()
