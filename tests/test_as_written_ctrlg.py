"""Ctrl-G's commands and a program with its calls, from sampling to ranked sentences: as its README and tutorials have
them, but for the device, the sizes and the names of models."""

from __future__ import annotations

import ast
import os
import re
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny_language_model, tiny_tokenizer

ROOT = Path(__file__).parents[1]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=1"]
SCRIPTS = ROOT / "distillation"
CHUNKS, LENGTH, STATES = 2, 12, 6

PROGRAM = """
import os
device = 'cpu'
os.environ['CUDA_VISIBLE_DEVICES'] = '0'
os.environ['TOKENIZERS_PARALLELISM'] = 'false'

import torch
import ctrlg
from transformers import AutoModelForCausalLM, AutoTokenizer, LogitsProcessorList

base_model = AutoModelForCausalLM.from_pretrained(BASE_MODEL_PATH).to(device)
base_model.eval()
tokenizer = AutoTokenizer.from_pretrained(BASE_MODEL_PATH)
hmm_model = ctrlg.HMM.from_pretrained(HMM_MODEL_PATH).to(device)

prefix_ids = tokenizer.encode(' on a fine sunny')
suffix_ids = tokenizer.encode(' in the park.<|endoftext|>')
prompt_ids = tokenizer.encode('<|endoftext|> on a fine sunny')
min_new_tokens, max_new_tokens = 5, 32
vocab_size = hmm_model.vocab_size
eos_token_id = hmm_model.eos_token_id

ac_builder = ctrlg.AhoCorasickBuilder(vocab_size)
word_count_builder = ctrlg.WordCountBuilder(tokenizer, vocab_size)
in_order = []
for phrases in ([' girl', ' boy', ' girls'], [' dogs', ' cats', ' dog', ' cat']):
    in_order.append(ac_builder.build([tokenizer.encode(phrase) for phrase in phrases]))
dfa_graphs = [ctrlg.DFA_concatenate(in_order), word_count_builder.build(4, 12)]
dfa_graph = ctrlg.DFA_prod(dfa_graphs, mode='intersection')
dfa_model = ctrlg.DFAModel(dfa_graph, vocab_size).to(device)

constraint_logits_processor = ctrlg.ConstraintLogitsProcessor(
    hmm_model, dfa_model,
    min_new_tokens, max_new_tokens,
    prompt_ids, prefix_ids=prefix_ids, suffix_ids=suffix_ids)
beam_size = 8
constraint_logits_processor.hmm_batch_size = beam_size
input_ids = torch.tensor([prompt_ids], device=device)
outputs = base_model.generate(
    input_ids=input_ids, do_sample=False, length_penalty=0.2,
    num_beams=beam_size, num_return_sequences=beam_size,
    min_new_tokens=min_new_tokens, max_new_tokens=max_new_tokens,
    logits_processor=LogitsProcessorList([constraint_logits_processor]),
    pad_token_id=tokenizer.eos_token_id,
)
generated_ids = ctrlg.extract_generated_ids(outputs.tolist(), prompt_ids, suffix_ids, eos_token_id)
generated_ids = ctrlg.rank_generated_ids(base_model, generated_ids, prompt_ids, suffix_ids,
                                         suffix_logits_only=True, suffix_length_cap=5)[:4]
generated_ids = ctrlg.rank_generated_ids(base_model, generated_ids, prompt_ids, suffix_ids, length_penalty=0.2)
sentences = [tokenizer.decode(generated, skip_special_tokens=True) for generated in generated_ids]
"""


