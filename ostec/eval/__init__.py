"""Evaluation: completions against ground truth, against other photos, against what cheap methods give."""
