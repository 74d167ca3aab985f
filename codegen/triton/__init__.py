"""Triton kernels from tile programs: their sources, how they are launched, and what they compile to.

    emit(kind, programs, spec) -> str             the source of a kernel: one readable module (emit.py)
    arguments(kind, programs, spec)               its arguments, in order (arguments.py)
    launch.forward, launch.backward               run the kernels of a plan in one call (launch.py)
    inspect.inspect(kind, programs, spec, target) compile without a GPU, and report (inspect.py)

| kernel    | program    | one instance computes         | grid, one axis                               |
|-----------|------------|-------------------------------|----------------------------------------------|
| `forward` | forward    | o, lse of one tile of queries | ceil(q_len / BLOCK_Q) * batch * heads        |
| `delta`   | none       | rowsum(dO * o) - dlse         | ceil(q_len / BLOCK_Q) * batch * heads        |
| `dq`      | forward    | dQ of one tile of queries     | ceil(q_len / BLOCK_Q) * batch * heads        |
| `dkv`     | transposed | dK, dV of one tile of keys    | ceil(k_len / BLOCK_K) * batch * heads / group |
| `rows`    | forward    | sums over keys, for queries   | as `forward`                                 |
| `columns` | transposed | sums over queries, for keys   | ceil(k_len / BLOCK_K) * batch * heads        |
| `pulled_dq`, `pulled_dk` | as `dq`, `dkv` | dQ, dK of statistics | as these                        |

With head maps an instance of `dkv` has a query head, as the others, and gives what that head adds to dK and dV.

Instances are numbered with the tile fastest, then the head, then the sample. The arguments, in order:

1. tensors [B, H, S, D] in the dtype: `q, k, v, o` (forward), `o, do` (delta), `q, k, v, do, dq` (dq),
   `q, k, v, do, dk, dv` (dkv; with head maps dk and dv are float32 [B, Hq, Sk, D]);
   those of statistics take `q, k` and their result, `columns` also `v, do` where a term reads dO . v;
2. float32 [B, Hq, Sq], contiguous: `lse`; `lse, dlse, delta` (delta; dlse may be None); `lse, delta` (dq, dkv,
   pulled_dq, pulled_dk); then `sum_<i>`, [B, Hq, Sq] or [B, Hq, Sk], for each term of `rows` and `columns`; `highest`
   and int32 `first`, where `rows` searches for the largest scores; `first`, where a term reads it;
3. metadata: with head maps `key_head, value_head` (int32 [Hq]); as the program reads it, `field_<name>_q`,
   `field_<name>_k` (integers [Bf, S]); `table_<i>` (int32 [Bt, Ht, rows], the i-th of `program.tables()`);
   `full_offsets, full_indices, partial_offsets, partial_indices` (int32, a block list); `tensor_<name>` of integers,
   `selection_<name>` with `_lists` and `_places`, `real_<name>` with sizes, `sum_<name>` and `unit_<name>` where there
   is a gradient of it, `number_<name>`, and how many tiles an axis of a layout has: see `arguments.py`;
4. `scale` (not for delta); int32 `q_len, k_len, q_start, heads, group` (delta: `q_len, heads`; `group`, the query
   heads of a key head, only where heads are grouped); `param_<name>`;
5. strides in elements, int64, those of real tensors and their sums int32 unless these are large:
   `<tensor>_batch, <tensor>_head, <tensor>_row` for each tensor;
   `field_<name>_<side>_batch`; `table_<i>_batch`, and `table_<i>_head` where the table differs by head;
   `list_batch, list_head`, in rows of offsets. The stride of an axis that is shared is 0.

`num_warps` and `num_stages` come from the configuration; sizes and strides are never specialised.
"""

from attnir.codegen.triton.arguments import Argument, arguments
from attnir.codegen.triton.emit import emit
from attnir.codegen.triton.spec import Spec

__all__ = ["Argument", "Spec", "arguments", "emit"]
