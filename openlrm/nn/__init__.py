"""Building blocks of networks: encoders and the triplane transformer."""
