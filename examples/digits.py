"""Find the best settings of two classifiers for handwritten digits, with one job for every setting.

The data are the 1,797 scanned digits from the UCI repository that come with scikit-learn. The jobs run on
this machine without any set-up; with PROMINENCE_URL and PROMINENCE_TOKEN set, the same script runs on that
service instead. Most of a job's two or three seconds goes into starting Python and importing scikit-learn:
longer calls than these gain more from being jobs.
"""

from __future__ import annotations

import argparse
import sys
import time
from concurrent.futures import as_completed
from itertools import product
from math import nan
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from prominence import InputFile, Resources
from prominence_executors import JobOptions, ProminenceExecutor

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

    from prominence import Job
    from prominence_executors import ProminenceFuture

Value = str | float

FOLDS: Final = 5
SEED: Final = 0
DIGITS: Final = range(10)
NEEDS: Final = Resources(cpus=1, memory=1, disk=1, walltime=10)  # GB and minutes
ONE_THREAD: Final = {"OMP_NUM_THREADS": "1"}  # for the one CPU of a job
COLOURS: Final = (0.94, 0.99)  # accuracies that get the first and the last colour


class Grid(NamedTuple):
    """A kind of classifier, and the values of two parameters that are tried in all combinations."""

    classifier: str
    title: str
    row: str
    rows: tuple[Value, ...]
    column: str
    columns: tuple[Value, ...]

    def settings(self) -> list[Setting]:
        return [Setting(self, *values) for values in product(self.rows, self.columns)]


class Setting(NamedTuple):
    """One cell of a grid."""

    grid: Grid
    row: Value
    column: Value

    def arguments(self) -> tuple[str, dict[str, Value]]:
        return self.grid.classifier, {self.grid.row: self.row, self.grid.column: self.column}

    def __str__(self) -> str:
        return f"{self.grid.row}={self.row} {self.grid.column}={self.column}"


Scores = dict[Setting, list[float]]  # the accuracy on each fold

C, GAMMA = (0.1, 0.3, 1, 3, 10), (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005)
METRICS, NEIGHBOURS = ("manhattan", "euclidean", "chebyshev"), (1, 2, 3, 5, 7, 9)
GRIDS: Final = (
    Grid("SVC", "Support vector machine", "C", C, "gamma", GAMMA),
    Grid("KNeighborsClassifier", "Nearest neighbours", "metric", METRICS, "n_neighbors", NEIGHBOURS),
)


# The next three functions run in jobs, so they bring their imports with them.


def experiment(classifier: str, parameters: dict[str, Value]) -> tuple[Any, Any, Any, Any]:
    from sklearn import datasets, model_selection, neighbors, svm

    kinds = {"SVC": svm.SVC, "KNeighborsClassifier": neighbors.KNeighborsClassifier}
    images, digits = datasets.load_digits(return_X_y=True)
    folds = model_selection.StratifiedKFold(FOLDS, shuffle=True, random_state=SEED)
    return kinds[classifier](**parameters), images, digits, folds


def fold_accuracies(classifier: str, parameters: dict[str, Value]) -> list[float]:
    """The share of each fold's digits that is read correctly after learning from the other folds."""
    from sklearn.model_selection import cross_val_score

    model, images, digits, folds = experiment(classifier, parameters)
    return [float(accuracy) for accuracy in cross_val_score(model, images, digits, cv=folds)]


def confusions(classifier: str, parameters: dict[str, Value]) -> list[list[int]]:
    """How often each digit (row) is read as which (column), over all folds."""
    from sklearn.metrics import confusion_matrix
    from sklearn.model_selection import cross_val_predict

    model, images, digits, folds = experiment(classifier, parameters)
    read = cross_val_predict(model, images, digits, cv=folds)
    return [[int(count) for count in row] for row in confusion_matrix(digits, read)]


# All that follows runs in this process.


def search(executor: ProminenceExecutor, settings: Sequence[Setting]) -> tuple[Scores, list[Job]]:
    """The scores of all settings, and the jobs that found them."""
    futures = [executor.submit(fold_accuracies, *setting.arguments()) for setting in settings]
    try:
        show_progress(futures)
    except BaseException:  # Ctrl-C, or a job that failed: the others are of no use any more
        for future in futures:
            future.kill()
        raise
    scores = {setting: future.result() for setting, future in zip(settings, futures, strict=True)}
    return scores, [future.job for future in futures]


def show_progress(futures: Collection[ProminenceFuture[list[float]]]) -> None:
    """Tell how far the jobs are: in one line on a terminal, else in a line now and then."""
    best = 0.0
    for done, future in enumerate(as_completed(futures), start=1):
        best = max(best, mean(future.result()))
        text = f"{done} of {len(futures)} jobs done, best accuracy so far {best:.4f}"
        if sys.stderr.isatty():
            print(f"\r{text}", end="", file=sys.stderr, flush=True)
        elif done % 12 == 0:
            print(text, file=sys.stderr, flush=True)
    print(file=sys.stderr)


def rank(executor: ProminenceExecutor, scores: Scores) -> tuple[list[Setting], Job]:
    """The settings from best to worst. A job can run any program, here the Unix command ``sort``."""
    settings = list(scores)
    table = "".join(
        f"{number},{setting.grid.title},{setting},{mean(scores[setting]):.6f},{stdev(scores[setting]):.6f}\n"
        for number, setting in enumerate(settings)
    )
    sorter = executor.with_options(
        input_files=[InputFile("scores.csv", table)], output_files=["ranking.csv"], env={"LC_ALL": "C"}
    )
    by_mean_then_spread = "sort -t , -k 4,4nr -k 5,5n -o ranking.csv scores.csv"
    job = sorter.submit(by_mean_then_spread).result().job
    lines = job.get_output_file("ranking.csv").splitlines()
    return [settings[int(line.split(",")[0])] for line in lines], job


