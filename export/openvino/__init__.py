"""OpenVINO: a lowered program as intermediate representation."""
