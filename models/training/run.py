"""The training loop."""

from __future__ import annotations

import contextlib
import json
import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Subset

from ...runtime.errors import BadInputError, CheckFailedError
from ...runtime.files import output_error, replacing
from ...runtime.pixels import psnr_db
from .. import zoo
from ..fdikp.blocks import FourierUnit
from ..fdikp.dikp import KernelPredictor
from ..fdikp.fdikp import FDIKP
from ..fdikp.variants import Variant, get_variant
from .apertures import Aperture
from .defocus import margin
from .log import STEPS, VALIDATIONS, Table, draw
from .objective import Objective, Restoration
from .optimisers import optimiser as new_optimiser
from .photos import SharpPhoto, read_photos, split
from .samples import DefocusPairs, Mixture, Recipe
from .settings import Settings
from .state import TrainingState, averaged
from .widen import widened

STATE, WEIGHTS, CURVE, RECORD = "state.safetensors", "weights.safetensors", "curve.png", "run.json"


@dataclass(frozen=True)
class Progress:
    """What a caller is told after each step."""

    step: int
    loss: float
    restored_db: float | None
    blurred_db: float | None


def train(
    settings: Settings,
    photos_folder: Path,
    out: Path,
    *,
    initial: Path | None = None,
    objective: Objective | None = None,
    device: str = "cpu",
    workers: int = 1,
    save_every: int = 100,
    validate_every: int = 500,
    stop_at: int | None = None,
    report: Callable[[Progress], None] = lambda _: None,
) -> Path:
    """Train, or go on with the run that ``out`` holds, and return the path of the weights.

    Args:
        settings: how to train.
        photos_folder: sharp photographs.
        out: folder for the state, the log (CSV and PNG), the weights and a record of the run.
        initial: weights to begin with instead of the variant's initial values; those of a smaller variant are
            widened (:mod:`.widen`).
        objective: what to minimise; the error of the restored pictures by default.
        device: "cpu" or "cuda".
        workers: processes that make pairs; they change nothing but the speed.
        save_every: steps between two states on disk.
        validate_every: steps between two validations.
        stop_at: end after this step although the schedule goes further, for a run in parts.
        report: called after each step.

    Raises:
        BadInputError: settings or photos that cannot be used.
        CheckpointError: the state in ``out`` is damaged or of a run with other settings.
        OutputError: ``out`` cannot be written.
        CheckFailedError: the loss is no longer finite; the last state on disk is from before.
    """
    if min(settings.steps, settings.batch, save_every, validate_every) < 1:
        raise BadInputError("steps, batch and the intervals between saving and validating must be at least 1")
    variant = get_variant(settings.variant)
    variant.size.check(settings.recipe.side, settings.recipe.side)
    border = margin(settings.recipe.largest_radius, Aperture(blades=5, rim=0.2))
    photos = read_photos(photos_folder, smallest=settings.recipe.side + 2 * border)
    for_training, for_validation = split(photos, settings.held_out)
    objective = objective or Restoration(settings.loss)
    fixed = settings.fixed(photos, objective.name)

    model = _initial(variant, settings.recipe.seed, initial)
    model = model.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    parameters = list(model.parameters())
    optimiser = new_optimiser(settings.optimiser, parameters, settings.learning_rate, settings.weight_decay)
    state = TrainingState(model, optimiser, averaged(model, settings.average))
    if (out / STATE).exists():
        state.restore(out / STATE, fixed)
    schedule = settings.schedule(optimiser, state.step)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(out, error) from error
    steps, validations = Table(out / "steps.csv", STEPS), Table(out / "validation.csv", VALIDATIONS)
    steps.begin(state.step)
    validations.begin(state.step)

    last = min(settings.steps, stop_at or settings.steps)
    held = _validation_pairs(settings, for_validation)
    batches = _batches(settings, for_training, state.step, last, workers, device)
    forward = in_bfloat16(model, device) if settings.bfloat16 else model
    objective.begin(model)
    began = time.monotonic() - state.seconds
    for blurred, target in batches:
        rate = optimiser.param_groups[0]["lr"]
        loss = objective.loss(forward, blurred, target, settings.recipe.seed + state.step)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = nn.utils.clip_grad_norm_(parameters, settings.clip)
        value = float(loss.detach())
        if not (math.isfinite(value) and math.isfinite(float(norm))):
            raise CheckFailedError(
                f"step {state.step + 1}: the loss is {value}, its gradient's norm {float(norm)}; "
                "begin again with a lower learning rate"
            )
        optimiser.step()
        schedule.step()
        state.step += 1
        state.seconds = time.monotonic() - began
        state.average.update_parameters(model)
        steps.add(state.step, value, rate, float(norm), state.seconds)
        scores = None
        if state.step % validate_every == 0 or state.step == last:
            scores = validate(state.average, held, device)
            validations.add(state.step, *scores)
            draw(steps, validations, out / CURVE)
        if state.step % save_every == 0 or state.step == last:
            state.save(out / STATE, fixed)
            if state.step < last:
                objective.begin(model)
        report(Progress(state.step, value, scores[1] if scores else None, scores[0] if scores else None))
    _finish(state, settings, (for_training, for_validation), validations, out, device)
    return out / WEIGHTS


