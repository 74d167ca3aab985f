"""The catalog: attention mechanisms of the literature, each a few lines in the language of patterns.

>>> import attnir as an
>>> an.compile(an.catalog.build("streaming-llm", sinks=4, window=256))
<Attention (k <= q) & ((k < 4) | (q - k < 256))>
"""

from attnir.catalog import benchmark as benchmark
from attnir.catalog import block_diffusion as block_diffusion
from attnir.catalog import branches as branches
from attnir.catalog import chosen_blocks as chosen_blocks
from attnir.catalog import chosen_keys as chosen_keys
from attnir.catalog import chosen_regions as chosen_regions
from attnir.catalog import clear as clear
from attnir.catalog import clustered as clustered
from attnir.catalog import decoupled_heads as decoupled_heads
from attnir.catalog import documents as documents
from attnir.catalog import dual_cross as dual_cross
from attnir.catalog import edits as edits
from attnir.catalog import head_groups as head_groups
from attnir.catalog import head_windows as head_windows
from attnir.catalog import hip as hip
from attnir.catalog import image_positions as image_positions
from attnir.catalog import image_windows as image_windows
from attnir.catalog import infilling as infilling
from attnir.catalog import latent as latent
from attnir.catalog import latent_thoughts as latent_thoughts
from attnir.catalog import levels as levels
from attnir.catalog import listed as listed
from attnir.catalog import long_documents as long_documents
from attnir.catalog import multivariate as multivariate
from attnir.catalog import neighborhoods as neighborhoods
from attnir.catalog import normalizers as normalizers
from attnir.catalog import prologues as prologues
from attnir.catalog import radial as radial
from attnir.catalog import regions as regions
from attnir.catalog import sampled_keys as sampled_keys
from attnir.catalog import score_terms as score_terms
from attnir.catalog import series as series
from attnir.catalog import shots as shots
from attnir.catalog import summarised as summarised
from attnir.catalog import tables as tables
from attnir.catalog import vision_cross as vision_cross
from attnir.catalog import windows as windows
from attnir.catalog.registry import Entry, Example, build, get, names

__all__ = ["Entry", "Example", "build", "get", "names"]
