"""What `fedcompress new` copies: each is a plug-in, or a scenario, that runs as it is."""
