"""Shows people what a command does: bars, tables, amounts, questions.

Example:
    >>> from requestor.terminal import Column, show_duration, table_lines
    >>> columns = (Column("stage"), Column("time", "right"))
    >>> for line in table_lines(columns, [["Embedding", show_duration(200)], ["Training", show_duration(95)]], 80):
    ...     print(line)
    stage            time
    Embedding  3 min 20 s
    Training         95 s
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nima.lazy import attach

if TYPE_CHECKING:
    from requestor.terminal.amounts import GlmAmount, confirm_real_money
    from requestor.terminal.bar import progress_bar
    from requestor.terminal.durations import show_duration
    from requestor.terminal.model_files import (
        announce_conversion,
        convert_for_scoring,
        fetch_weights_with_bar,
        find_or_fetch_model,
    )
    from requestor.terminal.output_file import ask_to_replace
    from requestor.terminal.privacy import ask_about_privacy
    from requestor.terminal.run_progress import RunProgress
    from requestor.terminal.scoring_progress import with_scoring_progress
    from requestor.terminal.signals import ENDING_AGREEMENTS, run_until_stopped
    from requestor.terminal.tables import Column, field_lines, table_lines, terminal_width
else:
    __getattr__, __dir__ = attach(
        __name__,
        {
            "amounts": ["GlmAmount", "confirm_real_money"],
            "bar": ["progress_bar"],
            "durations": ["show_duration"],
            "model_files": [
                "announce_conversion",
                "convert_for_scoring",
                "fetch_weights_with_bar",
                "find_or_fetch_model",
            ],
            "output_file": ["ask_to_replace"],
            "privacy": ["ask_about_privacy"],
            "run_progress": ["RunProgress"],
            "scoring_progress": ["with_scoring_progress"],
            "signals": ["ENDING_AGREEMENTS", "run_until_stopped"],
            "tables": ["Column", "field_lines", "table_lines", "terminal_width"],
        },
    )

__all__ = [
    "ENDING_AGREEMENTS",
    "Column",
    "GlmAmount",
    "RunProgress",
    "announce_conversion",
    "ask_about_privacy",
    "ask_to_replace",
    "confirm_real_money",
    "convert_for_scoring",
    "fetch_weights_with_bar",
    "field_lines",
    "find_or_fetch_model",
    "progress_bar",
    "run_until_stopped",
    "show_duration",
    "table_lines",
    "terminal_width",
    "with_scoring_progress",
]
