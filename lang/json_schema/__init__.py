"""JSON Schema to constraint IR: `lower` reads a schema, `report` says what is enforced."""

from __future__ import annotations

from sestina.lang.json_schema.lowering import Lowered, Report, Source, lower, report

__all__ = ["Lowered", "Report", "Source", "lower", "report"]
