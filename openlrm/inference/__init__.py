"""From planes to what a user wants to see: views and meshes."""
