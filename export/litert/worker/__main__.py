"""What ``python WORKER FOLDER`` runs."""

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).resolve().parents[1]))  # ``-I`` leaves it out
    sys.exit(importlib.import_module("worker.run").main(Path(sys.argv[1])))
