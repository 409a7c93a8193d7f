"""Norm-Q's files of clusters: loaded without pickles, of its shapes, and nobody's else overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from ctrlg.errors import ArgumentError
from ctrlg.quantization.baselines.cluster_files import check_cluster_folder, write_clusters
from ctrlg.quantization.baselines.k_means import cluster, cluster_logs

P = torch.tensor([[0.5, 0.25, 0.25], [0.0, 0.4, 0.6]])


def test_they_are_what_the_notebook_loads(tmp_path: Path) -> None:
    clusters = {"alpha_exp": cluster(P, 2), "beta": cluster_logs(P.log(), 3)}
    files = write_clusters(tmp_path, clusters, 3, {"hmm": "default"})
    names = [f"{name}3{what}.pt" for name in clusters for what in ("", "labels", "centroids")]
    assert [file.name for file in files] == names
    for name, expected in clusters.items():
        values, labels, centroids = (torch.load(file, weights_only=True) for file in files[:3])
        files = files[3:]
        assert torch.equal(values, expected.values()), name
        assert (labels.shape, labels.dtype, centroids.shape) == ((6,), torch.int32, (8, 1))
        assert torch.equal(centroids[labels].reshape(2, 3), values)
    assert json.loads((tmp_path / "clusters3.json").read_text()) == {"hmm": "default"}


def test_files_of_others_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "beta3.pt").write_text("mine")
    clusters = {"beta": cluster_logs(P.log(), 3)}
    with pytest.raises(ArgumentError, match=r"beta3\.pt is there already"):
        write_clusters(tmp_path, clusters, 3, {})
    assert (tmp_path / "beta3.pt").read_text() == "mine" and len(list(tmp_path.iterdir())) == 1
    check_cluster_folder(tmp_path, clusters, 4)  # other bits, other names
    for _ in range(2):  # our own may be written again
        write_clusters(tmp_path / "ours", clusters, 3, {})
