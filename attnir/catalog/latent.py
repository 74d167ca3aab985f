"""MLA: keys and values that come from one latent vector of each token, and the form that reads the latents alone."""

from __future__ import annotations

from attnir.catalog.registry import Example, entry
from attnir.masks import Mask, causal


@entry(
    "mla",
    source="DeepSeek-V2: A Strong, Economical, and Efficient Mixture-of-Experts Language Model; "
    "deepseek-ai/DeepSeek-V2",
    example=Example({}, q_len=32, heads=2),
)
def mla() -> Mask:
    """Causal; keys and values are projected from a latent vector, or the queries are, and the latents are the keys.

    In training a head has D = 192, of which 64 are rotary, and Dv = 128. Absorbed, as in decoding, all heads share one
    key head of D = 576, whose first 512 columns, the latent vector, are the values too: v is a view of k, and torch
    adds up what both give the latents. The scale is that of the expanded form in both.

    >>> import attnir as an, torch
    >>> attn, (heads, tokens, latent, plain, rotary) = an.compile(an.catalog.build("mla")), (4, 10, 32, 16, 8)
    >>> q, q_rotary = torch.randn(1, heads, tokens, plain), torch.randn(1, heads, tokens, rotary)
    >>> c, k_rotary = torch.randn(1, 1, tokens, latent), torch.randn(1, 1, tokens, rotary)
    >>> to_k, to_v = torch.randn(2, heads, latent, plain) / latent**0.5
    >>> scale = (plain + rotary) ** -0.5
    >>> k = torch.cat([c @ to_k, k_rotary.expand(-1, heads, -1, -1)], -1)
    >>> expanded = attn(torch.cat([q, q_rotary], -1), k, c @ to_v, scale=scale)

    >>> shared = torch.cat([c, k_rotary], -1).requires_grad_()
    >>> seen = attn(torch.cat([q @ to_k.mT, q_rotary], -1), shared, shared[..., :latent], scale=scale)
    >>> absorbed = seen @ to_v
    >>> torch.allclose(absorbed, expanded, atol=1e-5)
    True
    >>> absorbed.sum().backward()
    >>> shared.grad.shape
    torch.Size([1, 1, 10, 40])
    """
    return causal()
