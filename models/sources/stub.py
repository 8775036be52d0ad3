from .base import NetworkSource, TensorSpec


def of(module, name=None):
    v = getattr(module, "variant", None)
    return NetworkSource(
        name=name or (v.name if v else type(module).__name__),
        spec=v.name if v else "",
        load=lambda: module,
        inputs=(TensorSpec("image", (1, 3, None, None), layout="NCHW", color="RGB"),),
        outputs=("deblurred",) if v else (),
        sizes=v.size if v else None,
        note=getattr(module, "weights_note", ""),
        defocus=(0, 1.5, 3, 5) if v else (0.0,),
    )
