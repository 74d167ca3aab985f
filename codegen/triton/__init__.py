"""Triton kernels from tile programs: their sources, how they are launched, and what they compile to."""
