"""Model `face`: motion from the landmarks of a face mesh, dense motion by geometry, a generator for what is hidden."""
