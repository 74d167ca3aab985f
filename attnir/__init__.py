"""attnir: a compiler for attention patterns.

Declare which tokens may look at which; attnir proves which tiles of the score matrix are live and generates the
kernels, forward and backward, that visit only those.

>>> import attnir as an, torch
>>> pattern = an.causal() & (an.window(256) | an.mask(lambda q, k: k < 4))
>>> attn = an.compile(pattern)
>>> q = k = v = torch.randn(1, 4, 1000, 64)
>>> attn(q, k, v).shape
torch.Size([1, 4, 1000, 64])
"""

from attnir import catalog, route
from attnir.api import Attention, compile
from attnir.biases import alibi, alibi_slopes, relative_bias, softcap
from attnir.branches import combine, merge
from attnir.certificate import Certificate
from attnir.codegen.cache import CacheInfo, cache_info
from attnir.codegen.targets import Config
from attnir.errors import AttnirError
from attnir.factors import Factor, dropout, factor
from attnir.facts import Field, Selection, field, param, selection, tensor
from attnir.functions import clip, exp, log, maximum, minimum, random, sigmoid, sqrt, tanh, where
from attnir.heads import Heads
from attnir.masks import Mask, causal, full, mask, window
from attnir.neighborhood import neighborhood
from attnir.normalizers import relu2, softmax, weights
from attnir.per_head import per_head
from attnir.reference import reference
from attnir.requests import (
    Statistic,
    fai,
    gradient_received,
    received_mass,
    row_mean,
    segment_mass,
    value_norm_mass,
    waad,
)
from attnir.scores import Pattern, Score, multiplicity, parse, pattern, score
from attnir.space import Space, concat, grid
from attnir.transpose import transpose
from attnir.verify import Report, verify
from attnir.weighing import Weights

__version__ = "0.1.0"

__all__ = [
    "Attention",
    "AttnirError",
    "CacheInfo",
    "Certificate",
    "Config",
    "Factor",
    "Field",
    "Heads",
    "Mask",
    "Pattern",
    "Report",
    "Score",
    "Selection",
    "Space",
    "Statistic",
    "Weights",
    "alibi",
    "alibi_slopes",
    "cache_info",
    "catalog",
    "causal",
    "clip",
    "combine",
    "compile",
    "concat",
    "dropout",
    "exp",
    "factor",
    "fai",
    "field",
    "full",
    "gradient_received",
    "grid",
    "log",
    "mask",
    "maximum",
    "merge",
    "minimum",
    "multiplicity",
    "neighborhood",
    "param",
    "parse",
    "pattern",
    "per_head",
    "random",
    "received_mass",
    "reference",
    "relative_bias",
    "relu2",
    "route",
    "row_mean",
    "score",
    "segment_mass",
    "selection",
    "sigmoid",
    "softcap",
    "softmax",
    "sqrt",
    "tanh",
    "tensor",
    "transpose",
    "value_norm_mass",
    "verify",
    "waad",
    "weights",
    "where",
    "window",
]
