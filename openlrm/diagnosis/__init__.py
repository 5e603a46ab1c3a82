"""Where does a triplane LRM go wrong? Its answer, the best planes there are, and the difference by frequency."""
