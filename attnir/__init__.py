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
from attnir.certificate import Certificate
from attnir.codegen.cache import CacheInfo, cache_info
from attnir.codegen.targets import Config
from attnir.errors import AttnirError
from attnir.factors import Factor, dropout, factor
from attnir.facts import Field, Selection, field, param, selection, tensor
from attnir.functions import clip, exp, log, maximum, minimum, random, sigmoid, sqrt, tanh, where
from attnir.graph.choosing import csr
from attnir.graph.edges import Facts, Lists, Part, Rows, Tokens
from attnir.graph.graph import Graph
from attnir.graph.tracing import (
    attend,
    choose,
    clusters,
    combine,
    epilogue,
    fold,
    gather,
    graph,
    hash_buckets,
    merge,
    pack,
    places,
    positions,
    project,
    repeat,
    scatter,
    summarise,
    unfold,
)
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
    "Facts",
    "Field",
    "Graph",
    "Heads",
    "Lists",
    "Mask",
    "Part",
    "Pattern",
    "Report",
    "Rows",
    "Score",
    "Selection",
    "Space",
    "Statistic",
    "Tokens",
    "Weights",
    "alibi",
    "alibi_slopes",
    "attend",
    "cache_info",
    "catalog",
    "causal",
    "choose",
    "clip",
    "clusters",
    "combine",
    "compile",
    "concat",
    "csr",
    "dropout",
    "epilogue",
    "exp",
    "factor",
    "fai",
    "field",
    "fold",
    "full",
    "gather",
    "gradient_received",
    "graph",
    "grid",
    "hash_buckets",
    "log",
    "mask",
    "maximum",
    "merge",
    "minimum",
    "multiplicity",
    "neighborhood",
    "pack",
    "param",
    "parse",
    "pattern",
    "per_head",
    "places",
    "positions",
    "project",
    "random",
    "received_mass",
    "reference",
    "relative_bias",
    "relu2",
    "repeat",
    "route",
    "row_mean",
    "scatter",
    "score",
    "segment_mass",
    "selection",
    "sigmoid",
    "softcap",
    "softmax",
    "sqrt",
    "summarise",
    "tanh",
    "tensor",
    "transpose",
    "unfold",
    "value_norm_mass",
    "verify",
    "waad",
    "weights",
    "where",
    "window",
]
