"""Mutants of weights: sinks, functions of the score, factors, random numbers; in the language, on both targets."""

from tests.mutants.mutant import Mutant


def _language(name: str, module: str, old: str, new: str, test: str = "") -> Mutant:
    return Mutant(name, "language", f"attnir.{module}", old, new, test)


def _kernel(name: str, module: str, old: str, new: str, test: str = "") -> Mutant:
    return Mutant(name, "kernel", f"attnir.codegen.triton.{module}", old, new, test)


def _torch(name: str, module: str, old: str, new: str, test: str = "") -> Mutant:
    return Mutant(name, "torch", f"attnir.codegen.{module}", old, new, test)


LANGUAGE = (
    _language(
        "tiles take blocks apart", "arrange", "weights.landmarks is None or _keeps_blocks(c.launches)", "c.launches"
    ),
    _language(
        "a factor is not printed",
        "weighing",
        "if self.factor is not ONE:\n            found",
        "if False:\n            found",
    ),
    _language(
        "divided weights print as plain ones", "weighing", "if self.divided else text", "if not self.divided else text"
    ),
    _language(
        "factors do not move to the coordinates of layouts",
        "weighing",
        "sink=sink, factor=change(self.factor))",
        "sink=sink, factor=self.factor)",
    ),
    _language(
        "a second factor takes the place of the first",
        "scores",
        "factor=real.mul(before.weights.factor, more.value)",
        "factor=more.value",
        test="tests/test_weights.py::test_several_factors_multiply",
    ),
    _language("counters are mixed up", "philox", "two_words(key, c, d)", "two_words(key, d, c)"),
    _language("a seed has one word", "philox", "(seed.long() >> 32) & WORD", "seed & WORD"),
    _language("a product of words loses its carry", "philox", "high + (low >> 16)", "high"),
)
KERNELS = (
    _kernel(
        "a sink weighs nothing", "forward", 'tl.where(m > float("-inf"), 1.0, 0.0)', "tl.zeros([BLOCK_Q], tl.float32)"
    ),
    _kernel(
        "a sink stays in natural units",
        "forward",
        "{'' if f.spec.natural else ' * LOG2E'}\")\n        f.w.let(\"l\"",
        '")\n        f.w.let("l"',
    ),
    _kernel(
        "weights of dead pairs are summed up",
        "scores",
        'w.let("p", "tl.where(live, p, 0.0)")\n        return True',
        "pass\n        return True",
    ),
    _kernel("weights are not divided", "forward", '"tl.where(any_live, l, 1.0)"', '"tl.where(any_live, 1.0, 1.0)"'),
    _kernel("weights are not divided in the backward", "recompute", 'f"p * row_share{of_row}"', '"p"'),
    _kernel("gradients of weights are not divided", "recompute", "f'row_share{of_row}'", "'1.0'"),
    _kernel(
        "factors are lost in dv", "backward", 'lowered(pairs.write_counted(status, "p"), spec)', 'lowered("p", spec)'
    ),
    _kernel("factors are lost in dp", "backward", 'pairs.write_counted(status, "dp"), of_row', '"dp", of_row'),
    _kernel(
        "factors are lost in o", "forward", 'lowered(pairs.write_counted(status, "p"), spec)', 'lowered("p", spec)'
    ),
    _kernel(
        "landmarks weigh as other keys do",
        "landmarks",
        '[*checked, "(is_landmark == 0)"]',
        '[*checked, "is_landmark >= 0"]',
    ),
    _kernel("blocks whose landmark is dead weigh", "landmarks", "if checked:", "if False:"),
    _kernel("keys behind the last one share what a landmark has", "landmarks", "* (f.rows is KEY)", "* 0"),
    _kernel("keys of a block do not share its gradient", "landmarks", "ds - p * given{of_row}", "ds"),
    _kernel("the sums of factors take the gradients of scores", "scores", '(factor, "p * dp")', '(factor, "ds")'),
)
TORCH = (
    _torch("a sink does not fade", "torch.forward", "self.total.copy_(sink > -torch.inf)", "self.total.fill_(0.0)"),
    _torch("weights of dead pairs count", "torch.forward", "dead.clear(step, weights)", "pass"),
    _torch(
        "factors count in the sums",
        "torch.forward",
        "total, weights.sum(-1, keepdim=True)",
        "total, counted.sum(-1, keepdim=True)",
    ),
    _torch("landmarks keep a weight", "torch.landmarks", "landmark.fill_(DEAD)", "pass"),
    _torch("keys behind the last block are seen by all", "torch.landmarks", "rest.masked_fill_(~own, DEAD)", "pass"),
    _torch("landmarks get no gradient", "torch.landmarks", "blocks[..., -1:] = of_block", "pass"),
    _torch("gradients reach dead pairs", "torch.backward", "dead.clear(step, ds)", "pass"),
    _torch("factors are lost in the target's dp", "torch.backward", "scored.counted(factors, dp)", "dp"),
    _torch("factors are lost in the target's dv", "torch.backward", "scored.counted(factors, p), grad", "p, grad"),
    _torch(
        "the gradient of a sink has the other sign",
        "dispatch",
        "of_score = -torch.where(o == 0.0",
        "of_score = torch.where(o == 0.0",
    ),
    _torch("a sink's lse has no gradient", "dispatch", "of_score + given.dlse.double()", "of_score"),
    _torch(
        "what a sink and a score read has the sink's gradient alone", "dispatch", "found.reals[name] + t for", "t for"
    ),
)
MUTANTS = (*LANGUAGE, *KERNELS, *TORCH)
