"""The GeoLRM family: posed pictures to 3D Gaussians (Zhang et al., 2024)."""
