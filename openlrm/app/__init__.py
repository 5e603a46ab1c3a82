"""A web page that makes 3D models of pictures; needs the extra `app`."""
