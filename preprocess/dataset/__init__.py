"""Many videos -> clips and a manifest."""
