"""The bundle for Android: models, golden data, and scripts that measure them on a phone through ``adb``."""
