"""The InstantMesh family: posed views of one object to a triplane, and to a mesh of it (Xu et al., 2024)."""
