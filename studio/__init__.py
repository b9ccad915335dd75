"""Behind the page in the browser (`app.py`). Nothing here animates by itself: it calls `infer.py` and `preprocess`."""
