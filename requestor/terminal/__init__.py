"""Shows people what a command does: bars, tables, amounts, questions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.terminal.amounts import Amount, confirm_real_money
    from requestor.terminal.bar import progress_bar
    from requestor.terminal.durations import duration
    from requestor.terminal.model_files import fetch_with_bar, model_file, tell_of_conversion
    from requestor.terminal.output_file import ask_to_replace
    from requestor.terminal.run_progress import RunProgress
    from requestor.terminal.scoring_progress import with_progress
    from requestor.terminal.tables import Column, field_lines, table_lines, terminal_width
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "amounts": ["Amount", "confirm_real_money"],
            "bar": ["progress_bar"],
            "durations": ["duration"],
            "model_files": ["fetch_with_bar", "model_file", "tell_of_conversion"],
            "output_file": ["ask_to_replace"],
            "run_progress": ["RunProgress"],
            "scoring_progress": ["with_progress"],
            "tables": ["Column", "field_lines", "table_lines", "terminal_width"],
        },
    )

__all__ = [
    "Amount",
    "Column",
    "RunProgress",
    "ask_to_replace",
    "confirm_real_money",
    "duration",
    "fetch_with_bar",
    "field_lines",
    "model_file",
    "progress_bar",
    "table_lines",
    "tell_of_conversion",
    "terminal_width",
    "with_progress",
]
