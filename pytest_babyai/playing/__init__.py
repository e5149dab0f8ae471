"""Playing episodes: one after another, many at a time, within bounds; nothing here knows pytest."""
