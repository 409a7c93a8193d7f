"""Compress an HMM by k-means, as Norm-Q does: every entry becomes the nearest of 2^bits centroids of its matrix.

    python scripts/test_kmeans.py
    python scripts/test_kmeans.py --bits 8 --hmm runs/hmm/best --save_tensors data
    python scripts/test_kmeans.py --bits 4 --probabilities --output runs/k-means-4
    python scripts/test_kmeans.py --bits 4 --unnormalised

Like Norm-Q's script it clusters the logarithms of emission (beta) and initial distribution (gamma), and the transition
(alpha_exp) as probabilities; --probabilities clusters all three as probabilities, as the method k-means of
docs/methods.md does. The tensors that Norm-Q's notebook loads, alpha_exp6.pt, alpha_exp6labels.pt,
alpha_exp6centroids.pt and those of beta and gamma, are written to --save_tensors.

Prints how many centroids the matrices use, what is left of the sums of rows and of the entries that were possible, and
what the model loses on sequences sampled from itself. The HMM of --output has rows that sum to 1 and loads like any
other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ctrlg.arguments import Positive, Seed, checked
from ctrlg.terminal.console import say
from ctrlg.terminal.program import Program

if TYPE_CHECKING:
    from ctrlg.hmm import HMM
    from ctrlg.quantization.baselines.k_means import Clusters

LOGS = {"alpha_exp": False, "beta": True, "gamma": True}
"""Which of Ctrl-G's parameters are logarithms."""


@checked
def main(
    bits: int = 6,
    probabilities: bool = False,
    unnormalised: bool = False,
    hmm: str = "default",
    save_tensors: str = "runs/k-means",
    output: str = "",
    sequences: Positive = 300,
    seed: Seed = 0,
    device: str = "cpu",
) -> None:
    """Compress an HMM by k-means.

    Args:
        bits: 2^bits centroids.
        probabilities: cluster no logarithms.
        unnormalised: rows as rounding leaves them; writes no HMM.
        hmm: folder or hub id of an HMM, or 'default'.
        save_tensors: folder for Norm-Q's .pt files; none are written where empty.
        output: folder for the compressed HMM.
        sequences: that the loss is measured on.
        seed: of the first centroids and the sequences.
        device: cpu or cuda.
    """
    import torch

    from ctrlg.evaluation.benchmark import float_hmm
    from ctrlg.files.folders import HMM_FOLDER, atomic_folder, check_folder
    from ctrlg.hmm import HMM
    from ctrlg.inspection import kl_sequence
    from ctrlg.loading.hmms import hmm_folder
    from ctrlg.quantization.baselines.cluster_files import check_cluster_folder, write_clusters
    from ctrlg.quantization.norm_q import EPS
    from ctrlg.quantization.rows import check_bits, normalise_rows_

    check_bits(bits, 8)
    if save_tensors:
        check_cluster_folder(save_tensors, LOGS, bits)
    if output:
        check_folder(output, HMM_FOLDER, [hmm_folder(hmm)])
    reference = float_hmm(hmm, device)
    in_logs = {name: is_log and not probabilities for name, is_log in LOGS.items()}
    clusters = {name: clusters_of(reference, name, is_log, bits, seed) for name, is_log in in_logs.items()}
    if save_tensors:
        note = {"hmm": hmm, "bits": bits, "seed": seed, "logarithms": [name for name in LOGS if in_logs[name]]}
        files = write_clusters(save_tensors, clusters, bits, note)
        size = sum(file.stat().st_size for file in files)
        say(f"{len(files)} tensors in {save_tensors}, {size / 1e6:,.0f} MB: {', '.join(f.name for f in files)}")
    rows = {name: found.values().exp() if in_logs[name] else found.values() for name, found in clusters.items()}
    for name, q in rows.items():
        report(name, q, clusters[name], reference)
    if unnormalised:
        return
    transition, emission, initial = (normalise_rows_(torch.atleast_2d(rows[name]), EPS) for name in LOGS)
    compressed = HMM.of_parameters(transition, emission, initial[0], reference.eos_token_id, reference.fingerprint)
    with torch.no_grad():
        loss = kl_sequence(reference, compressed, sequences=sequences, length=24, seed=seed)
    say(f"lost on {sequences} sequences of its own: {loss.mean:.4f} ± {loss.error:.4f} nats per token")
    if output:
        with atomic_folder(output, HMM_FOLDER) as folder:
            compressed.save_pretrained(folder)


def clusters_of(reference: HMM, name: str, in_logs: bool, bits: int, seed: int) -> Clusters:
    """Of one parameter, in its own shape. in_logs: cluster the logarithms."""
    import torch

    from ctrlg.quantization.baselines.k_means import cluster, cluster_logs

    values = getattr(reference, name).detach()
    shape = values.shape
    values = torch.atleast_2d(values)
    if LOGS[name] and not in_logs:
        values = values.exp()
    found = (cluster_logs if in_logs else cluster)(values, bits, seed)
    return found._replace(labels=found.labels.reshape(shape))


def report(name: str, q: Any, found: Clusters, reference: HMM) -> None:
    """q: the probabilities that the clusters leave, a tensor."""
    import torch

    rows = torch.atleast_2d(q)
    p = torch.atleast_2d(getattr(reference, name).detach())
    possible = p > -torch.inf if LOGS[name] else p > 0
    sums = rows.double().sum(1)
    gone = float(((rows == 0) & possible).double().mean())
    say(
        f"{name} {tuple(q.shape)}: {len(found.centroids)} centroids, {len(rows[:1].unique())} in its first row, rows "
        f"sum to {sums.min():.4f} to {sums.max():.4f}, {100 * gone:.2f} % of the entries became 0"
    )


PROGRAM = Program(main, "test_kmeans.py", __doc__)

if __name__ == "__main__":
    PROGRAM.main()
