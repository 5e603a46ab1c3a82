"""Few objects, a trained LRM: low-rank adapters or all weights tuned with one loss or the other, and compared."""
