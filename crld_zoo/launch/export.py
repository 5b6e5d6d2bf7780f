"""Export a trained student, checked against it on images of its validation set."""

from __future__ import annotations

import argparse
import copy
import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from crld_zoo.errors import InputError
from crld_zoo.evaluation.functional import topk_accuracy

from .extras import required
from .student import Student, load_student, log_to_stderr

TOLERANCE = 1e-4
"""The most that a logit of an export may differ from the student's."""

OPSET = 18
"""The ONNX operator set that is written unless another is asked for."""

Run = Callable[[Tensor], Tensor]


class Target(NamedTuple):
    """A form of export.

    Attributes:
        name: Of the file or folder.
        write: ``(model, student, path, opset)``.
        open: ``(path, student)`` gives what runs the written form: inputs to outputs.
        deploys: Whether preprocessing and dynamic batch are part of it; else it holds the plain weights.
    """

    name: str
    write: Callable[[nn.Module, Student, Path, int], None]
    open: Callable[[Path, Student], Run]
    deploys: bool = False


class Checked(NamedTuple):
    """What an export was found to be.

    Attributes:
        path: Where it lies.
        images: How many validation images it was checked on.
        difference: The largest difference of a logit.
        agreement: Percent of the images on which it names the student's class.
        int8: Where the quantized model lies, and top-1 in percent of the full and of the quantized model on the same
            images; None without.
    """

    path: Path
    images: int
    difference: float
    agreement: float
    int8: tuple[Path, float, float] | None = None


