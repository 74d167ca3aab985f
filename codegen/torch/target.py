"""The torch target: attention over live ranges only, as batched products, on any device that torch runs on."""

from attnir.codegen.torch.backward import backward
from attnir.codegen.torch.budget import default_tile
from attnir.codegen.torch.forward import forward

__all__ = ["backward", "default_tile", "forward"]
