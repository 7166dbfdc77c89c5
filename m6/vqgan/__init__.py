"""The image tokenizer: pictures to discrete codes and back."""
