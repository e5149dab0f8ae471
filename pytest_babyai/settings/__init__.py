"""What a run plays and how: one table of settings, merged once into a frozen `Settings`.

Sources are merged by strength: command line, marker, ini file, YAML file, default. This room
knows no pytest; whoever reads a source hands over plain values and says where they came from.
"""

from pytest_babyai.settings.definitions import DEFINITIONS, SettingDefinition
from pytest_babyai.settings.model import Settings
from pytest_babyai.settings.sources import (
    SETTINGS_FILE,
    Source,
    marker_source,
    parse_source,
    read_settings_file,
    resolve,
)

__all__ = [
    "DEFINITIONS",
    "SETTINGS_FILE",
    "SettingDefinition",
    "Settings",
    "Source",
    "marker_source",
    "parse_source",
    "read_settings_file",
    "resolve",
]
