"""Self-test of a machine: what is installed, and whether it computes what it should."""

from openlrm.doctor.report import Finding, Report, note, ok, problem

__all__ = ["Finding", "Report", "note", "ok", "problem"]
