"""``deblur`` of a bundle."""

from __future__ import annotations

from ...runtime.deblur import Deblurrer
from ...runtime.device.bundle import Bundle
from ...runtime.files import check_place
from ...runtime.images import read_photo, write_photo
from .common import Options, chosen_runs, opened_session, print_json, print_line, runs_on


def deblur(bundle: Bundle, options: Options) -> bool:
    """Deblur a photo with the first artifact asked for."""
    artifact = chosen_runs(bundle, options)[0]
    check_place(options.out, overwrite=options.overwrite)
    photo = bundle.photo() if options.photo is None else read_photo(options.photo)
    with opened_session(artifact, options) as session:
        write_photo(options.out, Deblurrer(session).photo(photo))
        where = runs_on(session)
    facts = {"out": str(options.out), "artifact": artifact.path.name, "runs_on": where}
    print_json(facts) if options.json else print_line(f"{options.out}: {photo.width}x{photo.height}, {where}")
    return True
