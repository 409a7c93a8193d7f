"""Compress an HMM by k-means, as Norm-Q does: every entry becomes the nearest of 2^bits centroids of its matrix.

    python scripts/test_kmeans.py
    python scripts/test_kmeans.py --bits 8 --hmm_model_path runs/hmm/best --save_tensors data
    python scripts/test_kmeans.py --bits 4 --probabilities --output_path runs/k-means-4
    python scripts/test_kmeans.py --bits 4 --unnormalised

Like Norm-Q's script it clusters the logarithms of emission (beta) and initial distribution (gamma), and the transition
(alpha_exp) as probabilities; --probabilities clusters all three as probabilities, as the method k-means of
docs/methods.md does. The tensors that Norm-Q's notebook loads, alpha_exp6.pt, alpha_exp6labels.pt,
alpha_exp6centroids.pt and those of beta and gamma, are written to --save_tensors.

Prints how many centroids the matrices use, what is left of the sums of rows and of the entries that were possible, and
what the model loses on sequences drawn from itself. The HMM of --output_path has rows that sum to 1 and loads like any
other.
"""

from __future__ import annotations

import argparse

import torch

from ctrlg.evaluation.benchmark import float_hmm
from ctrlg.files.folders import HMM_FOLDER, atomic_folder, check_folder
from ctrlg.hmm import HMM
from ctrlg.inspection import kl_sequence
from ctrlg.loading.hmms import hmm_folder
from ctrlg.quantization.baselines.cluster_files import check_cluster_folder, write_clusters
from ctrlg.quantization.baselines.k_means import Clusters, cluster, cluster_logs
from ctrlg.quantization.norm_q import EPS
from ctrlg.quantization.rows import check_bits, normalise_rows_
from ctrlg.terminal.console import as_program, say
from ctrlg.terminal.flags import PlainArgumentParser

LOGS = {"alpha_exp": False, "beta": True, "gamma": True}
"""Which of Ctrl-G's parameters are logarithms."""


def main() -> None:
    arguments = parse_arguments()
    check_bits(arguments.bits, 8)
    if arguments.save_tensors:
        check_cluster_folder(arguments.save_tensors, LOGS, arguments.bits)
    if arguments.output_path:
        check_folder(arguments.output_path, HMM_FOLDER, [hmm_folder(arguments.hmm_model_path)])
    reference = float_hmm(arguments.hmm_model_path, arguments.device)
    clusters = {name: clusters_of(reference, name, arguments) for name in LOGS}
    if arguments.save_tensors:
        save(clusters, arguments)
    rows = {name: found.values() for name, found in clusters.items()}
    if not arguments.probabilities:
        rows |= {name: rows[name].exp_() for name, in_logs in LOGS.items() if in_logs}
    for name, q in rows.items():
        report(name, q, clusters[name], reference)
    if arguments.unnormalised:
        return
    transition, emission, initial = (normalise_rows_(torch.atleast_2d(rows[name]), EPS) for name in LOGS)
    compressed = HMM.of_parameters(transition, emission, initial[0], reference.eos_token_id, reference.fingerprint)
    with torch.no_grad():
        loss = kl_sequence(reference, compressed, sequences=arguments.sequences, length=24, seed=arguments.seed)
    say(f"lost on {arguments.sequences} sequences of its own: {loss.mean:.4f} ± {loss.error:.4f} nats per token")
    if arguments.output_path:
        with atomic_folder(arguments.output_path, HMM_FOLDER) as folder:
            compressed.save_pretrained(folder)


def clusters_of(reference: HMM, name: str, arguments: argparse.Namespace) -> Clusters:
    """Of one parameter, in its own shape."""
    values = getattr(reference, name).detach()
    shape = values.shape
    values = torch.atleast_2d(values)
    if LOGS[name] and not arguments.probabilities:
        found = cluster_logs(values, arguments.bits, arguments.seed)
    else:
        found = cluster(values.exp() if LOGS[name] else values, arguments.bits, arguments.seed)
    return found._replace(labels=found.labels.reshape(shape))


def save(clusters: dict[str, Clusters], arguments: argparse.Namespace) -> None:
    """Write Norm-Q's files, the matrices in the space they are clustered in."""
    logs = [] if arguments.probabilities else [name for name, in_logs in LOGS.items() if in_logs]
    note = {"hmm": arguments.hmm_model_path, "bits": arguments.bits, "seed": arguments.seed, "logarithms": logs}
    files = write_clusters(arguments.save_tensors, clusters, arguments.bits, note)
    size = sum(file.stat().st_size for file in files)
    say(f"{len(files)} tensors in {arguments.save_tensors}, {size / 1e6:,.0f} MB: {', '.join(f.name for f in files)}")


def report(name: str, q: torch.Tensor, found: Clusters, reference: HMM) -> None:
    """q: the probabilities that the clusters leave."""
    rows = torch.atleast_2d(q)
    p = torch.atleast_2d(getattr(reference, name).detach())
    possible = p > -torch.inf if LOGS[name] else p > 0
    sums = rows.double().sum(1)
    gone = float(((rows == 0) & possible).double().mean())
    say(
        f"{name} {tuple(q.shape)}: {len(found.centroids)} centroids, {len(rows[:1].unique())} in its first row, rows "
        f"sum to {sums.min():.4f} to {sums.max():.4f}, {100 * gone:.2f} % of the entries became 0"
    )


def parse_arguments() -> argparse.Namespace:
    parser = PlainArgumentParser(__doc__)
    parser.add_argument("--bits", type=int, default=6, help="2^bits centroids (%(default)s)")
    parser.add_argument("--probabilities", action="store_true", help="cluster no logarithms")
    parser.add_argument("--unnormalised", action="store_true", help="rows as rounding leaves them; writes no HMM")
    parser.add_argument("--hmm_model_path", default="default", help="folder or hub id of an HMM (%(default)s)")
    parser.add_argument(
        "--save_tensors", default="runs/k-means", help="folder for Norm-Q's .pt files (%(default)s); '': write none"
    )
    parser.add_argument("--output_path", default="", help="folder for the compressed HMM")
    parser.add_argument("--sequences", type=int, default=300, help="that the loss is measured on (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the first centroids and the sequences")
    parser.add_device()
    return parser.parse_args()


if __name__ == "__main__":
    with as_program():
        main()
