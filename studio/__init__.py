"""From a photo and a video to the finished file (`animation`, `recording`), and the page in the browser around it."""
