"""The transformer: plain PyTorch, no mesh, no trainer, no framework."""
