"""A plan: everything that a compiled attention is, apart from the tensors of a call. It travels as text.

The custom operator takes the plan's text, so a traced or exported graph holds the pattern itself and can be run in
another process.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from functools import lru_cache

from attnir.arrange import Arrangement, arrange
from attnir.call import Call
from attnir.codegen.targets import KINDS, Config
from attnir.errors import BackendError
from attnir.expr import Expr
from attnir.heads import Heads
from attnir.program import Launches
from attnir.real import ONE
from attnir.scores import Pattern, parse, pattern
from attnir.separate import evaluated
from attnir.signature import value_of

BACKENDS = ("triton", "torch", "reference")
CONFIGURED = tuple(kind for kind in KINDS if kind != "delta")  # the kernels that walk a tile program


@dataclass(frozen=True, slots=True)
class Plan:
    """A pattern, how it is to be run, the configurations that the user fixed, by kernel, and head maps, if any."""

    pattern: Pattern
    backend: str | None = None  # None: Triton on a GPU, torch elsewhere
    check: bool = False
    configs: tuple[tuple[str, Config], ...] = ()
    heads: Heads | None = None

    @property
    def predicate(self) -> Expr:
        return self.pattern.predicate

    def on(self, call: Call) -> Plan:
        """The plan for a call: without spaces where the queries are only some of the tokens that theirs has."""
        queries = self.pattern.spaces[0]
        if queries is None or (call.q_start == 0 and call.q_len == value_of(queries.length, call.params)):
            return self
        return replace(self, pattern=self.pattern.without_spaces())

    @property
    def without_factors(self) -> Plan:
        """The plan of the weights before they meet values."""
        if self.pattern.weights.factor is ONE:
            return self
        return replace(self, pattern=replace(self.pattern, weights=replace(self.pattern.weights, factor=ONE)))

    def backend_on(self, device_type: str) -> str:
        return self.backend or ("triton" if device_type == "cuda" else "torch")

    def arrangement(self, tile: tuple[int, int], *, transposed: bool = False) -> Arrangement:
        """The layouts and tile programs for tiles of (row tokens, column tokens), and what they were compared with."""
        score, weights = evaluated(self.pattern.score), self.pattern.weights
        return arrange(self.predicate, self.pattern.spaces, tile, transposed, score, weights)

    def launches(self, tile: tuple[int, int], *, transposed: bool = False) -> Launches:
        """The tile programs of every launch."""
        return self.arrangement(tile, transposed=transposed).taken.launches

    def config(self, kind: str) -> Config | None:
        """The configuration that the user fixed for a kernel, if any."""
        return dict(self.configs).get(kind)

    def text(self) -> str:
        configs = {kind: asdict(config) for kind, config in self.configs}
        content = {"pattern": str(self.pattern), "backend": self.backend, "check": self.check}
        heads = None if self.heads is None else asdict(self.heads)
        return json.dumps({**content, "configs": configs, "heads": heads}, sort_keys=True)


@lru_cache(maxsize=512)
def read_plan(text: str) -> Plan:
    """The plan that `Plan.text` wrote."""
    content = json.loads(text)
    configs = tuple((kind, Config(**given)) for kind, given in sorted(content["configs"].items()))
    if content["backend"] not in (None, *BACKENDS):
        raise BackendError(f"unknown backend {content['backend']!r}; expected one of {', '.join(BACKENDS)}")
    heads = None if content["heads"] is None else Heads(**content["heads"])
    return Plan(pattern(parse(content["pattern"])), content["backend"], content["check"], configs, heads)
