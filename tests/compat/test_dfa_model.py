"""The masks of `DFAModel`: Ctrl-G's shapes and meaning, made when they are read, where the module is."""

from __future__ import annotations

import numpy as np
import torch
from helpers.automata_oracle import Plain, plains, strings
from hypothesis import given, settings

from ctrlg.compat import AhoCorasickBuilder, DFAModel

MASKS = ("VE_mask", "EV_mask", "T_mask", "E2Src", "E2Dst")


@settings(deadline=None, max_examples=60)
@given(plain=plains(symbols=3))
def test_masks_describe_the_automaton(plain: Plain) -> None:
    model = DFAModel(plain.graph(), 3)
    states, edges = model.num_states, len(model.E2Src)
    assert model.VE_mask.shape == (states, edges) and model.EV_mask.shape == (edges, states)
    assert model.T_mask.shape == (edges, 3)
    for edge in range(edges):
        source, target = int(model.E2Src[edge]), int(model.E2Dst[edge])
        assert model.VE_mask[:, edge].nonzero().tolist() == [[source]]
        assert model.EV_mask[edge].nonzero().tolist() == [[target]]
        along = [mask for state, mask in model.G[source] if state == target]
        assert len(along) == 1, "one edge for each pair of states"
        assert np.array_equal(along[0], model.T_mask[edge].bool().numpy())
        for token in along[0].nonzero()[0].tolist():
            assert model.next_state(source, token) == target
    # every state and token has exactly one edge, so a token's mask over next states is a one-hot row
    assert torch.equal(model.VE_mask @ model.T_mask, torch.ones(states, 3))


@settings(deadline=None, max_examples=20)
@given(plain=plains(symbols=2))
def test_walking_by_the_masks_accepts_the_same_strings(plain: Plain) -> None:
    model = DFAModel(plain.graph(), 2)
    for string in strings(2, 4):
        here = torch.nn.functional.one_hot(torch.tensor(model.initial_state), model.num_states).float()
        for token in string:
            here = ((here @ model.VE_mask) * model.T_mask[:, token]) @ model.EV_mask
        (state,) = here.nonzero().flatten().tolist()
        assert (state in model.accept_states) == model.is_accept(state) == (string in plain.language())


def test_masks_have_the_place_and_type_of_the_module() -> None:
    model = DFAModel(AhoCorasickBuilder(6).build([[1, 2]]), 6)
    assert not list(model.parameters()) and not model.state_dict()
    assert all(getattr(model, name).dtype == torch.float32 for name in MASKS[:3])
    before = {name: getattr(model, name) for name in MASKS}
    assert model.to(torch.float64) is model
    assert model.T_mask.dtype == torch.float64 and model.E2Src.dtype == torch.int64
    model = model.to("cpu").to(torch.float32)
    for name in MASKS:
        assert torch.equal(getattr(model, name), before[name])
    assert model.to("meta").VE_mask.is_meta
