"""JSON Schema to constraint IR: `lower` reads a schema, `Report` says what is enforced."""

from __future__ import annotations

from sestina.lang.json_schema.lowering import Lowered, Report, lower

__all__ = ["Lowered", "Report", "lower"]
