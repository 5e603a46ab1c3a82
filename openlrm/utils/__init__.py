"""Files, pictures, video, meshes and logging; nothing here knows a model."""
