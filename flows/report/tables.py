"""Tables for terminals of any width, in which names are never cut or broken: one copies them."""

from collections.abc import Iterable, Sequence

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

_NARROWEST = 16  # of a column whose cells may be broken


class FittedTable:
    """A table where the terminal has room for it, else one entry below the other.

    Only cells of the columns in `wraps` are broken. Texts are shown as they are, never read as Rich markup.
    """

    def __init__(
        self,
        headers: Sequence[str],
        rows: Iterable[Sequence[Text | str]],
        *,
        wraps: Sequence[str] = (),
        numbers: Sequence[str] = (),
        lines: bool = False,
    ) -> None:
        """`numbers` are columns that are aligned to the right; `lines`: draw a frame."""
        self._headers, self._wraps, self._numbers, self._lines = headers, wraps, numbers, lines
        self._rows = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for is_broken in (False, True):  # headers
            widths = [self._column_width(at, header, is_broken) for at, header in enumerate(self._headers)]
            if sum(widths) + 3 * len(widths) + 1 <= options.max_width:
                yield self._table(widths)
                return
        for first, *others in self._rows:
            yield Text(first.plain, "bold", overflow="fold")
            named = zip(self._headers[1:], others, strict=True)
            yield Padding(Text(" · ").join(Text(f"{header}: ", "dim") + cell for header, cell in named), (0, 0, 0, 2))

    def _column_width(self, at: int, header: str, is_broken: bool) -> int:
        """Return the least width of a column, with its header broken at spaces or on one line."""
        cells = max((cell_len(row[at].plain) for row in self._rows), default=0)
        if header in self._wraps:
            cells = min(cells, _NARROWEST)
        return max(cells, *(cell_len(part) for part in (header.split() if is_broken else [header])))

    def _table(self, widths: Sequence[int]) -> Table:
        frame = {} if self._lines else {"box": None, "pad_edge": False, "header_style": "dim"}
        table = Table(**frame)  # type: ignore[arg-type]
        for header, width in zip(self._headers, widths, strict=True):
            justify = "right" if header in self._numbers else "left"
            fixed = None if header in self._wraps else width
            table.add_column(header, justify=justify, overflow="fold", width=fixed)  # type: ignore[arg-type]
        for row in self._rows:
            table.add_row(*row)
        return table
