"""From a language model to an HMM: sample, cluster, train, compress."""
