"""Sizes that the compiled products share; here, as numba takes a third of a second to import."""

WIDTH = 64
"""Numbers in a row of a tile: a head of every released size, and a hidden layer of the field's decoder."""
GROUP = 4
"""Rows worked on at once."""
TILE = WIDTH * WIDTH
"""Numbers in a tile."""
