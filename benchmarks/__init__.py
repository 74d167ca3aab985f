"""Measurements: of time on a CPU and on a GPU, of what kernels use, of what is computed beyond live pairs."""
