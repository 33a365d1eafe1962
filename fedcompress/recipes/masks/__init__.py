"""An archive of channel masks that were tried, and the GAN that learns from it to propose others."""
