"""Numbers of figures 3 to 5 of the ViT paper (arXiv 2010.11929): those that are printed, and those of finished runs.

The paper prints the numbers of figure 3 in table 5 and those of figure 5 in table 6; those of figure 4 nowhere.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from vitrun import papers
from vitrun.papers import PaperNumber
from vitrun.plots.points import Curve, Panel, Point
from vitrun.runs.cost import Cost
from vitrun.runs.groups import RunGroup, group_runs
from vitrun.runs.results import FinishedRun

SIZES = {"ImageNet": 1.3e6, "ImageNet-21k": 14e6, "JFT-300M": 303e6}  # images, as section 4.1 gives them
JFT_SUBSETS = (9e6, 30e6, 90e6, 303e6)  # images of figure 4
AVERAGE = ("ImageNet", "CIFAR-10", "CIFAR-100", "Pets", "Flowers")  # of table 7, and so presumably of figure 5
SIZE_LABEL = "pretraining images"
FAMILIES = {"vit": "ViT", "hybrid": "hybrid", "bit": "ResNet (BiT)"}


@dataclass(frozen=True)
class PaperFigure:
    """Figure of the paper as numbers."""

    name: str
    title: str
    xlabel: str
    panels: tuple[Panel, ...]
    missing: str  # which of the figure's points have no published number


@dataclass(frozen=True)
class Transfer:
    """Result of runs that began from one pretraining run."""

    group: RunGroup
    accuracy: float  # percent
    pretrained: str  # the name of the pretraining run
    images: float | None  # of its training set
    cost: Cost  # of its training


def collect_figure(name: str, runs: Sequence[FinishedRun]) -> PaperFigure:
    """Return ``figure3``, ``figure4`` or ``figure5`` with the published numbers and those of finished runs."""
    return {"figure3": collect_figure3, "figure4": collect_figure4, "figure5": collect_figure5}[name](runs)


def collect_figure3(runs: Sequence[FinishedRun]) -> PaperFigure:
    """Return accuracy after fine-tuning against the size of pretraining, from table 5: ImageNet, and where runs are."""
    ours = [transfer for transfer in list_transfers(runs, "finetune", "top1") if transfer.images]
    numbers = papers.load_table("table5").numbers
    panels = []
    for data in order_data(ours, ["ImageNet"]):
        published: dict[str, list[PaperNumber]] = {}
        for number in numbers:
            points = published.setdefault(number.fields["model"], [])
            points += [number] if number.fields["data"] == data else []
        curves = [
            Curve(model, [SIZES[n.fields["upstream"]] for n in points], [n.value for n in points], source="table 5")
            for model, points in published.items()
        ]
        panels.append(Panel(f"{data} top-1 (%)", [*curves, *join_transfers(select_data(ours, data))]))
    missing = (
        "Its ResNets (BiT), a shaded area, have no published numbers there; H/14 has none of pretraining on ImageNet."
    )
    return PaperFigure("figure3", "Transfer against the size of pretraining", SIZE_LABEL, tuple(panels), missing)


def collect_figure4(runs: Sequence[FinishedRun]) -> PaperFigure:
    """Return 5-shot accuracy against the size of pretraining, of which the paper prints no number."""
    ours = [transfer for transfer in list_transfers(runs, "fewshot", "shot5") if transfer.images]
    panels = []
    for data in order_data(ours, ["ImageNet"]):
        curves = join_transfers(select_data(ours, data))
        sizes = {*JFT_SUBSETS} if data == "ImageNet" else set()
        ticks = sorted(sizes | {x for curve in curves for x in curve.x})
        panels.append(Panel(f"{data} 5-shot top-1 (%)", curves, ticks))
    missing = (
        "None of its points has a published number: L/16, L/32, B/32, b/32 (half of B/32's width), R50x1 and R152x2, "
        "pretrained on 9 M, 30 M, 90 M and 303 M images of JFT-300M, are drawn there and not printed."
    )
    title = "Few-shot accuracy against the size of pretraining"
    return PaperFigure("figure4", title, SIZE_LABEL, tuple(panels), missing)


def collect_figure5(runs: Sequence[FinishedRun]) -> PaperFigure:
    """Return accuracy against the compute of pretraining, from table 6: the mean of five sets, ImageNet, own sets."""
    ours = [transfer for transfer in list_transfers(runs, "finetune", "top1") if transfer.cost.exaflop]
    published = list_compute_points()
    panels = [Panel("mean of 5 data sets (%)", [*published["mean"], *average_transfers(ours)])]
    for data in order_data(ours, ["ImageNet"]):
        own = [make_point(transfer) for transfer in select_data(ours, data)]
        panels.append(Panel(f"{data} top-1 (%)", [*published.get(data, []), *own]))
    missing = (
        "All 18 points have published numbers. Means are computed from table 6, over the sets that table 7 averages: "
        f"{', '.join(AVERAGE)}. Table 6 has 859 exaFLOPs for R50+L/16 after 7 epochs, not half of its 1,668 after 14."
    )
    title = "Accuracy against pretraining compute"
    return PaperFigure("figure5", title, "pretraining compute (exaFLOPs)", tuple(panels), missing)


def list_compute_points() -> dict[str, list[Point]]:
    """Return the points of table 6 by data set, and those of the ``mean`` of five."""
    models: dict[tuple[str, str], dict[str, float]] = {}
    for number in papers.load_table("table6").numbers:
        key = (number.fields["model"], number.fields["pretrain_epochs"])
        models.setdefault(key, {})[number.fields["data"]] = number.value
    points: dict[str, list[Point]] = {"mean": []}
    for (model, epochs), values in models.items():
        are_two = sum(name == model for name, _ in models) > 1
        label = f"{model} ({epochs} ep)" if are_two else model
        compute, family = values.pop("exaFLOPs"), name_family(model)
        for data, value in values.items():
            points.setdefault(data, []).append(Point(label, compute, value, family, "table 6"))
        average = mean(values[data] for data in AVERAGE)
        points["mean"].append(Point(label, compute, average, family, "computed from table 6"))
    return points


def name_family(model: str) -> str:
    """Return the family of a published model by its name."""
    kind = "hybrid" if "+" in model else "bit" if model.startswith("R") else "vit"
    return FAMILIES[kind]


def list_transfers(runs: Sequence[FinishedRun], command: str, metric: str) -> list[Transfer]:
    """Return the results of a command whose weights come from pretraining runs in the same folder."""
    by_name = {run.name: run for run in runs}
    transfers = []
    for group in group_runs(run for run in runs if run.command == command and metric in run.metrics):
        source = by_name.get(str(group.first.options.get("init")))
        while source is not None and source.command != "pretrain":
            source = by_name.get(str(source.options.get("init")))
        if source is not None:
            images = source.options["data"].get("train_images")
            known = images if isinstance(images, int) and images > 0 else None
            transfers.append(Transfer(group, 100 * group.metrics[metric].mean, source.name, known, source.cost))
    return transfers


def order_data(transfers: Iterable[Transfer], first: list[str]) -> list[str]:
    """Return the data sets that panels show: the first, then those of the runs."""
    return [*dict.fromkeys([*first, *(str(transfer.group.first.facts["data"]) for transfer in transfers)])]


def select_data(transfers: Iterable[Transfer], data: str) -> list[Transfer]:
    """Return the results on one data set."""
    return [transfer for transfer in transfers if transfer.group.first.facts["data"] == data]


def join_transfers(transfers: Sequence[Transfer]) -> list[Curve]:
    """Return a curve over the size of pretraining for each model, of runs that do not differ in anything else."""
    curves: dict[tuple[str, ...], list[dict[float, float]]] = {}
    for transfer in transfers:
        run = transfer.group.first
        options = [f"{name}={value}" for name, value in run.computed.items() if name not in ("init", "seed")]
        lines = curves.setdefault((str(run.facts["model"]), *sorted(options)), [])
        line = next((line for line in lines if transfer.images not in line), None)
        if line is None:
            lines.append(line := {})
        line[transfer.images or 0.0] = transfer.accuracy
    return [
        Curve(f"{key[0]}, yours", sorted(line), [line[size] for size in sorted(line)])
        for key, lines in curves.items()
        for line in lines
    ]


def make_point(transfer: Transfer) -> Point:
    """Return the point of a result over the compute of its pretraining."""
    run = transfer.group.first
    label = f"{run.facts['model']}, {run.facts['upstream']}"
    return Point(label, transfer.cost.exaflop or 0.0, transfer.accuracy, describe_family(run))


def describe_family(run: FinishedRun) -> str:
    """Return the family of the network of a run, by the options of its pretraining run."""
    model: Mapping[str, object] = {
        name.rpartition(".")[2]: value for name, value in run.source_options.items() if ".model." in name
    }
    kind = "hybrid" if model.get("stem") else str(model.get("kind"))
    return FAMILIES.get(kind, kind)


def average_transfers(transfers: Sequence[Transfer]) -> list[Point]:
    """Return the mean over the five data sets of each pretraining run that has one result on each of them."""
    points = []
    for name in dict.fromkeys(transfer.pretrained for transfer in transfers):
        own = [transfer for transfer in transfers if transfer.pretrained == name]
        sets = [select_data(own, data) for data in AVERAGE]
        if all(len(results) == 1 for results in sets):
            average = mean(results[0].accuracy for results in sets)
            point = make_point(sets[0][0])
            points.append(Point(point.label, point.x, average, point.family))
    return points
