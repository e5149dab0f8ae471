"""What a run plays and how: one table of settings, merged once into a frozen `Settings`.

Sources are merged by strength: command line, marker, ini file, YAML file, default. This room
knows no pytest; whoever reads a source hands over plain values and says where they came from.

The table (`definitions`) is all that a run without episodes imports, so nothing is imported here.
"""
