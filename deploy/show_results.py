"""Prints what a run of mwfs.examples.tabular:train found out: `python show_results.py OUTPUTS.json TIMELINE.json`."""

import json
import sys
from datetime import datetime


def show(outputs: dict, timeline: dict) -> None:
    """A line for each forest, the one that was chosen, and how much of the training ran at the same time."""
    metrics = outputs["outputs"]["metrics"]
    scores = {int(name.rpartition("_")[2]): score for name, score in metrics.items() if name.startswith("validation/")}
    print("  depth of the trees   right on the validation rows")
    for depth, score in sorted(scores.items()):
        print(f"  {depth:>18}   {score:>7.1%}{'   the best' if depth == metrics['depth'] else ''}")
    print(
        f"  On {metrics['rows_held_back']:.0f} rows that were held back, the best one is right in {metrics['accuracy']:.1%};"
        f" always giving the same answer, in {metrics['baseline_accuracy']:.1%}."
    )
    fits = [attempt for attempt in timeline["attempts"] if attempt["operator"].endswith(":fit")]
    begins, ends = ([seconds(fit[f"body_{edge}_time"]) for fit in fits] for edge in ("start", "end"))
    work, passed = sum(ends) - sum(begins), max(ends) - min(begins)
    processes = len({fit["place"] for fit in fits})
    print(f"  {len(fits)} trainings in {processes} processes: {work:.1f} s of work in {passed:.1f} s.")


def seconds(time: str) -> float:
    """Seconds since 1970 of a time in ISO format."""
    return datetime.fromisoformat(time).timestamp()


if __name__ == "__main__":
    documents = []
    for path in sys.argv[1:]:
        with open(path, encoding="utf-8") as file:
            documents.append(json.load(file))
    show(*documents)
