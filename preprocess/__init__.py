"""Pictures and video become aligned crops, landmarks and manifests. No torch in here."""
