"""Measures how often `vl compare` sees a difference: where there is none, and where there is one.

Documents of 20 fields whose difficulty varies (beta-binomial); both models answer the same documents independently.

    python -m benchmarks.vl_compare
"""

from __future__ import annotations

import click
import numpy as np

FIELDS = 20


def verdicts(documents: int, pairs: int, gain: float, seed: int, num_resamples: int) -> tuple[float, float]:
    """Shares of pairs with a verdict of better or worse, by the interval alone and with the test."""
    from receipt_trainer.evaluation.bootstrap import paired_interval
    from receipt_trainer.evaluation.ratio import Share

    random, alone, both = np.random.default_rng(seed), 0, 0
    for number in range(pairs):
        share = random.beta(8, 2, documents)
        sides = [random.binomial(FIELDS, p) for p in (share, share + gain * (1 - share))]
        first, second = ([Share(float(hits), FIELDS) for hits in side] for side in sides)
        found = paired_interval(first, second, seed=number, num_resamples=num_resamples)
        assert found is not None
        alone += found.excludes_zero
        both += found.is_shown
    return alone / pairs, both / pairs


@click.command()
@click.option("--pairs", default=2000, show_default=True)
@click.option("--resamples", default=1000, show_default=True)
def main(pairs: int, resamples: int) -> None:
    for documents in (12, 20, 40):
        for gain in (0.0, 0.3):
            alone, both = verdicts(documents, pairs, gain, documents, resamples)
            click.echo(
                f"{documents} documents, {gain:.0%} of errors mended: {alone:.1%} by the interval, {both:.1%} now"
            )


if __name__ == "__main__":
    main()
