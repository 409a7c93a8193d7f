"""CommonGen-Lite: coverage as its leaderboard counts it."""
