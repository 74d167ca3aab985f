"""Every property holds on cases of every sort, and each notices damage of its own kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor

import attnir as an
from attnir import real
from attnir.errors import UnknownNameError
from attnir.testing import PROPERTIES, Case, Executor, Runs, Values, check
from attnir.testing import properties as properties_module
from attnir.testing.values import Normal

DOC, KIND = an.field("doc", sorted=True), an.field("kind")
WINDOW = Case(an.window(9, 2), q_len=50, heads=4, kv_heads=2, d=16, tile=(16, 32))
CASES = {
    "window": WINDOW,
    "padded": replace(WINDOW, layout="padded", dtype=torch.bfloat16, batch=3),
    "score": Case(an.pattern(an.causal(), score=an.score(lambda s, q, k: 0.5 * s - 0.1 * (q - k))), q_len=30, d=16),
    "sink": Case(
        an.pattern(an.causal(), normalize=an.softmax(sink=an.tensor("sink", "h")), factor=an.dropout(0.25)),
        q_len=30,
        d=16,
        bindings={"sink": Values(Normal((2,), 0), torch.float32), "seed": 3},
    ),
    "sigmoid": Case(an.pattern(an.window(9, 2), normalize=an.sigmoid), q_len=30, d=16, dtype=torch.float16),
    "divided": Case(
        an.pattern(an.window(9, 2), normalize=an.weights(lambda s: 1 + s + s * s / 2, divide=True)), q_len=30, d=16
    ),
    "documents": Case(
        an.causal() & an.mask(lambda q, k: DOC(q) == DOC(k)), q_len=50, d=16, bindings={"doc": Values(Runs(50, 9))}
    ),
    "labels": Case(
        an.mask(lambda q, k: KIND(q) == KIND(k)), q_len=50, d=16, bindings={"kind": Values(Runs(50, 4, 0, 3))}
    ),
    "listed": Case(an.mask(lambda q, k: (q * k) % 5 == 0), q_len=40, k_len=70, d=16, q_start=3),
    "image": Case(an.neighborhood(an.grid(y=5, x=9), 3), q_len=45, d=16),
}


@pytest.mark.parametrize("name", PROPERTIES)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("backend", ["torch", "triton"])
def test_properties_hold(backend: str, case: str, name: str) -> None:
    if backend == "torch" or PROPERTIES[name].level == "kernel":
        check(CASES[case], backend, name)


@dataclass(frozen=True)
class Damaged(Executor):
    """An executor whose results are changed."""

    change: Callable[..., tuple[Tensor, Tensor]] = lambda q, o, lse: (o, lse)

    def attention(self, case: Case, declared: Any = None) -> Callable[..., Any]:
        plain = Executor.attention(self, case, declared)

        def call(q: Tensor, k: Tensor, v: Tensor, return_lse: bool = False, **options: Any) -> Any:
            o, lse = self.change(q, *plain(q, k, v, return_lse=True, **options))
            return (o, lse) if return_lse else o

        return call

    def graph(self, declared: an.Graph) -> Callable[..., Any]:
        plain = Executor.graph(self, declared)
        return lambda q, k, v, **options: self.change(q, *plain(q, k, v, **options))

    def statistics(self, case: Case) -> Callable[..., dict[str, Tensor]]:
        plain = Executor.statistics(self, case)
        return lambda *tensors, **options: {
            name: t * 1.01 if t.is_floating_point() else t for name, t in plain(*tensors, **options).items()
        }


def one_row_off(q: Tensor, o: Tensor, lse: Tensor) -> tuple[Tensor, Tensor]:
    return o.index_add(2, torch.tensor([7]), o[:, :, 7:8] * 1e-2), lse


def lse_off(q: Tensor, o: Tensor, lse: Tensor) -> tuple[Tensor, Tensor]:
    return o, lse + 1e-3


def of_one_sample(q: Tensor, o: Tensor, lse: Tensor) -> tuple[Tensor, Tensor]:
    return (o * 1.01, lse) if q.shape[1] > 1 else (o, lse)


class ByCall:
    """Every second call gives something else."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, q: Tensor, o: Tensor, lse: Tensor) -> tuple[Tensor, Tensor]:
        self.calls += 1
        return (o * 1.01, lse + 0.01) if self.calls % 2 == 0 else (o, lse)


