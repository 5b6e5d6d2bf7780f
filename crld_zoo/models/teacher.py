"""The teacher: a frozen classifier that sees images its own way."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from torch import Tensor, nn

from crld_zoo.errors import InputError
from crld_zoo.networks import Taps, final_classifier, pre_activation_norms, sources
from crld_zoo.networks.compilation import compiled
from crld_zoo.networks.folding import fold_batch_norms
from crld_zoo.registry import MODELS
from crld_zoo.views import check_normalization

_USUAL_SIZES = (32, 224)  # of images, where a network does not say for which it was made


@MODELS.register_module()
class Teacher(nn.Module):
    """A frozen classifier with its own normalization, input size and classes.

    It stays in eval mode whatever is asked of it, has no trainable parameter and runs without gradients.

    Args:
        model: A config dict or a name, see the table of :mod:`crld_zoo.networks.sources`, or the module.
        checkpoint: A path or URL of its weights in any layout of :mod:`crld_zoo.networks.weights`; None for the
            weights that the source itself has (torchvision's, timm's, …), and ``'random'`` where random weights are
            really wanted, as in a test.
        num_classes: The number of outputs of the network, where the source leaves it open or the checkpoint differs
            from it.
        classes: Which of the network's outputs are the student's classes, in the student's order: a subset or a
            reordering. All, if None.
        mean: The mean of the normalization that it was trained with: R, G, B, pixels in 0-255. The source's if None.
        std: The standard deviation, likewise.
        bgr: Whether it wants blue first. The source's if None.
        size: The side of its input images in pixels; others are resized (bicubic, antialiased). The source's if
            None; images are taken as they come if it has none.
        expected_top1: Its published top-1 accuracy in percent, which :class:`crld_zoo.engine.TeacherAccuracyHook` holds
            its measured accuracy against.
        dtype: ``'bfloat16'`` or ``'float16'`` to keep and run it in that; the logits are float32 all the same.
        fold: Fold its batch norms into its convolutions: faster, the same answers but for rounding.
        compile: Whether or how to compile it, see :func:`~crld_zoo.networks.compilation.compiled`.
        prefix: Which part of the checkpoint it is, by the beginning of its keys.
        trust_pickle: Allow a checkpoint that runs code while it is read. Only for a file whose origin you trust.

    Raises:
        InputError: The weights do not fill the network, or an option does not fit; see also
            :func:`crld_zoo.networks.sources.build_network`.

    Example:
        An ImageNet teacher for three of its classes, on images that it enlarges for itself:

        .. code-block:: python

            teacher = dict(type='Teacher', model='torchvision::resnet34.IMAGENET1K_V1', classes=[207, 281, 340])
    """

    classes: Tensor | None
    scale: Tensor | None
    shift: Tensor | None
    bounds: Tensor | None

    def __init__(
        self,
        model: str | Mapping | nn.Module,
        checkpoint: str | None = None,
        *,
        num_classes: int | None = None,
        classes: Sequence[int] | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        bgr: bool | None = None,
        size: int | None = None,
        expected_top1: float | None = None,
        dtype: str | None = None,
        fold: bool = True,
        compile: bool | Mapping | None = None,
        prefix: str | None = None,
        trust_pickle: bool = False,
    ):
        super().__init__()
        if (mean is None) != (std is None):
            raise InputError('a teacher needs both mean and std, or neither')
        spec = sources.resolve(model, num_classes=num_classes)
        self.name = spec.name
        self.mean, self.std = (spec.mean, spec.std) if mean is None else (mean, std)
        if self.mean is not None and self.std is not None:
            check_normalization(self.mean, self.std, self.name)
        self.bgr = spec.bgr if bgr is None else bgr
        self.size = spec.size if size is None else size
        if self.size is not None and self.size < 1:
            raise InputError(f'size={size} of the teacher {self.name}: the side of its images in pixels, 1 or more')
        self.expected_top1 = expected_top1
        self.dtype = _dtype(dtype)
        self.network = sources.build_from_spec(
            spec, checkpoint or sources.OWN, prefix=prefix, trust_pickle=trust_pickle
        )
        self.is_random = checkpoint == sources.RANDOM
        if self.is_random:
            print_log(f'the teacher {self.name} has random weights, as its config asks', logger='current')
        outputs = sources.count_classes(self.network)
        if num_classes is not None and outputs != num_classes:
            raise InputError(f'num_classes={num_classes} but {self.name} has {outputs} outputs')
        _check_classes(classes, outputs, self.name)
        self.named_classes = getattr(self.network, 'named_classes', None)
        if self.named_classes is not None and classes is not None:
            names = [self.named_classes.names[index] for index in classes]
            self.named_classes = self.named_classes._replace(names=names)
        self.num_classes = outputs if classes is None else len(classes)
        self.register_buffer('classes', None if classes is None else torch.tensor(classes), persistent=False)
        self.register_buffer('scale', None, persistent=False)
        self.register_buffer('shift', None, persistent=False)
        self.register_buffer('bounds', None, persistent=False)
        self.requires_grad_(False)
        self.eval()
        self._fold, self._compile = fold, compile
        if compile and not isinstance(compile, bool | Mapping):
            raise InputError(f'compile={compile!r} of the teacher {self.name}: true, false, or a dict')
        self._optimized = False
        self._call = [self.network]  # in a list: not a second place of the module tree
        self._taps = Taps(self.network, ())

    def tap(self, names: Sequence[str], probe: Tensor) -> None:
        """Keep tensors of the network from now on, for :meth:`extract` to give.

        Args:
            names: See :mod:`crld_zoo.networks.taps`.
            probe: Images as the student sees them.

        Raises:
            InputError: There is no such tensor, or the network is compiled.
        """
        if names and self._compile:
            raise InputError(
                f'the distiller looks inside of the teacher {self.name}, which a compiled network does not allow: '
                'leave model.teacher.compile out'
            )
        self._probe = probe
        self._taps = Taps(self.network, names, self._see(probe))

    def norms(self) -> list[nn.BatchNorm2d]:
        """The batch norm behind each tap ``'stageN:pre'``, of all stages; to be read before :meth:`optimize`."""
        return pre_activation_norms(self.network, self._see(self._shown()))

    def classifier(self) -> tuple[Tensor, Tensor]:
        """The weight ``(K, C)`` and the bias ``(K,)`` of its last linear layer, of the classes that count."""
        weight, bias = final_classifier(self.network, self._see(self._shown()))
        return (weight, bias) if self.classes is None else (weight[self.classes], bias[self.classes])

    _probe: Tensor | None = None

    def _shown(self) -> Tensor:
        if self._probe is None:
            raise InputError(f'the teacher {self.name} was shown no image: call tap() first')
        return self._probe

    @torch.no_grad()
    def _tapped(self) -> dict[str, Tensor]:
        return {} if self._probe is None else self._taps.run(self.network, self._see(self._probe))[1]

    def optimize(self) -> None:
        """Fold, narrow and compile as its options say, once everybody has read it; the first run does it too."""
        if self._optimized:
            return
        self._optimized = True
        if self._fold:
            before = self._tapped()
            fold_batch_norms(self.network, self.name, [self.size] if self.size else _USUAL_SIZES)
            for (name, old), new in zip(before.items(), self._tapped().values(), strict=True):
                if not torch.allclose(old, new, rtol=1e-3, atol=1e-3 * float(old.abs().max())):
                    raise InputError(
                        f"the tap '{name}' of the teacher {self.name} stands between a convolution and its folded "
                        'batch norm: tap another module, or set model.teacher.fold=False'
                    )
            self._probe = None
        if self.dtype is not None:
            self.network.to(self.dtype)
        self._call = [compiled(self.network, self._compile)]

    def match_input(self, mean: Sequence[float] | None, std: Sequence[float] | None) -> None:
        """Say how the images that it will be given are normalized: with the student's mean and std.

        From then on each channel is brought to the teacher's own normalization by one multiplication and one
        addition. Without this call, images are taken to be normalized as the teacher wants them.

        Args:
            mean: The student's mean, R, G, B, pixels in 0-255; None for images in 0-255 that are not normalized.
            std: The student's standard deviation, likewise.
        """
        if self.mean is None or self.std is None:
            print_log(
                f'the teacher {self.name} states no normalization: it sees the images normalized as the student does',
                logger='current',
            )
            self.scale = self.shift = None
            if mean is not None and std is not None:
                self.bounds = self._range(mean, std)
            return
        self.bounds = self._range(self.mean, self.std)
        mean, std = (0.0, 0.0, 0.0) if mean is None else mean, (1.0, 1.0, 1.0) if std is None else std
        check_normalization(mean, std, 'the student')
        given_mean, given_std, own_mean, own_std = (
            torch.as_tensor(values, dtype=torch.float64).view(-1, 1, 1) for values in (mean, std, self.mean, self.std)
        )
        scale, shift = given_std / own_std, (given_mean - own_mean) / own_std
        same = torch.equal(given_mean, own_mean) and torch.equal(given_std, own_std)
        device = next(self.network.parameters()).device
        self.scale = None if same else scale.to(device, torch.float32)
        self.shift = None if same else shift.to(device, torch.float32)

    def _range(self, mean: Sequence[float], std: Sequence[float]) -> Tensor:
        """What 0 and 255 become by a normalization, ``(2, 3, 1, 1)``."""
        shift, scale = (torch.as_tensor(values, dtype=torch.float64) for values in (mean, std))
        bounds = (torch.tensor([[0.0], [255.0]]) - shift) / scale
        return bounds[..., None, None].to(next(self.network.parameters()).device, torch.float32)

    def check_classes(self, num_classes: int) -> None:
        """See that it has the student's number of classes.

        Raises:
            InputError: It has another.
        """
        if self.num_classes != num_classes:
            raise InputError(
                f'the teacher {self.name} has {self.num_classes} classes, the student {num_classes}: '
                "say which of the teacher's outputs are the student's classes, in the student's order "
                '(classes=[…] of the teacher), or correct the number of classes of one of them'
            )

    @torch.no_grad()
    def forward(self, inputs: Tensor) -> Tensor:
        """The logits ``(N, K)``, float32 unless autocast is on, of images ``(N, 3, H, W)``; see :meth:`match_input`."""
        return self.extract(inputs)[0]

    def extract(self, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The logits and what is tapped.

        Args:
            inputs: Images ``(N, 3, H, W)``, normalized as :meth:`match_input` was told.

        Returns:
            Logits ``(N, K)`` and features by tap.
        """
        if not self._optimized:
            self.optimize()
        return self.peek(inputs)

    def peek(self, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """What :meth:`extract` gives, from the network as it stands, be it folded already or not."""
        images = self._see(inputs)
        if self.dtype is None:
            logits, features = self._taps.run(self._call[0], images)
        else:
            with torch.autocast(images.device.type, enabled=False):
                logits, features = self._taps.run(self._call[0], images.to(next(self.network.parameters()).dtype))
            logits, features = logits.float(), {tap: feature.float() for tap, feature in features.items()}
        if self.classes is not None:
            logits = logits.index_select(1, self.classes)
            features = {
                tap: feature.index_select(1, self.classes) if tap.startswith('class_maps') else feature
                for tap, feature in features.items()
            }
        return logits, features

    def _see(self, inputs: Tensor) -> Tensor:
        """Renormalize, resize, reorder the channels. Resizing is linear with weights that sum to one, so it may
        follow the renormalization, which is cheaper on the smaller of the two images in the usual case."""
        images = inputs if self.scale is None or self.shift is None else inputs * self.scale + self.shift
        if self.size is not None and images.shape[-2:] != (self.size, self.size):
            images = F.interpolate(images, (self.size, self.size), mode='bicubic', antialias=True)
            if self.bounds is not None:  # it overshoots at edges, where Pillow's clips
                images = images.clamp(*self.bounds)
        return images.flip(1) if self.bgr else images

    def train(self, mode: bool = True) -> Teacher:
        """Stay in eval mode: the Runner calls this at every epoch, and a teacher's batch statistics must not move."""
        return super().train(False)

    def fingerprint(self) -> str:
        """A digest of all that decides its answers: the weights, and how it sees images."""
        digest = hashlib.sha256(
            repr(
                (
                    self.mean,
                    self.std,
                    self.bgr,
                    self.size if self.size is None else (self.size, 'clipped'),
                    str(self.dtype),
                    None if self.classes is None else self.classes.tolist(),
                )
            ).encode()
        )
        for key, value in self.network.state_dict().items():
            digest.update(key.encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
        return digest.hexdigest()


def _dtype(name: str | None) -> torch.dtype | None:
    known = {'bfloat16': torch.bfloat16, 'float16': torch.float16}
    if name is None:
        return None
    if name not in known:
        raise InputError(f"dtype='{name}' of a teacher: expected one of {', '.join(known)}, or none for float32")
    return known[name]


def _check_classes(classes: Sequence[int] | None, outputs: int, name: str) -> None:
    if classes is None:
        return
    if not classes or not all(isinstance(index, int) and not isinstance(index, bool) for index in classes):
        raise InputError(f'classes of the teacher {name}: a list of class numbers, not {str(classes)[:80]}')
    wrong = [index for index in classes if not 0 <= index < outputs]
    if wrong:
        raise InputError(f'classes of the teacher {name}: {wrong[:10]} outside of 0-{outputs - 1}')
    if len(set(classes)) < len(classes):
        twice = sorted({index for index in classes if list(classes).count(index) > 1})
        raise InputError(f'classes of the teacher {name}: {twice[:10]} more than once')
