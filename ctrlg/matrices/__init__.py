"""Row-stochastic matrices behind one interface: dense and compressed, the same operations on both."""

from ctrlg.matrices.base import StochasticMatrix
from ctrlg.matrices.compressed import CompressedMatrix, RowEntries
from ctrlg.matrices.dense import DenseMatrix
from ctrlg.matrices.quantized_rows import QuantizedRows
from ctrlg.matrices.wrapped import WrappedMatrix

__all__ = ["CompressedMatrix", "DenseMatrix", "QuantizedRows", "RowEntries", "StochasticMatrix", "WrappedMatrix"]
