"""Labels: from the cells of a label column to class names, however a table spells them."""

from collections.abc import Collection, Mapping

from sealora.models.table import MISSING, cell_text


class Labels:
    """Turns the cells of a label column into class names."""

    def __init__(self, known: Collection[str], label_map: Mapping[str, str], several: bool = False) -> None:
        self._map = label_map
        self._several = several
        self._known = {*known, *label_map}

    def name(self, cell: object) -> str | None:
        """The class name that a cell stands for (known to the task or not), or None if it is missing."""
        text = cell_text(cell)
        if text is None:
            return None
        parts = text.split("|") if self._several else [text]
        spelled = [self._spelling(part.strip()) for part in parts]
        return "|".join(sorted({self._map.get(part, part) for part in spelled if part})) or None

    def _spelling(self, text: str) -> str | None:
        if text in self._known:
            return text
        # A label of the plan may be spelled like a missing one, and is then known.
        if text.lower() in MISSING:
            return None
        # A table writer that met a missing value has turned 1 into 1.0 in the whole column.
        return text.removesuffix(".0") if text.removesuffix(".0").lstrip("-").isdecimal() else text
