"""Reads Keras files without trusting them: `.keras` archives and `.h5` files that tf_keras (Keras 2) has saved.

A configuration names classes and functions that loading looks up and calls, and a Lambda layer holds Python code. So
the configuration is read first, as plain JSON, and all that it names has to be on a list of what tf_keras itself has
and what neither runs code from the file nor opens others. The container has to hold what it declares.
"""

from __future__ import annotations

import inspect
import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import h5py  # comes with TensorFlow

from fedcompress import keras
from fedcompress.errors import InputError

EXPANSION = 100
"""How many times its own size a file may declare to hold; Keras compresses nothing, other tools compress weights."""
_CONFIG, _WEIGHTS, _METADATA = "config.json", "model.weights.h5", "metadata.json"
_MEMBERS = {_METADATA, _CONFIG, _WEIGHTS}
_MODULES = {None, "builtins", "keras", "tf_keras"}
"""Where a name may be looked up; of a dotted name, the first part."""
_PLAIN = {"__tensor__", "__numpy__", "__bytes__", "__tuple__", "__ellipsis__", "TensorShape"}
"""What stands for a value, not for a class."""
_REFUSED_LAYERS = {
    "Lambda": "it holds Python code",
    "DenseFeatures": "its columns hold functions",
    "DynamicEmbedding": "it may open a file that it names",
    "DynamicLookup": "it may open a file that it names",
    "IntegerLookup": "it may open a file that it names",
    "StringLookup": "it may open a file that it names",
    "TextVectorization": "it may open a file that it names",
}
_OPERATIONS = {"TFOpLambda", "SlicingOpLambda"}
"""Layers that stand for a TensorFlow function used in a functional model, which they name."""
_FUNCTION_PREFIXES = ("__operators__.", "math.")
_FUNCTIONS = {
    *("broadcast_to", "cast", "clip_by_value", "concat", "einsum", "expand_dims", "gather", "identity", "one_hot"),
    *("ones_like", "pad", "rank", "repeat", "reshape", "reverse", "roll", "shape", "size", "slice", "split", "squeeze"),
    *("stack", "stop_gradient", "strided_slice", "tensordot", "tile", "transpose", "unstack", "where", "zeros_like"),
    *("linalg.matmul", "linalg.l2_normalize"),
    *("nn.avg_pool", "nn.avg_pool1d", "nn.avg_pool2d", "nn.avg_pool3d", "nn.batch_normalization", "nn.bias_add"),
    *("nn.conv1d", "nn.conv2d", "nn.conv3d", "nn.crelu", "nn.depth_to_space", "nn.depthwise_conv2d", "nn.dropout"),
    *("nn.elu", "nn.gelu", "nn.l2_normalize", "nn.leaky_relu", "nn.local_response_normalization", "nn.log_softmax"),
    *("nn.max_pool", "nn.max_pool1d", "nn.max_pool2d", "nn.max_pool3d", "nn.moments", "nn.relu", "nn.relu6"),
    *("nn.selu", "nn.separable_conv2d", "nn.sigmoid", "nn.silu", "nn.softmax", "nn.softplus", "nn.softsign"),
    *("nn.space_to_depth", "nn.swish", "nn.tanh"),
}
"""TensorFlow functions of tensors alone; with those of `_FUNCTION_PREFIXES`, what an operation may name."""


_UNBUILT = "expected 0 variables, but received"
"""What Keras says of a layer that is in a model without an input shape, and has weights."""


def read(path: Path) -> Any:
    """Returns the model of a file, not compiled.

    Raises:
        InputError: The file is damaged or something else, holds more than it could, or names what is not on the lists.
    """
    try:
        _check(path)
        with keras.LOCK:
            return keras.models.load_model(path, compile=False, safe_mode=True)
    except InputError:
        raise
    except Exception as error:  # whatever a damaged or foreign file makes Keras raise
        if _UNBUILT in str(error):
            raise unbuilt(path) from error
        raise unreadable(path, str(error).strip() or type(error).__name__) from error


def unbuilt(path: Path, input_shape: Sequence[int] = ()) -> InputError:
    """Returns the error for a model that was saved before its input shape was known.

    It is not built here: Keras would draw new weights for layers whose weights are in the file.
    """
    shape = ", ".join(map(str, ("None", *(input_shape or ("...",)))))
    return InputError(
        f"model {path}: its input shape is not known, nor are all of its weights; expected a model that was built "
        f"before it was saved: begin with Input(...), or call model.build(({shape})), and save it again."
    )


def unreadable(path: Path, reason: str) -> InputError:
    """Returns the error for a file that holds no model that can be read."""
    return InputError(
        f"model {path}: cannot be read: {reason.splitlines()[0][:200]}. Expected a sequential or functional model that "
        "was saved by tf_keras (Keras 2) as .keras or .h5."
    )


def _check(path: Path) -> None:
    """Raises InputError for a file that must not be loaded."""
    if not path.is_file():
        raise unreadable(path, "it is no file" if path.exists() else "there is no such file")
    if str(path).endswith(".keras") and zipfile.is_zipfile(path):  # as load_model decides
        with zipfile.ZipFile(path) as archive:
            config, saved_by = json.loads(_of_archive(archive, path)), _version(archive)
            config.pop("compile_config", None)  # which a loader that does not compile leaves alone
    else:
        with h5py.File(path, "r") as file:
            _check_container(file, path.stat().st_size, path)
            config, saved_by = json.loads(file.attrs.get("model_config", "null")), str(file.attrs.get("keras_version"))
    if not isinstance(config, dict):
        raise unreadable(path, "it holds no configuration of a model")
    for where, problem in _problems(config, ()):
        if saved_by.startswith("3."):
            raise InputError(
                f"model {path}: was saved by Keras {saved_by[:20]}; expected a file of tf_keras (Keras 2). Build the "
                "model again with `import tf_keras as keras`, give it the weights "
                "(new.set_weights(old.get_weights())), and save that."
            )
        at = f"in layer {'/'.join(where)!r}, " if where else ""
        raise InputError(
            f"model {path}: {at}{problem}; it is not loaded, since that could run code or open files. Expected layers, "
            "initializers, regularizers, constraints and activations of tf_keras (Keras 2) alone; replace it by those "
            "and save the model again."
        )


