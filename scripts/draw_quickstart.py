"""Draw docs/quickstart.svg: few-shot accuracy of the quickstart's networks, from the CSV of `vitrun compare`.

    vitrun quickstart && vitrun compare save=quickstart.csv
    python scripts/draw_quickstart.py quickstart.csv docs/quickstart.svg

Needs matplotlib (`pip install matplotlib`).
"""

import csv
import re
import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

NAMES = {"shapes": "pretrained on drawn shapes", "scratch": "untrained"}
SHOTS = re.compile(r"shot(\d+)")


def read_curves(path: Path) -> dict[str, list[tuple[int, float, float]]]:
    """Return shots, mean and deviation (percent) of the few-shot runs in the CSV, by what their weights are from."""
    with open(path, encoding="utf-8") as file:
        rows = {row["upstream"]: row for row in csv.DictReader(file) if row["command"] == "fewshot"}
    return {
        upstream: [
            (int(shots[1]), 100 * float(value), 100 * float(row[f"{name}_std"]))
            for name, value in row.items()
            if (shots := SHOTS.fullmatch(name))
        ]
        for upstream, row in ((upstream, rows[upstream]) for upstream in NAMES)
    }


def draw(curves: dict[str, list[tuple[int, float, float]]], path: Path) -> None:
    """Write the figure as SVG."""
    matplotlib.rcParams.update({"font.size": 11, "svg.hashsalt": "vitrun", "axes.spines.top": False})
    matplotlib.rcParams["axes.spines.right"] = False
    figure, axes = pyplot.subplots(figsize=(7, 3.2), layout="constrained")
    for (column, points), colour in zip(curves.items(), ("#1f6feb", "#8c959f")):
        shots, means, deviations = zip(*points)
        axes.errorbar(shots, means, deviations, marker="o", capsize=3, color=colour)
        axes.annotate(NAMES[column], (shots[-1], means[-1]), (8, 0), "data", "offset points", color=colour, va="center")
    axes.set_xscale("log")
    axes.set_xticks(shots, labels=map(str, shots))
    axes.minorticks_off()
    axes.set(xlabel="images a class", ylabel="top-1, %", ylim=(0, 100), xlim=(0.9, 110))
    axes.set_title("Few-shot accuracy on handwritten digits", loc="left")
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    draw(read_curves(Path(sys.argv[1])), Path(sys.argv[2]))
