"""The ``litert`` target: ``.tflite`` files for LiteRT, the runtime of Android."""
