"""Graphs of stages: mechanisms that are more than one masked softmax."""
