"""From a name to what it stands for: language models, tokenizers, HMMs, and the pairs that the package brings."""

from ctrlg.loading.hmms import load_hmm
from ctrlg.loading.language_models import load_language_model, load_tokenizer
from ctrlg.loading.pairs import load_pair

__all__ = ["load_hmm", "load_language_model", "load_pair", "load_tokenizer"]
