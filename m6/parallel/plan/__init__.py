"""What a training on many GPUs would take: memory, traffic and time of a rank by formula, and the mesh that suits.

Free of torch, so that it answers at once; the formulas are held against dry runs and real ones (docs/en/plan.md).
"""
