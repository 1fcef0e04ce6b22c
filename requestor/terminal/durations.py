"""Writes durations for people."""

from __future__ import annotations


def show_duration(seconds: float) -> str:
    """Writes a duration in the units that people use, without needless precision: `95 s`, `3 min 20 s`, `2 h 5 min`."""
    whole, minutes = round(seconds), round(seconds / 60)
    if whole < 120:
        return f"{whole} s"
    if whole < 600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