def best_of(grid: Grid, ranking: Sequence[Setting]) -> Setting:
    return next(setting for setting in ranking if setting.grid == grid)


def report(ranking: Sequence[Setting], scores: Scores, jobs: Sequence[Job], seconds: float) -> None:
    print(f"{'classifier':24}{'settings':10}{'best setting':35}accuracy ({FOLDS} folds)")
    for grid in GRIDS:
        best = best_of(grid, ranking)
        accuracy = f"{mean(scores[best]):.4f} ± {stdev(scores[best]):.4f}"
        print(f"{grid.title:24}{len(grid.settings()):<10}{best!s:35}{accuracy}")
    cpu = sum(task["cpuTimeUsage"] for job in jobs for task in job.execution["tasks"])
    print(f"\n{len(jobs)} jobs took {seconds:.0f} s and used {cpu:.0f} s of CPU time")


def check(settings: Sequence[Setting], scores: Scores) -> None:
    """Compute some settings again in this process; the jobs must have found exactly the same."""
    for setting in settings:
        here = fold_accuracies(*setting.arguments())
        if here != scores[setting]:
            print(f"{setting}: the job found {scores[setting]}, but this process {here}", file=sys.stderr)
            sys.exit("The search is not reproduced: do both use the same version of scikit-learn?")
    print(f"{len(settings)} settings computed again in this process: exactly the same accuracies")


def draw(path: str, ranking: Sequence[Setting], scores: Scores, counts: list[list[int]]) -> None:
    """A picture of both grids, and of what the best setting of all gets wrong."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 7), dpi=150, layout="constrained")
    axes = figure.subplot_mosaic("AC;BC", height_ratios=[5, 3], width_ratios=[6, 5])
    for grid, each in zip(GRIDS, (axes["A"], axes["B"]), strict=True):
        image = draw_grid(each, grid, best_of(grid, ranking), scores)
    figure.colorbar(image, ax=[axes["A"], axes["B"]], label="mean accuracy", extend="min", aspect=40)
    draw_confusions(axes["C"], ranking[0], counts)
    figure.suptitle(f"Handwritten digits: {len(scores)} settings of two classifiers, each a job", size=15)
    figure.savefig(path)


def draw_grid(axes: Axes, grid: Grid, best: Setting, scores: Scores) -> AxesImage:
    from matplotlib.patches import Rectangle

    means = [[mean(scores[Setting(grid, row, column)]) for column in grid.columns] for row in grid.rows]
    image = axes.imshow(means, vmin=COLOURS[0], vmax=COLOURS[1], aspect="auto")
    axes.set(title=f"{grid.title}: {best} is best", xlabel=grid.column, ylabel=grid.row)
    axes.set_xticks(range(len(grid.columns)), map(str, grid.columns))
    axes.set_yticks(range(len(grid.rows)), map(str, grid.rows))
    for y, x in product(range(len(grid.rows)), range(len(grid.columns))):
        colour = "black" if means[y][x] > mean(COLOURS) else "white"
        axes.text(x, y, f"{means[y][x]:.4f}", ha="center", va="center", color=colour)
    corner = grid.columns.index(best.column) - 0.5, grid.rows.index(best.row) - 0.5
    axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor="red", linewidth=3))
    return image


def draw_confusions(axes: Axes, setting: Setting, counts: list[list[int]]) -> None:
    wrong = [[counts[digit][read] if digit != read else 0 for read in DIGITS] for digit in DIGITS]
    shades = [[count or nan for count in row] for row in wrong]  # nan stays white
    axes.imshow(shades, cmap="Reds", vmin=0, vmax=1.5 * max(map(max, wrong)))  # so that black is legible
    axes.set_title(f"{sum(map(sum, wrong))} of {sum(map(sum, counts)):,} digits are misread with {setting}")
    axes.set(xlabel="read as (correct ones in grey)", ylabel="digit", xticks=DIGITS, yticks=DIGITS)
    for digit, read in product(DIGITS, DIGITS):
        if count := counts[digit][read]:
            colour = "grey" if digit == read else "black"
            axes.text(read, digit, str(count), ha="center", va="center", color=colour)


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Search settings of classifiers for handwritten digits.")
    image_help = (
        "container image of the jobs; on a remote service it needs scikit-learn beside this version of "
        "Python, while on this machine no container is used (default: %(default)s)"
    )
    parser.add_argument("--image", default=JobOptions().image, help=image_help)
    parser.add_argument("--output", default="digits-heatmap.png", help="the picture (default: %(default)s)")
    return parser.parse_args()


def main() -> None:
    given, started = options(), time.monotonic()
    with ProminenceExecutor(image=given.image, resources=NEEDS, env=ONE_THREAD) as executor:
        scores, jobs = search(executor, [setting for grid in GRIDS for setting in grid.settings()])
        ranking, ranking_job = rank(executor, scores)
        future = executor.submit(confusions, *ranking[0].arguments())
        counts = future.result()
        report(ranking, scores, [*jobs, ranking_job, future.job], time.monotonic() - started)
    check([ranking[-1], *(best_of(grid, ranking) for grid in GRIDS)], scores)
    draw(given.output, ranking, scores, counts)
    print(f"picture: {given.output}")


if __name__ == "__main__":
    main()
