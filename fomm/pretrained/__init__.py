"""Networks of other people, with their published weights: what losses and metrics look through."""
