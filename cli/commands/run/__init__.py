"""``fdikp-edge run``, by what it runs: photos, folders of photos, arrays, a cluster, a video."""