def validate(
    average: AveragedModel, pairs: Sequence[tuple[Tensor, Tensor]], device: str
) -> tuple[float, float]:
    """Return the mean PSNR in dB of the blurred and of the restored pictures, with the averaged weights."""
    average.eval()
    blurred_db, restored_db = [], []
    with torch.no_grad():
        for blurred, target in pairs:
            restored = average(blurred[None].to(device))[-1][0].cpu().clamp(0, 1)
            blurred_db.append(psnr_db(blurred.numpy(), target.numpy()))
            restored_db.append(psnr_db(restored.numpy(), target.numpy()))
    return sum(blurred_db) / len(pairs), sum(restored_db) / len(pairs)


def _initial(variant: Variant, seed: int, weights: Path | None) -> FDIKP:
    """Return the network that training begins with."""
    if weights is None:
        return FDIKP(variant, seed=seed)
    model = zoo.load(weights)
    return model if model.variant == variant else widened(model, variant, seed=seed)


def _validation_pairs(settings: Settings, photos: Sequence[SharpPhoto]) -> list[tuple[Tensor, Tensor]]:
    """Return fixed pairs of photos not trained on; all of them defocused."""
    recipe = Recipe(
        settings.recipe.side,
        settings.recipe.largest_radius,
        settings.recipe.seed + 1,
        Mixture(flat=0.0, focused=0.0, layered=settings.recipe.mixture.layered),
    )
    pairs = DefocusPairs(photos, recipe, settings.validation)
    return [pairs[index] for index in range(len(pairs))]


def _batches(
    settings: Settings, photos: Sequence[SharpPhoto], first: int, last: int, workers: int, device: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the batches of the steps from ``first`` to before ``last``; each is the same in every run."""
    pairs = DefocusPairs(photos, settings.recipe, last * settings.batch)
    rest = Subset(pairs, range(first * settings.batch, last * settings.batch))
    loader = DataLoader(
        rest,
        batch_size=settings.batch,
        num_workers=workers,
        pin_memory=device != "cpu",
        prefetch_factor=4 if workers else None,
    )
    for blurred, target in loader:
        yield (
            blurred.to(device, non_blocking=True, memory_format=torch.channels_last),
            target.to(device, non_blocking=True, memory_format=torch.channels_last),
        )


def in_bfloat16(model: FDIKP, device: str) -> Callable[[Tensor], list[Tensor]]:
    """Return the forward pass in bfloat16, except for the modules that transform."""

    def widened(inner: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def forward(x: Tensor) -> Tensor:
            with torch.autocast(device, enabled=False):  # there is no FFT in bfloat16
                return inner(x.float())

        return forward

    for module in model.modules():
        if isinstance(module, FourierUnit | KernelPredictor):
            module.forward = widened(module.forward)  # type: ignore[method-assign, assignment]

    def forward(x: Tensor) -> list[Tensor]:
        with torch.autocast(device, torch.bfloat16):
            result: list[Tensor] = model(x)
        return result

    return forward


def _finish(
    state: TrainingState,
    settings: Settings,
    photos: tuple[Sequence[SharpPhoto], Sequence[SharpPhoto]],
    validations: Table,
    out: Path,
    device: str,
) -> None:
    """Write the averaged weights and the record of how they came about."""
    model = FDIKP(get_variant(settings.variant))
    model.load_state_dict(state.average.module.state_dict())
    model.eval()
    scores = validations.rows()
    gain = scores[-1][2] - scores[-1][1] if scores else math.nan
    model.trained = True
    model.weights_note = (
        f"trained on synthetic defocus: {state.step} steps of {settings.batch} pairs, "
        f"{gain:+.2f} dB over the input on held-out synthetic pairs"
    )
    zoo.save(model, out / WEIGHTS, overwrite=True)
    record = {
        "variant": settings.variant,
        "settings": asdict(settings),
        "steps_done": state.step,
        "hours": round(state.seconds / 3600, 3),
        "device": torch.cuda.get_device_name() if device != "cpu" else _processor(),
        "torch": torch.__version__,
        "trained_on": {photo.name: photo.sha256 for photo in photos[0]},
        "validated_on": {photo.name: photo.sha256 for photo in photos[1]},
        "validation": dict(zip(VALIDATIONS, scores[-1], strict=True)) if scores else None,
        "weights_sha256": zoo.weights_sha256(model),
    }
    with replacing(out / RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return f"{line.partition(':')[2].strip()}, {torch.get_num_threads()} threads"
    return f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads"
