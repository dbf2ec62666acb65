"""Benchmarks: ratios against baselines measured in the same run; absolute times drift on a shared machine."""
