"""From tile programs to running code: Triton kernels, torch tile loops, launch, autograd and cache."""
