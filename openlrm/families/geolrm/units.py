"""GeoLRM's own cube beside the scene's."""

CUBE = 0.5
"""GeoLRM's unit in the scene's: its cube is [-0.5, 0.5]^3, the scene's [-1, 1]^3."""