KERNELS: dict[str, Callable[..., tuple[Tensor, Tensor]]] = {
    "keys": lse_off,
    "ones": one_row_off,
    "slices": of_one_sample,
    "shifts": ByCall(),
    "permutes": ByCall(),
    "merges": ByCall(),
    "history": ByCall(),
    "routed": one_row_off,
    "graphs": one_row_off,
    "steps": one_row_off,
    "statistics": one_row_off,  # each of them by a part in a hundred
    "numbers": one_row_off,
}


@pytest.mark.parametrize("name", [n for n, p in PROPERTIES.items() if p.level == "kernel"])
def test_a_property_of_kernels_notices_damage(name: str) -> None:
    with pytest.raises(AssertionError):
        PROPERTIES[name].holds(WINDOW, Damaged("torch", change=KERNELS[name]))


def test_gradients_are_measured_one_by_one() -> None:
    """A gradient of one key row that is off by a part in a hundred."""

    def bend(q: Tensor, o: Tensor, lse: Tensor) -> tuple[Tensor, Tensor]:
        o.register_hook(lambda g: g.index_add(2, torch.tensor([3]), g[:, :, 3:4] * 0.05))
        return o, lse

    with pytest.raises(AssertionError, match=r"d[qkv]: max rho"):
        PROPERTIES["numbers"].holds(WINDOW, Damaged("torch", change=bend))


def test_a_kernel_that_reads_what_it_must_not_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Zero times what lies in a key that nobody may see: NaN, there."""

    class Reads(Damaged):
        def attention(self, case: Case, declared: Any = None) -> Callable[..., Any]:
            plain = Executor.attention(self, case, declared)
            return lambda q, k, v, **o: plain(q + 0.0 * k[:, :1, -1:, :], k, v, **o)

    far = replace(WINDOW, q_len=20, k_len=400, q_start=0)
    PROPERTIES["numbers"].holds(far, Executor.of("torch"))
    with pytest.raises(AssertionError):
        PROPERTIES["numbers"].holds(far, Reads("torch"))


ANALYSIS: dict[str, tuple[str, Any]] = {
    "text": ("parse", lambda text: an.causal()),
    "means": ("normalise", lambda predicate: an.causal().predicate),
    "walks": ("findings", lambda *_: {"lost"}),
    "counts": ("live_pairs_of", lambda *_: 1),
}


@pytest.mark.parametrize("name", ANALYSIS)
def test_a_property_of_the_analysis_notices_damage(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(properties_module, *ANALYSIS[name])
    with pytest.raises(AssertionError):
        check(WINDOW, "torch", name)


def test_a_wrong_slope_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(properties_module, "derivative", lambda e, by: real.real(0.25))
    with pytest.raises(AssertionError):
        check(CASES["score"], "torch", "slopes")


def test_check_says_property_and_executor_and_knows_its_names() -> None:
    with pytest.raises(AssertionError, match="`numbers` on torch on cpu: "):
        check(_off(), "torch", "numbers")
    with pytest.raises(UnknownNameError, match="no property 'walk'; there are text, means"):
        check(WINDOW, "torch", "walk")


def _off() -> Case:
    """A case whose reference is that of other inputs than its kernel's."""

    class Off(Case):
        def tensors(self, device: str = "cpu") -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
            q, *rest = super().tensors(device)
            Off.times += 1
            return (q * 1.5 if Off.times == 1 else q, *rest)

        times = 0

    return Off(an.causal(), q_len=20)


def test_what_was_not_written_to_holds_no_number_by_chance() -> None:
    def seen(case: Case, on: Executor) -> None:
        assert not torch.empty(4).isnan().any(), "NaN"

    with pytest.raises(AssertionError, match="NaN"):
        replace(PROPERTIES["keys"], check=seen).holds(WINDOW, Executor.of("torch"))
    assert not torch.are_deterministic_algorithms_enabled()
