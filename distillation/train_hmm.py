"""EM on sampled sequences, from one checkpoint to the next.

    python distillation/train_hmm.py --hmm runs/hmm --checkpoint 0 --data runs/samples \\
        --dataset commongen --total_chunks 8 --em_schedule "4,8" --batch_size 256 --save_per_step 8 \\
        --log_file runs/hmm/log.jsonl --prior_strength 200 --plot runs/hmm/training.png
    python distillation/train_hmm.py ... --quantization_step 20 --bits 8  # Norm-Q aware EM
    torchrun --nproc_per_node 2 distillation/train_hmm.py ...

Ctrl-G's and Norm-Q's names of options are understood, too. It reads HMM/checkpoint-N, DATA/DATASET.train.i and
DATA/DATASET.dev.
An EM schedule "10,1;5,2" is ten steps over one chunk each, then five over two; a checkpoint is numbered by the chunks
read. The last checkpoint is always written, the one with the best dev likelihood to HMM/best.

A run that was stopped, however, goes on when the same command is given again, and ends with the same checkpoint and
log. To see that for yourself, kill a run ten times, finish it, and compare it with one that was left alone:

    for i in $(seq 10); do timeout -s KILL $((RANDOM % 15 + 10)) python distillation/train_hmm.py ...; done
    python distillation/train_hmm.py ... && cmp runs/{killed,whole}/checkpoint-8/model.safetensors

The log is JSON lines. A log named *.txt or *.tsv has Ctrl-G's lines instead: the settings, then checkpoint, train and
dev log-likelihood in nats per sequence, with tabs between them.
"""

from __future__ import annotations

from ctrlg.cli.distillation import train
from ctrlg.terminal.program import Program

PROGRAM = Program(train, "train_hmm.py", __doc__, defaults={"device": None})

if __name__ == "__main__":
    PROGRAM.main()