class Deployed(nn.Module):
    """From uint8 RGB ``(N, H, W, 3)`` in the size that the network sees to calibrated probabilities ``(N, K)``."""

    mean: Tensor
    std: Tensor

    def __init__(self, student: Student) -> None:
        super().__init__()
        self.network = _plain_network(student)
        self.bgr, self.temperature = student.bgr, student.temperature
        mean, std = normalization(student)
        self.register_buffer('mean', mean.view(1, 3, 1, 1))
        self.register_buffer('std', std.view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        inputs = images.permute(0, 3, 1, 2).float()
        inputs = inputs[:, [2, 1, 0]] if self.bgr else inputs
        return (self.network((inputs - self.mean) / self.std) / self.temperature).softmax(1)


def normalization(student: Student) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each channel as the network sees it, on the scale 0 to 255, float32 ``(3,)``.

    Found by what the preprocessor does, whichever it is: black becomes ``-mean / std``, white ``(255 - mean) / std``.
    """
    ends = student.normalize(torch.tensor([0, 255], dtype=torch.uint8).view(2, 1, 1, 1).expand(2, 1, 1, 3))
    black, white = ends.double().cpu().reshape(2, 3).unbind()
    std = 255 / (white - black)
    return (-black * std).float(), std.float()


def export(
    student: Student,
    to: str,
    path: str | Path | None = None,
    *,
    preprocessing: bool = False,
    opset: int = OPSET,
    images: int = 200,
    int8: bool = False,
    force: bool = False,
) -> Checked:
    """Write a student in another form, and keep it only if it answers as the student does.

    Args:
        student: As :func:`~crld_zoo.launch.student.load_student` gives it.
        to: One of :data:`TARGETS`.
        path: The file, or for ``'timm'`` and ``'hf'`` the folder; None takes ``export/`` beside the checkpoint.
        preprocessing: uint8 RGB ``(N, H, W, 3)`` in, calibrated probabilities out, instead of normalized images
            ``(N, 3, H, W)`` in and logits out. Resizing stays outside.
        opset: ONNX's.
        images: How many validation images the check takes, spread over the set.
        int8: Also write a quantized ONNX model, ``….int8.onnx``, calibrated on half of those images; its accuracy is
            measured on the other half.
        force: Replace what is there.

    Raises:
        InputError: Something is there already, the target lacks an operator or a package, an option does not fit it,
            or the export answers otherwise than the student. Nothing is left then.
    """
    if to not in TARGETS:
        raise InputError(f'there is no export to {to!r}: take {", ".join(TARGETS)}.')
    target = TARGETS[to]
    if preprocessing and not target.deploys:
        raise InputError(f'an export to {to} holds weights, no preprocessing: leave it out.')
    if int8 and to != 'onnx':
        raise InputError(f'int8 is for ONNX, not for {to}.')
    if images < 2:
        raise InputError(f'the check needs at least 2 images, not {images}.')
    path = student.checkpoint.parent / 'export' / target.name if path is None else Path(path)
    if to == 'safetensors' and path.suffix != '.safetensors':
        raise InputError(f'{path}: the name of a safetensors file must end so, {path.name}.safetensors say.')
    quantized = path.with_suffix('.int8.onnx')
    for place in (path, quantized) if int8 else (path,):
        if place.exists() and not force:
            raise InputError(f'{place} is there already: name another place, or say --force to replace it.')
    model = Deployed(student) if preprocessing else _plain_network(student)
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix='.export'))
    try:
        written = folder / path.name
        with _naming_what_lacks(to, opset):
            target.write(model.eval(), student, written, opset)
            run = target.open(written, student)
        samples = list(student.held_out(images))
        checked = Checked(path, *_check(to, run, student, [batch for batch, _ in samples], preprocessing))
        if int8:
            accuracies = _quantize(written, folder / quantized.name, student, samples, preprocessing)
            _replace(folder / quantized.name, quantized)
            checked = checked._replace(int8=(quantized, *accuracies))
        _replace(written, path)
    finally:
        shutil.rmtree(folder)
    return checked


def _check(
    to: str, run: Run, student: Student, batches: Sequence[Tensor], preprocessing: bool
) -> tuple[int, float, float]:
    difference, agree, count = 0.0, 0, 0
    for images in _of_sizes(torch.cat(list(batches)), (1, 7, 32)):
        expected = student.logits(images).double().cpu()
        told = run(images if preprocessing else student.normalize(images).cpu().contiguous()).double()
        if told.shape != expected.shape:
            raise InputError(f'the export to {to} gives {tuple(told.shape)} for {tuple(expected.shape)}: not kept.')
        agree += int((told.argmax(1) == expected.argmax(1)).sum())
        if preprocessing:  # softmax drops what all logits share; probabilities that underflow say nothing
            seen = told > 1e-30
            told = student.temperature * told.log()
            expected = student.temperature * (expected / student.temperature).log_softmax(1)
            told, expected = told[seen], expected[seen]
        # not max(): NaN must not pass
        worst = (told - expected).abs().max().item()
        difference = worst if not worst <= difference else difference
        count += len(images)
    agreement = 100 * agree / count
    if not difference <= TOLERANCE:
        raise InputError(
            f'the export to {to} differs from the student by {difference:.2g} in a logit ({TOLERANCE:g} is allowed; '
            f'they agree on {agreement:.1f} % of {count} images): not kept.'
        )
    return count, difference, agreement


def _of_sizes(images: Tensor, sizes: Sequence[int]) -> Iterator[Tensor]:
    """Batches of these sizes, the last one until the images end."""
    sizes = list(sizes)
    while len(images):
        size = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        yield images[:size]
        images = images[size:]


def _plain_network(student: Student) -> nn.Module:
    """A copy on the CPU in the usual memory format, whose forward gives logits."""
    network: Any = copy.deepcopy(student.network)  # torch's types know no memory_format of a module
    return network.cpu().to(memory_format=torch.contiguous_format).eval()


def _example(model: nn.Module, student: Student) -> Tensor:
    height, width = student.size
    if isinstance(model, Deployed):
        return torch.zeros(2, height, width, 3, dtype=torch.uint8)
    return torch.zeros(2, 3, height, width)


def _exported_program(model: nn.Module, student: Student) -> torch.export.ExportedProgram:
    batch = torch.export.Dim('batch', min=1, max=2**16)
    with torch.no_grad():
        return torch.export.export(model, (_example(model, student),), dynamic_shapes=({0: batch},))


def _write_onnx(model: nn.Module, student: Student, path: Path, opset: int) -> None:
    onnx = required('onnx', 'export')
    required('onnxscript', 'export')
    required('onnxruntime', 'export')
    outputs = ['probabilities' if isinstance(model, Deployed) else 'logits']
    torch.onnx.export(
        _exported_program(model, student),
        (),
        path,
        input_names=['images'],
        output_names=outputs,
        opset_version=opset,
        external_data=False,
        verbose=False,
    )
    written = onnx.load(path)
    version = next(each.version for each in written.opset_import if not each.domain)
    if version != opset:  # torch writes the nearest that it can, and says so among its warnings alone
        raise InputError(f'the student cannot be written in opset {opset}, only in {version}: --opset {version}.')
    onnx.helper.set_model_props(written, {key: json.dumps(value) for key, value in described(student).items()})
    onnx.save(written, path)


def _open_onnx(path: Path, student: Student) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name
    return lambda images: torch.from_numpy(session.run(None, {name: images.numpy()})[0])


def _write_torch_export(model: nn.Module, student: Student, path: Path, opset: int) -> None:
    torch.export.save(
        _exported_program(model, student), path, extra_files={'student.json': json.dumps(described(student))}
    )


def _open_torch_export(path: Path, student: Student) -> Run:
    return torch.no_grad()(torch.export.load(path).module())


def _write_torchscript(model: nn.Module, student: Student, path: Path, opset: int) -> None:
    with torch.no_grad():
        script = torch.jit.trace(model, _example(model, student), check_trace=False)
    torch.jit.save(script, path, _extra_files={'student.json': json.dumps(described(student))})


def _open_torchscript(path: Path, student: Student) -> Run:
    return torch.no_grad()(torch.jit.load(path))


def _write_safetensors(model: nn.Module, student: Student, path: Path, opset: int) -> None:
    from safetensors.torch import save_file

    metadata = {
        key: value if isinstance(value, str) else json.dumps(value) for key, value in described(student).items()
    }
    save_file({key: value.clone().contiguous() for key, value in model.state_dict().items()}, path, metadata=metadata)


def _open_safetensors(path: Path, student: Student) -> Run:
    from crld_zoo.networks.weights import load_weights

    network = _plain_network(student)
    with torch.no_grad():
        for value in (*network.parameters(), *network.buffers()):  # what the file does not fill shows
            value.fill_(0 if not value.is_floating_point() else float('nan'))
    load_weights(network, path)
    return torch.no_grad()(network)


def _library_network(student: Student, *libraries: str) -> Any:
    """The inner network of a student of a library.

    Raises:
        InputError: It is of none of these libraries.
    """
    names = dict(TimmClassifier='timm', HuggingFaceClassifier='hf', TorchvisionClassifier='torchvision')
    own = names.get(type(student.network).__name__, 'mmpretrain')
    if own not in libraries:
        raise InputError(
            f'the student is a network of {own}, which {" and ".join(libraries)} cannot open: export it to onnx, '
            'torch_export or safetensors.'
        )
    if student.bgr:
        raise InputError('the student sees blue first, which the library has no setting for: export it to onnx.')
    network: Any = _plain_network(student)
    return network.model


def _write_timm(model: nn.Module, student: Student, path: Path, opset: int) -> None:
    from timm.models._hub import save_for_hf

    facts = described(student)
    save_for_hf(
        _library_network(student, 'timm'),
        str(path),
        model_config=dict(
            label_names=student.classes,
            pretrained_cfg=dict(
                input_size=(3, *student.size),
                mean=[value / 255 for value in facts['mean']],
                std=[value / 255 for value in facts['std']],
                crop_pct=1.0,
                interpolation='bilinear',
                num_classes=len(student.classes),
            ),
        ),
        safe_serialization=True,
    )


def _open_timm(path: Path, student: Student) -> Run:
    import timm

    return torch.no_grad()(timm.create_model(f'local-dir:{path}', pretrained=True).eval())


def _write_hf(model: nn.Module, student: Student, path: Path, opset: int) -> None:
    required('huggingface_hub', 'export')
    network = _library_network(student, 'timm', 'hf')
    if type(student.network).__name__ == 'TimmClassifier':
        _write_timm(model, student, path, opset)
    else:
        network.config.id2label = dict(enumerate(student.classes))
        network.config.label2id = {name: label for label, name in enumerate(student.classes)}
        network.save_pretrained(path)
        facts = described(student)
        height, width = student.size
        processor = dict(
            image_processor_type='ViTImageProcessor',
            do_resize=True,
            size=dict(height=height, width=width),
            resample=2,
            do_rescale=True,
            rescale_factor=1 / 255,
            do_normalize=True,
            image_mean=[value / 255 for value in facts['mean']],
            image_std=[value / 255 for value in facts['std']],
        )
        (path / 'preprocessor_config.json').write_text(json.dumps(processor, indent=2) + '\n')
    (path / 'training_config.py').write_text(student.config.pretty_text)
    (path / 'README.md').write_text(model_card(student))


def _open_hf(path: Path, student: Student) -> Run:
    if type(student.network).__name__ == 'TimmClassifier':
        return _open_timm(path, student)
    from transformers import AutoModelForImageClassification

    network = AutoModelForImageClassification.from_pretrained(path).eval()
    return torch.no_grad()(lambda images: network(images).logits)


TARGETS = dict(
    onnx=Target('student.onnx', _write_onnx, _open_onnx, True),
    torch_export=Target('student.pt2', _write_torch_export, _open_torch_export, True),
    torchscript=Target('student.torchscript.pt', _write_torchscript, _open_torchscript, True),
    safetensors=Target('student.safetensors', _write_safetensors, _open_safetensors),
    timm=Target('timm', _write_timm, _open_timm),
    hf=Target('hf', _write_hf, _open_hf),
)


def described(student: Student) -> dict:
    """What a user of an exported student must know: classes, size, normalization, temperature."""
    mean, std = normalization(student)
    return dict(
        classes=student.classes,
        size=list(student.size),
        mean=[round(value, 4) for value in mean.tolist()],
        std=[round(value, 4) for value in std.tolist()],
        channels='BGR' if student.bgr else 'RGB',
        temperature=student.temperature,
    )


def method_of(student: Student) -> tuple[str, str]:
    """How a run calls its distiller, ``'CRLD(DKD)'`` say, and its teacher."""
    model = student.config.model

    def name(distiller: dict) -> str:
        inner = distiller.get('distiller')
        return distiller.get('type', '?') + (f'({name(inner)})' if inner else '')

    teacher = model.get('teacher')
    if isinstance(teacher, dict):
        inner = teacher.get('model', teacher.get('type'))
        teacher = inner if isinstance(inner, str) else (inner or {}).get('type', 'a network of its config')
    return (name(model.distiller) if 'distiller' in model else 'unknown'), teacher or 'none'


def model_card(student: Student) -> str:
    """The README of a published student, in Markdown with the Hugging Face hub's header."""
    from huggingface_hub import ModelCardData

    method, teacher = method_of(student)
    logits, labels = student.outputs()
    top1 = 100 * topk_accuracy(logits, labels)
    data = student.config.get('train_dataloader', {}).get('dataset', {})
    timm = type(student.network).__name__ == 'TimmClassifier'
    header = ModelCardData(
        library_name='timm' if timm else 'transformers',
        pipeline_tag='image-classification',
        tags=['image-classification', 'knowledge-distillation'],
    )
    loading = (
        "import timm\n\nmodel = timm.create_model('local-dir:FOLDER', pretrained=True).eval()\n"
        'transform = timm.data.create_transform(**timm.data.resolve_model_data_config(model))\n'
        'probabilities = model(transform(image)[None]).softmax(1)'
        if timm
        else "from transformers import pipeline\n\nclassify = pipeline('image-classification', model='FOLDER')\n"
        "print(classify('picture.jpg'))"
    )
    facts = described(student)
    shown = student.classes[:20]
    more = f' and {len(student.classes) - 20} more (in config.json)' if len(student.classes) > 20 else ''
    return f"""---
{header.to_yaml()}
---

# Image classifier of {len(student.classes)} classes, trained by distillation

| | |
| --- | --- |
| task | image classification, images of {student.size[0]}x{student.size[1]} |
| classes | {', '.join(shown)}{more} |
| data | {data.get('type', 'unknown')} |
| teacher | {teacher} |
| method | {method} |
| parameters | {sum(parameter.numel() for parameter in student.network.parameters()):,} |
| mean, std (0 to 255, {facts['channels']}) | {facts['mean']}, {facts['std']} |
| temperature of calibrated probabilities | {facts['temperature']:.4g} |

## Results

| set | images | top-1 % |
| --- | --- | --- |
| validation | {len(labels):,} | {top1:.2f} |

The checkpoint may have been chosen by this set. `training_config.py` is the config of the training.

## Limits

It names one of its classes for every picture, also for one of none of them, and was measured on pictures of the kind
that it was trained on alone.

## Loading

```python
{loading}
```
"""


def _quantize(
    source: Path, path: Path, student: Student, samples: Sequence[tuple[Tensor, Tensor]], preprocessing: bool
) -> tuple[float, float]:
    """Write the int8 model; top-1 in percent of the full and of the quantized one on images that it did not see."""
    from onnxruntime import quantization

    images, labels = (torch.cat(parts) for parts in zip(*samples, strict=True))
    inputs = images if preprocessing else student.normalize(images).cpu().contiguous()
    name = 'images'

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.rest = iter(inputs[::2].split(1))

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.rest, None)
            return None if image is None else {name: image.numpy()}

    prepared = path.with_suffix('.prepared.onnx')
    # the symbolic inference of shapes stumbles over a mean in opset 18, and batches are all that is symbolic here
    quantization.shape_inference.quant_pre_process(source, prepared, skip_symbolic_shape=True)
    quantization.quantize_static(prepared, path, Reader(), per_channel=True)
    accuracies = [
        100 * topk_accuracy(torch.cat([run(part) for part in inputs[1::2].split(32)]), labels[1::2])
        for run in (_open_onnx(source, student), _open_onnx(path, student))
    ]
    return accuracies[0], accuracies[1]


