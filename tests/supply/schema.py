"""Check a CycloneDX document on stdin against the schema: ``... | python tests/supply/schema.py``."""

from __future__ import annotations

import json
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator


def main() -> int:
    """Print what is wrong with the document; exit 1 then."""
    text = sys.stdin.read()
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    count = len(json.loads(text)["components"])
    print(f"sbom: {fault}" if fault else f"sbom of a report: {count} components, fits CycloneDX 1.6")
    return 1 if fault else 0


if __name__ == "__main__":
    sys.exit(main())
