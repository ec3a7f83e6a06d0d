"""A person plays an environment in a browser page and becomes a row of the leaderboard."""
