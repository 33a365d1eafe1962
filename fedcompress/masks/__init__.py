"""Channel masks: what ranks channels, what is known of them, and what proposes masks."""
