"""One session class per runtime, chosen by the artifact's target."""