def _replace(written: Path, path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    os.replace(written, path)


class _naming_what_lacks:
    """Turns what an exporter says of an operator that its target lacks into a sentence that names it."""

    def __init__(self, to: str, opset: int) -> None:
        self.to = f'onnx (opset {opset})' if to == 'onnx' else to

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error: BaseException | None, traceback) -> None:
        if error is None or isinstance(error, InputError) or not isinstance(error, Exception):
            return
        said = ''
        link: BaseException | None = error
        while link is not None:
            said += f'{link}\n'
            link = link.__cause__ or link.__context__
        lacking = re.search(r'(?:No ONNX function found for|No decompositions registered for)[^\n]*?(\w+\.\w+)', said)
        if lacking:
            raise InputError(
                f'{self.to} has no operator for {lacking[1]}, which the student uses: take another target.'
            ) from error
        if isinstance(error, ModuleNotFoundError):
            raise InputError(f"an export to {self.to} needs {error.name}: pip install 'crld-zoo[export]'") from error
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise InputError(f'the student cannot be exported to {self.to}: {reason[:300]}') from error


def main(argv: Sequence[str] | None = None) -> None:
    """The command ``export``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('run', metavar='RUN', help='work directory of a training, or a config (with --checkpoint)')
    parser.add_argument('--to', required=True, choices=list(TARGETS))
    parser.add_argument('--checkpoint', help="a file, 'best' or 'last' (default: the best, else the last)")
    parser.add_argument('--out', metavar='PATH', help='the file or folder (default: export/ beside the checkpoint)')
    parser.add_argument(
        '--preprocessing', action='store_true', help='uint8 RGB (N, H, W, 3) in, calibrated probabilities out'
    )
    parser.add_argument('--opset', type=int, default=OPSET, help=f'of ONNX (default: {OPSET})')
    parser.add_argument('--images', type=int, default=200, help='validation images of the check (default: 200)')
    parser.add_argument('--int8', action='store_true', help='also a quantized ONNX model, with its accuracy')
    parser.add_argument('--force', action='store_true', help='replace what is there')
    args = parser.parse_args(argv)
    log_to_stderr()
    student = load_student(args.run, args.checkpoint, device='cpu')
    checked = export(
        student,
        args.to,
        args.out,
        preprocessing=args.preprocessing,
        opset=args.opset,
        images=args.images,
        int8=args.int8,
        force=args.force,
    )
    form = f'{args.to}, opset {args.opset}' if args.to == 'onnx' else args.to
    print(
        f'{checked.path} ({form}): logits within {checked.difference:.1e} of the student, same class on '
        f'{checked.agreement:.1f} % of {checked.images} validation images'
    )
    if checked.int8:
        path, full, quantized = checked.int8
        print(f'{path} (int8): top-1 {quantized:.2f} %, in full precision {full:.2f} %, on half of those images')
