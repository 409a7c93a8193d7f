"""The commands of three READMEs run here as written: Ctrl-G's, Norm-Q's and norm-tweaking's, on tiny models.

Changed are the device, the names of models and, for Norm-Q, the beams. Programs run as their users run them: as
processes of their own, in a folder that holds what the README's folder would hold.
"""

from __future__ import annotations

import ast
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_models import tiny_language_model, tiny_tokenizer
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from ctrlg.hmm import HMM

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


def run_script(script: str, *flags: object) -> None:
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
    run_script("sample_data.py", *sample, *train)
    run_script("sample_data.py", *sample, "--chunk_size", 40, "--output_file", data / "tiny.dev")
    run_script(
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


CHECKPOINT = "distillation/workspace/models/hmm_gpt2-large_4096/checkpoint-q4s100"
OUTPUT = "result/qat4_s100.json"
CONCEPTS = {0: ["dog", "park"], 7: ["run"]}
REFERENCES = {0: ["A dog is in the park.", "The dogs play in a park."], 7: ["He runs.", "They ran home."]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkout of the scripts, with Norm-Q's data set, the checkpoint of benchmark.sh and a tiny language model."""
    folder = tmp_path_factory.mktemp("norm_q")
    scripts = folder / "scripts"
    scripts.mkdir()
    for name in ("test.py", "test_acc.py", "test_benchmark.py", "test_kmeans.py"):
        shutil.copy(ROOT / "scripts" / name, scripts)
    tokenizer = tiny_tokenizer()
    eos: Any = tokenizer.eos_token_id
    tiny_language_model(len(tokenizer), eos_token_id=eos).save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    torch.manual_seed(1)
    HMM(4, len(tokenizer), eos).save_pretrained(scripts / CHECKPOINT)
    rows = [
        {"concept_set_idx": number, "concepts": concepts, "target": target}
        for number, concepts in CONCEPTS.items()
        for target in REFERENCES[number]
    ]
    (scripts / "data").mkdir()
    (scripts / "data" / "common-gen_validation.json").write_text(json.dumps(rows, indent=1))
    return folder


def run_norm_q(folder: Path, *command: str, inside: str = "scripts") -> str:
    """What a command prints, without a network."""
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = os.environ | {"PYTHONPATH": paths, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder / inside, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def results(folder: Path) -> list[dict[str, Any]]:
    """What the user of the line in benchmark.sh loads afterwards."""
    assert "data/common-gen_validation.json" in benchmark(folder)
    return json.loads((folder / "scripts" / OUTPUT).read_text())


def benchmark(folder: Path, *more: str) -> str:
    """The line in benchmark.sh."""
    command = ("test_benchmark.py", "--hmm_model_path", CHECKPOINT, "--output_path", OUTPUT)
    return run_norm_q(folder, *command, "--base_model", "../model", "--beams", "4", *more)


def test_benchmark_sh_writes_norm_qs_list(results: list[dict[str, Any]]) -> None:
    assert [(each["concept_set_idx"], each["concepts"]) for each in results] == list(CONCEPTS.items())
    for each in results:
        assert 1 < len(each["sentences"]) == len(set(each["sentences"])) <= 4  # all ranked sentences
        assert all(text == text.strip() for text in each["sentences"])


def test_test_acc_scores_it_and_norm_qs_own(folder: Path, results: list[dict[str, Any]]) -> None:
    broken = [{"concept_set_idx": 0, "concepts": CONCEPTS[0], "sentences": ["A dog.", "Dogs in a park."]}]
    broken.append({"concept_set_idx": 7, "concepts": CONCEPTS[7], "sentences": ["He runs."]})
    (folder / "scripts" / "result" / "output.json").write_text(json.dumps(broken, indent=2))
    shown = run_norm_q(folder, "test_acc.py", "--result", OUTPUT, "result/output.json", "--log", "1")
    assert f"| float32 | 32 | hard | {len(results)} | 2 | 1.000 (1.000 to 1.000) |" in shown
    assert "constraints accuracy | Bleu_1 | Bleu_2 | Bleu_3 | Bleu_4 | average of Bleu_1 to 4 |" in shown
    assert "average rougeL F score" in shown
    assert "| output |  |  | 0.500 |" in shown
    assert "concept set 0 lacks park: A dog." in shown


def test_another_method_is_added_to_the_list(folder: Path, results: list[dict[str, Any]]) -> None:
    benchmark(folder, "--cluster", "16")
    now = json.loads((folder / "scripts" / OUTPUT).read_text())
    assert now[: len(results)] == results
    assert [each["method"] for each in now] == ["float32"] * 2 + ["norm-q-max"] * 2


def test_scores_without_flags(folder: Path) -> None:
    """The defaults of test_acc.py, from the root: what test_benchmark.py writes, and the sets of this package."""
    packaged = json.loads((ROOT / "ctrlg/assets/commongen/validation.jsonl").read_text().splitlines()[0])
    line = {"method": "float32", "bits": 32, "mask": "hard", "seed": 0, "sentences": packaged["references"][:2]}
    (folder / "runs").mkdir()
    (folder / "runs" / "benchmark.jsonl").write_text(json.dumps(packaged | line))
    shown = run_norm_q(folder, "scripts/test_acc.py", inside=".")
    assert "the 100 of this package" in shown and "| float32 | 32 | hard | 1 |" in shown


def test_kmeans_and_the_tensors_that_the_notebook_loads(folder: Path) -> None:
    run_norm_q(folder, "test_kmeans.py", "--hmm_model_path", CHECKPOINT, "--save_tensors", "data", "--sequences", "5")
    b = 6
    for name in ("alpha_exp", "beta", "gamma"):
        values, labels, centroids = (
            torch.load(folder / "scripts" / "data" / f"{name}{b}{what}.pt", weights_only=True)
            for what in ("", "labels", "centroids")
        )
        assert centroids.shape == (2**b, 1)
        assert torch.equal(centroids[labels].reshape(values.shape), values)
        assert (values <= 0).all() if name != "alpha_exp" else (values >= 0).all()


def test_generation_with_a_quantised_hmm(folder: Path) -> None:
    shown = run_norm_q(
        folder,
        *("test.py", "--qbit", "8", "--hmm_model_path", CHECKPOINT, "--base_model", "../model", "--beams", "2"),
        *("--keywords", "dog", "--words", "1", "4"),
    )
    assert shown.startswith("0. ") and "dog" in shown


def test_imports_of_its_evaluation(folder: Path) -> None:
    program = (
        "from eval_metrics.bleu import Bleu\nfrom eval_metrics.cider import Cider\n"
        "from eval_metrics.spice import Spice\n"
        "gts = {'dog#run': ['a dog runs .'], 'park': ['in the park .']}\n"
        "res = {'dog#run': ['a dog runs .'], 'park': ['the park .']}\n"
        "for scorer in (Bleu(4), Cider()):\n"
        "    score, scores = scorer.compute_score(gts, res)\n"
        "    print('computing %s score...' % scorer.method(), score)"
    )
    shown = run_norm_q(folder, "-c", program)
    assert "Bleu score" in shown and "CIDEr score" in shown


LENGTH = 24


def gpt2(vocab_size: int) -> GPT2LMHeadModel:
    sizes: dict[str, Any] = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": LENGTH}
    return GPT2LMHeadModel(GPT2Config(vocab_size=vocab_size, initializer_range=0.3, **sizes))


def llama(vocab_size: int) -> LlamaForCausalLM:
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
    }
    return LlamaForCausalLM(
        LlamaConfig(vocab_size=vocab_size, max_position_embeddings=LENGTH, initializer_range=0.3, **sizes)
    )


@pytest.fixture(scope="module", params=[gpt2, llama], ids=["gpt2", "llama"])
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder to work in, with a model whose name is that of its folder."""
    folder = tmp_path_factory.mktemp("norm-tweaking")
    tokenizer = tiny_tokenizer()
    torch.manual_seed(0)
    model = request.param(len(tokenizer)).eval()
    for config in (model.config, model.generation_config):
        config.bos_token_id = config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(folder / "tiny" / "model")
    tokenizer.save_pretrained(folder / "tiny" / "model")
    (folder / "wiki.txt").write_text("the dog runs in the park, and a cat sits there. " * 3)
    return folder


def run_example(command: str, place: Path) -> subprocess.CompletedProcess[str]:
    """A command line of the repository, in a folder of the user's."""
    program, *arguments = command.removeprefix("python ").split()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, str(ROOT / program), *arguments],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_as_written(place: Path) -> None:
    """Generate; tweak; search a grid by a text; read the models with plain transformers."""
    command = "python examples/generate_data.py --model tiny/model --save_dir data/ --device cpu --num_samples 5"
    made = run_example(command, place)
    assert made.returncode == 0, made.stderr
    [data] = (place / "data").iterdir()
    assert data.name == f"normtweaking_calibration_data_tiny-model_{LENGTH}token_5samples.safetensors"
    assert data.name in made.stdout
    tensors = load_file(data)
    assert tensors.keys() == {f"sample_{index}" for index in range(5)}
    assert {(tensor.dtype, tuple(tensor.shape)) for tensor in tensors.values()} == {(torch.int64, (LENGTH,))}

    command = f"python examples/tweak_model.py --model tiny/model --data data/{data.name}"
    tweaked = run_example(command, place)
    assert tweaked.returncode == 0, tweaked.stderr
    saved = re.search(r"saved: (models/\S+)", tweaked.stdout)
    assert saved is not None
    assert difference(place / saved[1], place / "tiny/model") > 0

    command += " --save_dir models --device cpu --grid-search-lr 0 0.01 --grid-search-scale 0.5 5"
    found = run_example(f"{command} --perplexity-text wiki.txt {other_quantizer(place)}", place)
    assert found.returncode == 0, found.stderr
    table = re.findall(r"^([\d.e-]+) +([\d.]+) +([\d.]+)$", found.stdout, re.MULTILINE)
    assert {row[:2] for row in table} == {("0", "0.5"), ("0.01", "0.5"), ("0.01", "5")}
    assert [float(row[2]) for row in table] == sorted(float(row[2]) for row in table)
    best = re.search(r"best: lr (\S+), scale (\S+), in (\S+)", found.stdout)
    assert best is not None
    assert (best[1], best[2]) == table[0][:2]
    assert best[3] != saved[1]
    AutoModelForCausalLM.from_pretrained(place / best[3])


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """Bad arguments end with code 2 and a hint, before anything is written."""
    found = run_example(
        "python examples/tweak_model.py --model gpt2 --data none.safetensors --save_dir models", tmp_path
    )
    assert found.returncode == 2
    assert "none.safetensors" in found.stderr
    assert "hint" in found.stderr
    assert not list(tmp_path.iterdir())


def other_quantizer(place: Path) -> str:
    """Options for a file of weights as transformers saves the bare model, and for k-means."""
    model: Any = AutoModelForCausalLM.from_pretrained(place / "tiny/model")
    if model.config.model_type != "gpt2":
        return "--quantizer k-means --nbits 2 --group-size 4"
    model.transformer.save_pretrained(place / "bare")
    return "--quantizer precomputed --precomputed-tensors-path bare/model.safetensors"


def difference(one: Path, other: Path) -> float:
    """Largest of the logits of two models."""
    models = [AutoModelForCausalLM.from_pretrained(folder) for folder in (one, other)]
    tokens = torch.arange(3, 3 + LENGTH)[None]
    with torch.no_grad():
        return float((models[0](tokens).logits - models[1](tokens).logits).abs().max())
