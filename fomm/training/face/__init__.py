"""The training of model `face`: heads -> patches around the mouth -> losses -> a generator."""
