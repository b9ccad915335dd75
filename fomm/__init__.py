"""First Order Motion Model: animate a picture with a driving video, train it, evaluate it."""

__version__ = "0.1.0"
