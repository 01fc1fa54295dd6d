"""Draw docs/quickstart.svg: few-shot accuracy of the quickstart's networks, from the CSV of `vitrun compare`.

    vitrun quickstart && vitrun compare paper=none save=quickstart.csv
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

NAMES = {"vit_nano8, shapes": "pretrained on drawn shapes", "vit_nano8, scratch": "untrained"}
CELL = re.compile(r"([\d.]+) ± ([\d.]+)")


def read_curves(path: Path) -> dict[str, list[tuple[int, float, float]]]:
    """Return shots, mean and deviation (percent) of each column of the CSV."""
    with open(path, encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if "shot" in row["data"]]
    return {
        column: [
            (int(row["data"].rpartition("shot")[2]), *map(float, cell.groups()))
            for row in rows
            if (cell := CELL.match(row[column]))
        ]
        for column in NAMES
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
