"""Look-ahead: how likely a constraint is kept from every automaton state and hidden state, in the tokens left."""
