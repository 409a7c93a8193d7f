"""Cross-entropy of token rows under a causal language model, without ever holding the logits of a whole batch.

The output layer is applied to blocks of tokens. A block's logits turn at once into its loss, sum_t [log sum_v
exp(l_tv) - l_t,x(t)], and, in training, into the gradient softmax(l) - onehot(x) times the layer's weight. The
logits of all tokens in float32 would be the largest tensor of a small model's step, written only to be read once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

IGNORED = -100  # label of what predicts nothing, as torch.nn.functional.cross_entropy expects
BLOCKS = {"cpu": 256}  # tokens whose logits exist at a time, by device
BLOCK = 4096  # on any other: 0.8 GB of float32 logits over 49,152 tokens, in few launches


class TokenBatch(NamedTuple):
    """Rows of a batch, padded on the right.

    Attributes:
        ids: int64 [B, T], all tokens but each row's last.
        targets: int64 [B, T], the tokens that follow; IGNORED where there is none.
    """

    ids: Tensor
    targets: Tensor


def token_batch(rows: Sequence[Sequence[int]], device: torch.device) -> TokenBatch:
    """The batch of token rows of two tokens or more each.

    Args:
        rows: token ids, two or more each.
        device: of the batch.
    """
    width = max(map(len, rows))
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    labels = torch.full((len(rows), width), IGNORED)
    for index, row in enumerate(rows):
        labels[index, : len(row)] = ids[index, : len(row)] = torch.tensor(row)
    return TokenBatch(ids[:, :-1].to(device), labels[:, 1:].to(device))


def token_loss(model: Any, rows: Sequence[Sequence[int]], blockwise: bool = True) -> Tensor:
    """Mean cross-entropy in nats over the tokens after the first of each row, float32 scalar.

    Args:
        model: a causal language model of transformers; computes in the precision of its weights.
        rows: token ids, two or more each.
        blockwise: apply the output layer to blocks of tokens; only for models whose logits are that layer's output
            (`has_plain_head`).
    """
    ids, targets = token_batch(rows, next(model.parameters()).device)
    predicted = targets != IGNORED
    # Padding stands on the right, where a causal model cannot see it: no attention mask is needed.
    if not blockwise:
        logits = model(input_ids=ids, use_cache=False).logits[predicted]
        return nn.functional.cross_entropy(logits.float(), targets[predicted])
    hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state[predicted]
    head = model.get_output_embeddings()
    loss: Any = _BlockwiseCrossEntropy.apply(
        hidden, head.weight, head.bias, targets[predicted], torch.is_grad_enabled()
    )
    return loss


@torch.no_grad()
def held_out_loss(model: Any, rows: Sequence[Sequence[int]], batch_size: int) -> float:
    """Nats per predicted token (end-of-text included) of token rows under a causal language model.

    Args:
        model: a causal language model of transformers.
        rows: token ids, two or more each.
        batch_size: rows at once.
    """
    blockwise = has_plain_head(model)
    ordered = sorted(rows, key=len)
    total, count = 0.0, 0
    for start in range(0, len(ordered), batch_size):
        batch = ordered[start : start + batch_size]
        tokens = sum(len(row) - 1 for row in batch)
        total += token_loss(model, batch, blockwise).item() * tokens
        count += tokens
    return total / count


@torch.no_grad()
def has_plain_head(model: Any) -> bool:
    """Whether the logits are a linear layer of the decoder's last hidden state, and nothing is done to them after.

    Found out by trying: some models scale their logits, or cap them.

    Args:
        model: a causal language model of transformers.
    """
    head = model.get_output_embeddings()
    if type(head) is not nn.Linear:
        return False
    was_training = model.training
    model.eval()
    ids = torch.arange(4, device=head.weight.device)[None] % head.weight.shape[0]
    hidden = model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state
    logits = model(input_ids=ids, use_cache=False).logits
    model.train(was_training)
    same = hidden.shape[-1] == head.weight.shape[1] and torch.allclose(head(hidden), logits, rtol=5e-3, atol=1e-3)
    return bool(same)


class _BlockwiseCrossEntropy(torch.autograd.Function):
    """Mean cross-entropy of `hidden @ weight.T + bias`; all gradients are made in the forward pass, block by block."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, training: bool
    ) -> Tensor:
        of_hidden, of_weight, of_bias = (needed and training for needed in ctx.needs_input_grad[:3])
        ctx.set_materialize_grads(False)
        grad_hidden = torch.empty_like(hidden) if of_hidden else None
        # Sums over many blocks: float32, whatever the model computes in.
        grad_weight = torch.zeros_like(weight, dtype=torch.float32) if of_weight else None
        grad_bias = torch.zeros_like(bias, dtype=torch.float32) if of_bias and bias is not None else None
        total = torch.zeros((), dtype=torch.float32, device=hidden.device)
        block = BLOCKS.get(hidden.device.type, BLOCK)
        for start in range(0, len(hidden), block):
            rows, truth = hidden[start : start + block], targets[start : start + block, None]
            logits = nn.functional.linear(rows, weight, bias).float()
            normaliser = logits.logsumexp(1, keepdim=True)
            total += (normaliser - logits.gather(1, truth)).sum()
            if grad_hidden is None and grad_weight is None and grad_bias is None:
                continue
            residual = logits.sub_(normaliser).exp_()
            residual.scatter_add_(1, truth, torch.full_like(truth, -1, dtype=residual.dtype))
            rounded = residual.to(weight.dtype)
            if grad_hidden is not None:
                torch.mm(rounded, weight, out=grad_hidden[start : start + block])
            if grad_weight is not None:
                grad_weight += rounded.T @ rows
            if grad_bias is not None:
                grad_bias += residual.sum(0)
        ctx.count = len(hidden)
        ctx.dtype = weight.dtype
        ctx.save_for_backward(grad_hidden, grad_weight, grad_bias)
        return total / len(hidden)

    @staticmethod
    def backward(ctx: Any, *upstream: Tensor) -> tuple[Tensor | None, ...]:
        scale = upstream[0] / ctx.count
        hidden, weight, bias = (None if grad is None else grad * scale for grad in ctx.saved_tensors)
        dtype = ctx.dtype
        return (
            None if hidden is None else hidden.to(dtype),
            None if weight is None else weight.to(dtype),
            None if bias is None else bias.to(dtype),
            None,
            None,
        )
