"""Compress an HMM by k-means: every entry becomes the nearest of 2^bits centroids of its matrix.

    python scripts/test_kmeans.py --bits 6 --output_path runs/k-means-6
    python scripts/test_kmeans.py --bits 4 --unnormalised

Prints how many centroids the matrices use, what is left of the sums of rows and of the entries that were possible, and
what the model loses on sequences drawn from itself. The HMM that is written has rows that sum to 1 and loads like any
other.
"""

from __future__ import annotations

import argparse

import torch

from ctrlg.console import as_program
from ctrlg.evaluation.benchmark import float_hmm
from ctrlg.folders import HMM_FOLDER, atomic_folder, check_folder
from ctrlg.hmm import HMM
from ctrlg.quantization import kl_sequence
from ctrlg.quantization.baselines import find_method
from ctrlg.quantization.loading import hmm_folder


def main() -> None:
    arguments = parse_arguments()
    method = find_method("k-means-unnormalised" if arguments.unnormalised else "k-means")
    if arguments.output_path:
        check_folder(arguments.output_path, HMM_FOLDER, [hmm_folder(arguments.hmm_model_path)])
    reference = float_hmm(arguments.hmm_model_path)
    matrices = {"transition": reference.transition.to_dense(), "emission": reference.emission.to_dense()}
    rows = {name: method(p, arguments.bits) for name, p in matrices.items()}
    for name, q in rows.items():
        sums = q.double().sum(1)
        gone = float(((q == 0) & (matrices[name] > 0)).double().mean())
        print(
            f"{name} {tuple(q.shape)}: {len(q[:1].unique())} values in its first row, rows sum to "
            f"{sums.min():.4f} to {sums.max():.4f}, {100 * gone:.2f} % of the entries became 0"
        )
    if arguments.unnormalised:
        return
    compressed = HMM.of_parameters(
        rows["transition"], rows["emission"], reference.initial, reference.eos_token_id, reference.fingerprint
    )
    with torch.no_grad():
        loss = kl_sequence(reference, compressed, sequences=arguments.sequences, length=24, seed=arguments.seed)
    print(f"lost on {arguments.sequences} sequences of its own: {loss.mean:.4f} ± {loss.error:.4f} nats per token")
    if arguments.output_path:
        with atomic_folder(arguments.output_path, HMM_FOLDER) as folder:
            compressed.save_pretrained(folder)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bits", type=int, default=6, help="2^bits centroids (%(default)s)")
    parser.add_argument("--unnormalised", action="store_true", help="rows as rounding leaves them; writes nothing")
    parser.add_argument("--hmm_model_path", default="default", help="folder or hub id of an HMM (%(default)s)")
    parser.add_argument("--output_path", default="", help="folder for the compressed HMM")
    parser.add_argument("--sequences", type=int, default=300, help="that the loss is measured on (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
