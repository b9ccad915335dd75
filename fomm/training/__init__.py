"""Learning: the LightningModule, losses, data, callbacks."""
