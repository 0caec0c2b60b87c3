"""`sealora evaluate`: a finished run's model on a labelled table."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sealora.models.settings import ColumnSettings
from sealora.protocol.errors import UsageError


def evaluate(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run folder.")],
    data: Annotated[str, typer.Option(help="File or folder (CSV, TSV, JSONL, Parquet), or bundled:NAME.")],
    text_column: Annotated[str | None, typer.Option(help="Column with the text, if not the plan's.")] = None,
    label_column: Annotated[
        str | None, typer.Option(help="Column with the label, if not the plan's.")
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="KEY=NAME", help="Any other column: prompt_column=question, ..."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Measure a trained adapter on a labelled file.

    Example: sealora evaluate runs/demo --data reviews.csv
    """
    # Imported here because torch and transformers take seconds.
    import sealora
    from sealora.server.metrics_log import finite

    own = {"text_column": text_column, "label_column": label_column}
    given = {name: value for name, value in own.items() if value is not None} | _pairs(columns or [])
    evaluation = sealora.Run.load(run).evaluate(data, **given)
    if as_json:
        content = {
            "metrics": evaluation.metrics,
            "tables": evaluation.tables,
            "cleaning": evaluation.report.to_dict(),
        }
        print(json.dumps(finite(content), indent=2))
        return
    for line in evaluation.report.lines():
        print(line)
    console = Console(highlight=False)
    console.print(_metrics(evaluation.metrics))
    if "classes" in evaluation.tables:
        console.print(_classes(evaluation.tables["classes"]))


def _pairs(texts: list[str]) -> dict[str, str]:
    """KEY=NAME as keys and names. Raises UsageError for a key that is no column's."""
    parts = [text.partition("=") for text in texts]
    pairs = {key: name for key, _, name in parts}
    known = [key for key in ColumnSettings.model_fields if key.endswith("_column")]
    for key, name in pairs.items():
        if key not in known or not name:
            raise UsageError(f"--column {key}={name} names no column.", f"Keys: {', '.join(known)}.")
    return pairs


def _metrics(metrics: dict[str, float]) -> Table:
    table = Table(*metrics, title="All rows", title_justify="left")
    table.add_row(*(f"{value:.4f}" for value in metrics.values()))
    return table


def _classes(classes: dict[str, Any]) -> Table:
    table = Table("class", "precision", "recall", "F1", "rows", title="By class", title_justify="left")
    for name, row in classes.items():
        figures = (f"{row[key]:.3f}" for key in ("precision", "recall", "f1"))
        table.add_row(Text(name), *figures, f"{row['support']:.0f}")
    return table
