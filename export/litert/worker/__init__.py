"""Converts one program with litert-torch, in the environment that has it: ``python WORKER FOLDER``.

:mod:`..build` writes :data:`PROGRAM`, :data:`REQUEST` and, for int8, :data:`BIASES` into a folder, runs this
folder of modules with the interpreter of the environment of ``fdikp-edge setup litert``, and reads
:data:`MODEL` and :data:`ANSWER`. That environment does not have this project, so nothing of it is imported
in these modules.
"""

REQUEST, ANSWER, PROGRAM, MODEL = "request.json", "answer.json", "program.pt2", "model.tflite"
BIASES = "biases.npz"
"""The biases of the layers that shall compute in 8 bits, by their place in the request."""