def torchrun(script: str, *flags: object) -> None:
    """A script started as Ctrl-G's tutorial starts it, in its folder, on one thread, with this checkout."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [*TORCHRUN, script, *map(str, flags)]
    subprocess.run(command, cwd=SCRIPTS, env=environment, check=True, capture_output=True)


def run(script: str, *flags: object) -> None:
    """A script in this process, which has imported already what it needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", [script, *map(str, flags)])
        runpy.run_path(str(SCRIPTS / script), run_name="__main__")


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The commands of the distillation tutorial. model: a language model; data: samples; hmm: checkpoints; log."""
    folder = tmp_path_factory.mktemp("workspace")
    model, data, hmm = folder / "model", folder / "hmm_data", folder / "hmm"
    tokenizer = tiny_tokenizer()
    tiny_language_model(len(tokenizer), eos_token_id=tokenizer.eos_token_id).save_pretrained(model)  # type: ignore[arg-type]
    tokenizer.save_pretrained(model)
    prompts = folder / "prompts.json"
    prompts.write_text('["<|endoftext|>", "the dog"]')
    for path in (data, hmm, folder / "logs"):
        path.mkdir()
    sample = [
        *("--model_name_or_path", model, "--tokenizer_name_or_path", model),
        *("--input_file", prompts, "--batch_size", 50, "--max_new_tokens", LENGTH),
    ]
    chunks = ("--total_chunks", CHUNKS)
    lvd = ("--chunk_size", 100, "--save_embeddings", "--output_file", data / "tiny.lvd", "--format", "pt")
    torchrun("sample_data.py", *sample, *lvd)
    train = ("--chunk_size", 80, *chunks, "--output_file", data / "tiny.train", "--format", "pt")
    run("sample_data.py", *sample, *train)
    run("sample_data.py", *sample, "--chunk_size", 40, "--output_file", data / "tiny.dev")
    run(
        *("lvd_hmm.py", "--sequences_file", data / "tiny.lvd", "--embeddings_file", data / "tiny.lvd.embeddings"),
        *("--hidden_states", STATES, "--vocab_size", len(tokenizer), "--eos_token_id", tokenizer.eos_token_id),
        *("--kmeans_iterations", 10, "--pseudocount", 0.001, "--output_file", f"{hmm}//checkpoint-0"),
    )
    log = folder / "logs" / "hmm_log.txt"
    torchrun(
        *("train_hmm.py", "--model_path", f"{hmm}/", "--checkpoint", 0, "--save_per_step", 2),
        *("--data_path", data, "--dataset", "tiny", *chunks, "--batch_size", 32),
        *("--em_schedule", "2,1;1,2", "--dropout", 0.01, "--log_file", log),
    )
    return {"model": model, "data": data, "hmm": hmm, "log": log}


def test_the_distillation_commands_leave_what_ctrlg_s_leave(distilled: dict[str, Path]) -> None:
    names = ["tiny.dev", "tiny.lvd", "tiny.lvd.embeddings", "tiny.train.0", "tiny.train.1"]
    assert sorted(file.name for file in distilled["data"].iterdir()) == names
    sequences = torch.load(distilled["data"] / "tiny.lvd", weights_only=True)
    assert sequences.shape == (100, LENGTH) and sequences.dtype == torch.int64
    embeddings = torch.load(distilled["data"] / "tiny.lvd.embeddings", weights_only=True)
    assert embeddings.shape == (100, LENGTH, 16)
    for number in (0, 2, 4):
        assert (distilled["hmm"] / f"checkpoint-{number}" / "model.safetensors").is_file()


def test_the_training_log_is_read_as_norm_q_s_notebook_reads_it(distilled: dict[str, Path]) -> None:
    settings, *lines = distilled["log"].read_text().splitlines()
    assert ast.literal_eval(settings)["em_schedule"] == "2,1;1,2"
    steps = []
    for line in lines:
        step, train, dev = line.strip().split("\t")
        steps.append((int(step), float(train), float(dev)))
    assert [step for step, _, _ in steps] == [0, 1, 2, 4] and steps[0][1] == -1.0
    assert steps[-1][2] > steps[0][2], "the dev likelihood of a sequence rises"


def test_the_readme_s_program_writes_sentences_that_keep_its_constraints(
    distilled: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CUDA_VISIBLE_DEVICES", "TOKENIZERS_PARALLELISM"):
        monkeypatch.setenv(name, "")  # the program sets them; they are put back after the test
    names: dict[str, Any] = {
        "BASE_MODEL_PATH": str(distilled["model"]),
        "HMM_MODEL_PATH": str(distilled["hmm"] / "checkpoint-4"),
    }
    exec(PROGRAM, names)
    sentences = names["sentences"]
    assert len(sentences) == 4
    for sentence in sentences:
        assert re.search("( girl| boy).*( dog| cat)", sentence, re.DOTALL), sentence
        assert names["dfa_model"].dfa.accepts(names["tokenizer"].encode(sentence, add_special_tokens=False)), sentence
