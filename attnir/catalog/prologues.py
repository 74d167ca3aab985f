"""Mechanisms whose idea lies in what q, k and v are: a few lines of torch, and then plain attention."""

from __future__ import annotations

from attnir.catalog.registry import Example, entry
from attnir.masks import Mask, causal, full


@entry(
    "self-self",
    source="Grounding Everything: Emerging Localization Properties in Vision-Language Transformers; WalBouss/GEM",
    example=Example({}, q_len=32),
)
def self_self() -> Mask:
    """Everything sees everything, with q = k: tokens gather round their like, and then take the values there.

    The queries, the keys and the values of a layer each play the tokens; the results are averaged. The gradient of the
    tokens is the sum of that of q and that of k, which torch adds up.

    >>> import attnir as an, torch
    >>> from torch.nn.functional import normalize
    >>> attn = an.compile(an.catalog.build("self-self"))
    >>> def self_self(x, v, tau=10.0, steps=1):
    ...     x = normalize(x, dim=-1)
    ...     for _ in range(steps):
    ...         x = normalize(attn(x, x, x, scale=tau), dim=-1)
    ...     return attn(x, x, v, scale=tau)
    >>> q, k, v = torch.randn(3, 1, 2, 12, 16)
    >>> torch.stack([self_self(x, v) for x in (q, k, v)]).mean(0).shape
    torch.Size([1, 2, 12, 16])
    """
    return full()


@entry(
    "coca",
    source="CoCA: Fusing Position Embedding with Collinear Constrained Attention in Transformers for Long Context "
    "Window Extending",
    example=Example({}, q_len=32),
)
def coca() -> Mask:
    """Causal; the key of each pair of columns lies along the query: scores are of |q|^2 t cos((i - j) theta).

    That sum over the pairs of columns is a plain product of (|q|^2, 0), rotated by the query's position, and (t, 0),
    rotated by the key's, where t = relu(key projection) has one number for each pair. This is the paper's form; the
    code that was published with it computes another.

    >>> import attnir as an, torch
    >>> def rotated(x, theta):  # (x, 0) of each pair of columns, turned by the position
    ...     angle = torch.arange(x.shape[-2])[:, None] * theta
    ...     return torch.cat([x * angle.cos(), x * angle.sin()], -1)
    >>> q, t, v = torch.randn(1, 2, 12, 16), torch.randn(1, 2, 12, 8).relu(), torch.randn(1, 2, 12, 16)
    >>> theta = 10000.0 ** (-torch.arange(8) / 8)
    >>> squares = q.unflatten(-1, (8, 2)).square().sum(-1)
    >>> o = an.compile(an.catalog.build("coca"))(rotated(squares, theta), rotated(t, theta), v)

    >>> i = torch.arange(12.0)
    >>> s = torch.einsum("bhim,bhjm,ijm->bhij", squares, t, ((i[:, None] - i)[..., None] * theta).cos()) / 4
    >>> dense = s.masked_fill(i[:, None] < i, -torch.inf).softmax(-1) @ v
    >>> torch.allclose(o, dense, atol=1e-5)
    True
    """
    return causal()


@entry(
    "cca",
    source="Compressed Convolutional Attention: Efficient Attention in a Compressed Latent Space",
    example=Example({}, q_len=32, heads=2),
)
def cca() -> Mask:
    """Causal, with grouped heads; q and k are convolved over tokens, normed and scaled, and half of v is a token late.

    What precedes the attention is shown without its projections: a causal convolution of each column, the mean of q and
    k added to both, norms of sqrt(D), a learned temperature of k, and values of the token before in half of the
    columns. Rotary positions follow.

    >>> import attnir as an, torch
    >>> from torch.nn.functional import normalize, pad
    >>> def before(x, by=1):  # the token `by` earlier, 0 where there is none
    ...     return pad(x, (0, 0, by, 0))[..., : x.shape[-2], :]
    >>> def normed(x):
    ...     return normalize(x, dim=-1) * x.shape[-1] ** 0.5
    >>> q, k, v = torch.randn(1, 4, 12, 16), torch.randn(1, 2, 12, 16), torch.randn(1, 2, 12, 16)
    >>> conv, beta = torch.randn(2, 2, 16), torch.zeros(2, 1, 1)  # [q or k, tap, column], a temperature of each head
    >>> mean = (q + k.repeat_interleave(2, 1)) / 2
    >>> q, k = (w[0] * x + w[1] * before(x) for x, w in zip((q, k), conv))
    >>> q, k = normed(q + mean), normed(k + mean.unflatten(1, (2, 2)).mean(2)) * beta.exp()
    >>> v = torch.cat([v[..., :8], before(v)[..., 8:]], -1)
    >>> an.compile(an.catalog.build("cca"))(q, k, v).shape
    torch.Size([1, 4, 12, 16])
    """
    return causal()
