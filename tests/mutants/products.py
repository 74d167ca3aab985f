"""Mutants of the torch target: its schedule, its series of products, its forward and backward, and the operator; and of
the block lists that all targets share."""

from tests.mutants.mutant import Mutant


def _torch(name: str, module: str, old: str, new: str) -> Mutant:
    return Mutant(name, "torch", f"attnir.codegen.{module}", old, new)


FORWARD = (
    _torch("the total does not fade", "torch.forward", "each(Tensor.mul_, step.rows(self.total), fade)", "pass"),
    _torch("what is mixed does not fade", "torch.forward", "each(Tensor.mul_, step.rows(self.mixed), fade)", "pass"),
    _torch(
        "a dead row of the target divides by zero",
        "torch.forward",
        "self.total.masked_fill(~alive, torch.inf)",
        "self.total",
    ),
    _torch(
        "rows that meet no key keep what lay in memory",
        "torch.forward",
        "everywhere=_rows_met(found) == rows_o.shape[2]",
        "everywhere=True",
    ),
    Mutant(
        "calm scores have no lower end",
        "torch",
        "attnir.codegen.torch.forward",
        "bool((low >= -CALM) & (high <= CALM))",
        "bool(high <= CALM)",
        test="tests/codegen/torch/test_calm.py::test_calm_rows_compute_what_others_do",
    ),
    Mutant(
        "whether rows were calm is not asked in the end",
        "torch",
        "attnir.codegen.torch.forward",
        "if proved or rows.were_calm():",
        "if True:",
        test="tests/codegen/torch/test_calm.py::test_calm_rows_compute_what_others_do",
    ),
    Mutant(
        "what several operations take is overwritten",
        "torch",
        "attnir.codegen.torch.overwriting",
        "if self.uses[n] == 1:",
        "if True:",
        test="tests/codegen/torch/test_overwriting.py::test_what_several_operations_take_is_kept",
    ),
    _torch(
        "the strip of distances is one off",
        "torch.dead",
        "step, (0,), [first], (self.height",
        "step, (0,), [first + 1], (self.height",
    ),
    _torch(
        "the mask of one place serves others",
        "torch.dead",
        "self._kept((rows, cols, check, members, area), step, rows,",
        "self._kept((rows, check, members, area), step, rows,",
    ),
    _torch(
        "every predicate is taken for one of distances",
        "torch.distance",
        "return not contains(rebuild(moved, _collected), Q)",
        "return True",
    ),
    _torch("fields of samples are taken for shared ones", "torch.build", "or call.fields_differ,", "or False,"),
    _torch("masks of heads are taken for shared ones", "torch.build", '& {"b", "h"})', '& {"b"})'),
    _torch(
        "changed scores stay in natural units",
        "torch.units",
        "cheap(_times(score, LOG2E), numbers)",
        "cheap(score, numbers)",
    ),
    _torch("a bias by distance has its rows the other way", "torch.scored", "length - 1, 1)", "length, 1)"),
    _torch("products are scaled once for what is done twice", "torch.units", "factor *= use[1]", "factor = use[1]"),
    _torch("a tanh has the slope of a sigmoid", "torch.units", "real.mul(n.args[0], real.real(2.0))", "n.args[0]"),
)
SCHEDULE = (
    _torch(
        "FULL spans are checked, the others are not",
        "torch.series",
        "for s in run if not s.full]",
        "for s in run if s.full]",
    ),
    _torch(
        "what lies behind a wide product is lost",
        "torch.series",
        "        if wide[1] < span.stop:\n            yield Span(wide[1], span.stop, span.full)\n",
        "",
    ),
    _torch("every head walks as the first does", "torch.together", "* heads + member % per_sample % heads", "* heads"),
    _torch(
        "every sample walks as the first does",
        "torch.together",
        "source = sample % found.shape[0] * heads",
        "source = 0 * heads",
    ),
    _torch("the samples of two groups are exchanged", "torch.build", "divmod(at, found.shape[1])", "divmod(at, 1)"),
    _torch("runs that touch are one, whatever they are", "torch.spans", " & (full[1:] == full[:-1])", ""),
    _torch(
        "spans that are FULL stand where others should",
        "torch.together",
        "~found.full[chosen], visit",
        "found.full[chosen], visit",
    ),
    _torch(
        "members of a sample are counted as its heads of k",
        "torch.together",
        "row * shared // ratio * call.k_len",
        "row * call.k_len",
    ),
    _torch("heads that go together have the place of the first", "torch.operands", "members % fold.heads *", "0 *"),
    _torch(
        "samples that go together have the place of the first",
        "torch.operands",
        'return members.div(fold.heads, rounding_mode="floor"), heads,',
        "return members * 0, heads,",
    ),
    _torch(
        "of visits whose products have one shape the last kind counts",
        "torch.series",
        "places[shape] += found",
        "places[shape] = found",
    ),
    _torch(
        "keys of a visit are one product, whatever their turn",
        "torch.series",
        "shape = Shape(turn, height, stop -",
        "shape = Shape(0, height, stop -",
    ),
    _torch("keys that several programs visit count twice", "torch.gather", "if len(boxes) > 1:", "if len(boxes) > 9:"),
    _torch("boxes reach beyond their axis", "torch.gather", "min(start + last * n, stop))", "start + last * n)"),
    _torch(
        "heads of a group are counted from the first",
        "torch.operands",
        "self.group.heads.start + index % kv_heads",
        "index % kv_heads",
    ),
    _torch(
        "samples of a group are counted from the first",
        "torch.operands",
        "self.group.batches.start + index // kv_heads",
        "index // kv_heads",
    ),
    _torch(
        "every sample is in the order of the first",
        "torch.build",
        "(order[samples.start % len(order)] for order in orders)",
        "(order[0] for order in orders)",
    ),
    _torch(
        "lists of one sample and head serve others",
        "torch.spans",
        "return (batch, heads), tiles, (place // tiles, place",
        "return (batch, heads), tiles, (0 * place, place",
    ),
    Mutant(
        "pairs are taken at indices, not positions", "torch", "attnir.evaluate", '"q": call.q_start + rows', '"q": rows'
    ),
)
BACKWARD = (
    _torch("the gradient of lse is added to delta", "torch.backward", "delta.sub_(matrices", "delta.add_(matrices"),
    _torch("dk of the target is not scaled", "torch.backward", "dk.mul_(scale)", "dk"),
    _torch("delta is not subtracted", "torch.backward", ".sub_(copied(step.queries(rows.delta)))", ""),
    _torch("the slopes are lost", "torch.backward", "ds = scored.through(slopes, ds)", "pass"),
    _torch("what is learned is what came last", "torch.scored", "accumulate=True", "accumulate=False"),
    _torch("what lies outside of a tensor is learned", "torch.scored", "if inside is not None:", "if False:"),
    _torch(
        "an infinite slope leaves no number",
        "torch.scored",
        "torch.where(t == 0.0, 0.0, t * factors) if unbounded else t.mul_(factors)",
        "t.mul_(factors)",
    ),
    _torch("dead pairs keep infinite scores", "torch.dead", "if self.schedule.unbounded:", "if False:"),
    _torch("pairs are not hidden in the backward", "torch.backward", "dead.hide(step, s)", "pass"),
    _torch(
        "fields of queries and keys are exchanged",
        "operator",
        "pairs = zip(fields[: 2 * len(decls) : 2], fields[1 : 2 * len(decls) : 2], strict=True)",
        "pairs = zip(fields[1 : 2 * len(decls) : 2], fields[: 2 * len(decls) : 2], strict=True)",
    ),
    _torch(
        "the gradient of v comes with that of k alone",
        "operator",
        "for_kv = wanted[1] or wanted[2]",
        "for_kv = wanted[1]",
    ),
)
LISTS = (
    _torch(
        "a list is kept for calls whose queries start elsewhere",
        "lists",
        "call.k_len, call.q_start, call.device, stream)",
        "call.k_len, call.device, stream)",
    ),
    _torch(
        "a list is kept for calls with other parameters",
        "lists",
        "key = (program, sizes, tuple(sorted(call.params.items())))",
        "key = (program, sizes)",
    ),
)
MUTANTS = (*FORWARD, *SCHEDULE, *BACKWARD, *LISTS)
