"""One spelling for each option of all command lines, and the older ones that are accepted."""

from __future__ import annotations

SPELLINGS = {
    "model": ("base_model", "model_name_or_path"),
    "hmm": ("hmm_model_path", "model_path"),
    "data": ("dataset_path", "data_path", "data_file", "references", "concept_sets"),
    "bits": ("nbits", "quantization_bits", "quantization_bit_width"),
    "output": ("output_path", "output_file", "save_dir"),
    "prompts": ("input_file",),
    "plot": ("figure",),
    "guidance_plot": ("guidance_figure",),
    "layers_plot": ("layers_figure", "draw_layers"),
    "format": ("file_format",),
    "json": ("as_json",),
    "all": ("every",),
    "print": ("print_texts",),
    "results": ("result",),
    "embeddings": ("save_embeddings",),
    "iterations": ("kmeans_iterations",),
    "learning_rate": ("lr",),
    "grid_lr": ("grid_search_lr",),
    "grid_scale": ("grid_search_scale",),
    "weights": ("precomputed_tensors_path",),
    "samples": ("num_samples",),
    "length": ("token_length",),
    "next_tokens": ("draws",),
    "summarize": ("summarise",),
    "no_keep_better": ("keep_worse",),
}
"""The name of an option, and what fields and the projects that this one follows call the same: accepted, not shown."""


def spelled(name: str) -> str:
    """The name of the option that a field or an older spelling means; the name itself where there is no other.

    Args:
        name: with underscores, without dashes before it.
    """
    return next((spelling for spelling, others in SPELLINGS.items() if name in others), name)
