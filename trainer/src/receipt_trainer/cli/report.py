"""`report`: the report of a run, as HTML and in the terminal."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(name="report", short_help="Write a run's report.html and show it here.")
@click.argument("run_dir", type=click.Path(path_type=Path))
@click.option("--terminal/--no-terminal", default=True, show_default=True, help="Print the report here as well.")
def command(run_dir: Path, terminal: bool) -> None:
    """Write report.html into RUN_DIR, the folder that holds a run's run.json, and print the report."""
    from rich.console import Console

    from receipt_trainer.reports.run_folder import load_run, write_html
    from receipt_trainer.reports.terminal import print_report

    folder = load_run(run_dir)
    if folder.record.family == "paddleocr-vl":
        from receipt_trainer.reports.documents_run import describe_scores, write_run_report

        if terminal:
            click.echo(f"{folder.record.job_name} ({folder.record.status}): {describe_scores(folder.record)}")
        click.echo(f"report: {write_run_report(run_dir, folder.record)}")
        return
    if terminal:
        print_report(folder.record, folder.predictions, Console(), folder.notes)
    click.echo(f"report: {write_html(run_dir, folder)}")
