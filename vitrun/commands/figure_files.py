"""Figures in the folder of a run."""

from collections.abc import Sequence

from vitrun.plots.chart import Chart, save_chart
from vitrun.runs.run import Run
from vitrun.runtime import distributed

FIGURES_FOLDER = "figures"


def save_figures(charts: Sequence[Chart], run: Run) -> None:
    """Write each figure as PNG, SVG and CSV into the run; only rank 0 does."""
    if distributed.rank():
        return
    folder = run.folder / FIGURES_FOLDER
    try:
        folder.mkdir(exist_ok=True)
        for chart in charts:
            save_chart(chart, folder)
    except OSError as error:
        raise run.unwritable_error(folder, error) from None
