"""The worker pools seen and steered from a laptop: bounds of their groups, instances, prices, money."""