def _of_archive(archive: zipfile.ZipFile, path: Path) -> bytes:
    """Returns the configuration of a `.keras` archive; its members are checked."""
    members = archive.infolist()
    if strange := sorted({member.filename for member in members} - _MEMBERS):
        raise unreadable(path, f"it holds {strange[0]!r}, where {', '.join(sorted(_MEMBERS))} are expected")
    _check_size(sum(member.file_size for member in members), path.stat().st_size, path)
    weights = archive.read(_WEIGHTS)
    with h5py.File(io.BytesIO(weights), "r") as file:
        _check_container(file, len(weights), path)
    return archive.read(_CONFIG)


def _version(archive: zipfile.ZipFile) -> str:
    """Returns the version of Keras that saved a `.keras` archive, as it says; empty if it does not."""
    said = json.loads(archive.read(_METADATA)) if _METADATA in archive.namelist() else None
    return str(said.get("keras_version", "")) if isinstance(said, dict) else ""


def _check_container(file: Any, size: int, path: Path) -> None:
    """Raises InputError if an HDF5 file leads to other files, or declares far more than it holds."""
    sizes: list[int] = []

    def of_link(name: str, link: Any) -> str | None:
        return None if isinstance(link, h5py.HardLink) else f"{name!r} in it is a link, perhaps to another file"

    def of_object(name: str, item: Any) -> str | None:
        if isinstance(item, h5py.Dataset):
            sizes.append(item.nbytes)
            if item.external or item.is_virtual:
                return f"{name!r} in it takes its values from another file"
        return None

    if problem := file.visititems_links(of_link) or file.visititems(of_object):  # both end at the first problem
        raise unreadable(path, problem)
    _check_size(sum(sizes), size, path)


def _check_size(declared: int, size: int, path: Path) -> None:
    if declared > EXPANSION * size:
        raise unreadable(path, f"it has {size} bytes and declares to hold {declared}, more than {EXPANSION} times that")


def _problems(config: Any, where: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yields (names of the layers around it, what it is) of all that is on no list."""
    if isinstance(config, list):
        for item in config:
            yield from _problems(item, where)
    if not isinstance(config, dict):
        return
    if "class_name" in config:
        inner = config.get("config")
        name = inner.get("name") if isinstance(inner, dict) else None
        where = (*where, str(name)[:100]) if name else where
        if problem := _problem(config, inner):
            yield where, problem
    for item in config.values():
        yield from _problems(item, where)


def _problem(config: dict[str, Any], inner: Any) -> str | None:
    """Returns what is wrong with one description of an object, apart from what is inside of it."""
    kind, module, registered = config["class_name"], config.get("module"), config.get("registered_name")
    text = f"{str(kind)[:100]!r}"
    if not isinstance(kind, str):
        return f"{text} is none of tf_keras"
    if kind in _REFUSED_LAYERS:
        return f"{text} is refused: {_REFUSED_LAYERS[kind]}"
    if kind == "__lambda__":
        return f"{text} is refused: it holds Python code"
    if kind in _OPERATIONS:
        function = str(inner.get("function")) if isinstance(inner, dict) else ""
        known = function in _FUNCTIONS or function.startswith(_FUNCTION_PREFIXES)
        return None if known else f"the TensorFlow function {function[:100]!r} is not known to be without effects"
    if _is_registered(kind, inner if kind == "function" else config.get("registered_name", kind)):
        return None
    if not isinstance(module, str | None) or (module and module.partition(".")[0]) not in _MODULES:
        return f"{text} comes from the module {str(module)[:100]!r}"
    if kind == "function":
        known, text = isinstance(inner, str) and inner in _known_functions(), f"the function {str(inner)[:100]!r}"
        return None if known and registered in (None, "function", inner) else f"{text} is none of tf_keras"
    known = kind in _PLAIN or kind in _known_classes()
    return None if known and registered in (None, kind) else f"{text} is none of tf_keras"


def _is_registered(kind: str, name: Any) -> bool:
    """Says whether a name stands for code that this process has registered with Keras, which then looks no further."""
    if not isinstance(name, str) or keras.saving.get_registered_object(name) is None:
        return False
    return kind == "function" or kind in (name, name.rpartition(">")[2])


@cache
def _known_classes() -> frozenset[str]:
    """Returns the names of the classes that a configuration may hold; a part that is compiled names optimizers, too."""
    spaces = [keras.layers, keras.layers.experimental, keras.initializers, keras.regularizers, keras.constraints]
    spaces += [keras.optimizers, keras.optimizers.schedules, keras.losses, keras.metrics, keras.mixed_precision]
    names = {name for space in spaces for name, item in vars(space).items() if inspect.isclass(item)}
    return frozenset(names | {"Functional", "Model", "Sequential"})


@cache
def _known_functions() -> frozenset[str]:
    spaces = (keras.activations, keras.losses, keras.metrics)
    names = {name for space in spaces for name, item in vars(space).items() if inspect.isfunction(item)}
    return frozenset(names - {"deserialize", "get", "serialize"})
