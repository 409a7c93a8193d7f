"""The first HMM: cluster the embeddings of sampled sequences, count states, transitions and emissions.

    python distillation/lvd_hmm.py --sequences_file runs/samples/commongen.lvd \\
        --embeddings_file runs/samples/commongen.lvd.embeddings --hidden_states 512 --vocab_size 49152 \\
        --eos_token_id 0 --model default --output runs/hmm/checkpoint-0 --plot states.png

Ctrl-G's names of options are understood, too. With --model the emissions are *soft*: the mean of that model's softmax
over each cluster, instead of counts. Several files: --sequences_file a b --embeddings_file a.embeddings b.embeddings;
they are read one at a time, twice, and memory does not grow with their number.
"""

from __future__ import annotations

from ctrlg.arguments import Natural, checked
from ctrlg.distillation.first_hmm.settings import LatentSettings
from ctrlg.errors import ArgumentError
from ctrlg.terminal.console import say
from ctrlg.terminal.program import Program


@checked
def main(
    sequences_file: tuple[str, ...],
    embeddings_file: tuple[str, ...],
    settings: LatentSettings,
    output: str,
    model: str = "",
    hard: bool = False,
    next_tokens: Natural = 0,
    plot: str = "",
    device: str | None = None,
) -> None:
    """Make the first HMM.

    Args:
        sequences_file: files of sample_data.py.
        embeddings_file: those of their embeddings, in the same order.
        output: checkpoint folder.
        model: the sampled model, for soft emissions and words.
        hard: count tokens even where a model is named.
        next_tokens: samples of the next-token distribution for every token, left beside the sequences for
            train_hmm.py; 0: none.
        plot: cluster sizes and top words, .png, .svg or .pdf.
        device: cpu or cuda; where None cuda if there is one.
    """
    from ctrlg.devices import checked_device, default_device, fast_dtype
    from ctrlg.distillation.first_hmm.figure import plot_states
    from ctrlg.distillation.first_hmm.latent import latent_variable_distillation, paired_files
    from ctrlg.distillation.progress import StageBars
    from ctrlg.distillation.sampling.next_tokens import describe_next_tokens
    from ctrlg.distillation.sampling.output_layer import output_layer, sampling_temperature
    from ctrlg.figures import check_figure_path
    from ctrlg.files.folders import HMM_FOLDER, atomic_folder, check_folder
    from ctrlg.files.outputs import check_input_file
    from ctrlg.loading.language_models import load_language_model
    from ctrlg.vocabulary.token_bytes import Vocabulary

    files = paired_files(sequences_file, embeddings_file)
    place = str(checked_device(device or default_device()))
    sources = [*sequences_file, *embeddings_file]
    for file in sources:
        check_input_file(file, "the samples")
    sources += [model] if model else []
    check_folder(output, HMM_FOLDER, sources)
    if plot:
        check_figure_path(plot)
        if not model:
            raise ArgumentError("--plot shows words", hint="name the sampled model with --model")
    if next_tokens and (hard or not model):
        raise ArgumentError(
            "--next_tokens describes what the language model expected",
            hint="name the sampled model with --model, and leave out --hard",
        )
    head, tokenizer, fingerprint = None, None, None
    with StageBars() as bars:
        with atomic_folder(output, HMM_FOLDER, sources) as temporary:
            if model:
                loaded, tokenizer = load_language_model(model, place, fast_dtype(place))
                fingerprint = Vocabulary.of(tokenizer, settings.vocab_size, settings.eos_token_id).fingerprint
                if not hard:
                    head = output_layer(loaded, sampling_temperature(sequences_file))
            hmm, sizes = latent_variable_distillation(files, settings, head, fingerprint, place, bars)
            hmm.save_pretrained(temporary)
        for number, file in enumerate(files if next_tokens else [], start=1):
            seed = settings.seed * len(files) + number
            describe_next_tokens(*file, head, next_tokens, settings.vocab_size, settings.eos_token_id, seed)
            bars("sampling next tokens", number, len(files))
    if plot:
        plot_states(hmm, sizes, tokenizer, plot)
    say(f"the first HMM, {settings.hidden_states:,} states, is in {output}")


PROGRAM = Program(main, "lvd_hmm.py", __doc__)

if __name__ == "__main__":
    PROGRAM.main()
