"""From 3D files to training data: which objects, who renders them where, and what is said about the result."""
