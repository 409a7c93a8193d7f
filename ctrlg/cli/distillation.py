"""The commands `ctrlg distill`, `train` and `quantize`; what they import, they import when they run."""

from __future__ import annotations

from pathlib import Path

from ctrlg.arguments import AboveZero, Natural, check, checked
from ctrlg.defaults import BITS, METHOD
from ctrlg.distillation.em.settings import TrainingSettings
from ctrlg.distillation.pipeline_settings import DistillationSettings
from ctrlg.terminal.console import new_console, say
from ctrlg.terminal.program import Program, command_as_typed


def distill(settings: DistillationSettings) -> None:
    """Turn a language model into a compressed HMM: sample, cluster, train, compress."""
    from ctrlg.distillation.pipeline import distill as run

    console = new_console()
    result = run(settings, console)
    outcome = result.outcome
    console.print(
        f"nats per held-out token: language model {outcome.language_model:.3f}, HMM {outcome.trained:.3f}, "
        f"compressed {outcome.compressed:.3f}, unigram {outcome.unigram:.3f}\n"
        f"{outcome.float_bytes:,} bytes -> {outcome.file_bytes:,} in {result.folder}; "
        f"the card is {settings.output}/README.md\n"
        f"ctrlg generate --model {settings.model} --hmm {result.folder} --keywords ...",
        highlight=False,
        soft_wrap=True,
    )


@checked
def train(
    settings: TrainingSettings, plot: Path | None = None, device: str | None = "cpu", timeout: AboveZero | None = None
) -> None:
    """EM on sampled sequences, Norm-Q aware if asked; goes on where it was stopped.

    Args:
        plot: likelihood over steps, .png or .svg.
        device: cpu or cuda; where None cuda if there is one.
        timeout: seconds to wait for another process; half an hour where None.
    """
    from ctrlg.distillation.em.plot import check_plot, plot_training
    from ctrlg.distillation.em.trainer import train as run
    from ctrlg.distillation.processes import TIMEOUT_SECONDS, joined_processes

    if plot is not None:
        check_plot(settings.log_file, plot)
    with joined_processes(device, timeout or TIMEOUT_SECONDS) as processes:
        run(settings, processes)
    if plot is not None and processes.rank == 0:
        plot_training(settings.log_file, plot, command=command_as_typed())


@checked
def quantize(
    hmm: str,
    output: Path,
    method: str = METHOD,
    bits: int = BITS,
    max_bytes: int | None = None,
    threshold: float | None = None,
    layout: str = "auto",
    initial: bool | None = None,
    refine: Natural = 0,
) -> None:
    """Compress an HMM.

    Args:
        hmm: folder or hub id of an HMM, or 'default'.
        output: folder to write.
        method: norm-q or log-norm-q, or another stored method of docs/methods.md.
        bits: of a code, 1 to 8.
        max_bytes: size budget in bytes (log-norm-q).
        threshold: least gain of a kept entry, nats per token (log-norm-q).
        layout: auto, dense or sparse.
        initial: quantize the initial distribution, too; by default with norm-q.
        refine: then so many steps of EM on samples of the HMM, in the same bytes.
    """
    from ctrlg.distillation.progress import StageBars
    from ctrlg.files.folders import HMM_FOLDER, atomic_folder, check_folder
    from ctrlg.hmm import HMM
    from ctrlg.loading import load_hmm
    from ctrlg.loading.hmms import hmm_folder
    from ctrlg.quantization import quantize as compress
    from ctrlg.quantization import refine as improve

    check(compress, method=method, bits=bits, layout=layout, threshold=threshold, max_bytes=max_bytes)
    options = {"layout": layout, "threshold": threshold, "max_bytes": max_bytes, "initial": initial}
    check_folder(output, HMM_FOLDER, [hmm])  # before an HMM is fetched
    with atomic_folder(output, HMM_FOLDER, [hmm_folder(hmm)]) as folder:
        opened = load_hmm(hmm)
        model = opened if isinstance(opened, HMM) else opened.dequantize()
        compressed = compress(model, method, bits, **options)
        if refine:
            with StageBars() as bars:
                compressed = improve(
                    compressed, model, refine, report=lambda step: bars("refining", step.step, step.steps)
                )
        compressed.save_pretrained(folder)
    say(f"{model.nbytes:,} bytes -> {compressed.packed_nbytes:,} bytes in {output}")


PROGRAMS = {
    "distill": Program(
        distill,
        "ctrlg distill",
        examples="""
Examples:

  ctrlg distill HuggingFaceTB/SmolLM2-135M-Instruct runs/mine --hidden-states 512 --sequences 50000

  ctrlg distill runs/my-model runs/quick --hidden-states 64 --sequences 1000 --held-out 200 --max-new-tokens 24

  ctrlg distill gpt2 runs/stories --prompts prompts.txt --max-new-tokens 128 --device cuda

A job that was stopped goes on when the same command is given again.
""",
    ),
    "train": Program(
        train,
        "ctrlg train",
        examples="""
Examples:

  ctrlg train runs/hmm runs/samples commongen --em-schedule "4,8" --total-chunks 8 --prior-strength 300

  ctrlg train runs/hmm runs/samples commongen --em-schedule "100,1" --quantization-step 20 --quantization-bits 4 \\
      --plot runs/hmm/training.png

Several processes: torchrun --nproc_per_node 4 distillation/train_hmm.py, with the same meaning.
""",
    ),
    "quantize": Program(
        quantize,
        "ctrlg quantize",
        examples="""
Examples:

  ctrlg quantize runs/hmm/best runs/hmm-4bit --method log-norm-q --bits 4 --max-bytes 2000000

  ctrlg quantize runs/hmm/best runs/hmm-tiny --bits 4 --max-bytes 100000 --refine 6

  ctrlg quantize runs/hmm/best runs/hmm-norm-q --method norm-q --bits 8
""",
    ),
}
