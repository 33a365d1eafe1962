"""What the words in tables and tiles mean, in a line each, for where they appear."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_DEPLOYED = (
    "accuracy on the test set of what a device runs: the global model under the client's mask and rounding, its "
    "group's tier, or the client's own model"
)
_GLOBAL = "accuracy on the test set of the global model, which devices that prune or round cannot run as it is"
_OWN_DATA = (
    "accuracy of each client's deployed model on test examples that are distributed as its own data: mean over clients"
)
_OWN_MODELS = (
    "accuracy of the model that each client keeps, or of what devices run if no client keeps one, on test examples "
    "distributed as its own data: mean over clients"
)
_PERSONAL = (
    "accuracy of what a device runs after one more local epoch, on test examples distributed as its client's data: "
    "mean over clients"
)
_WORST_TENTH = "mean over the tenth of the clients that fares worst, each on its own distribution"
_WORST_GROUP = "deployed accuracy of the group that fares worst"
_UP = "bytes of all messages from clients to the server, envelopes included, as they were handed to Flower"
_DOWN = "bytes of all messages from the server to clients, envelopes included, as they were handed to Flower"
_DEFLATED = "bytes of a client's model, masks applied, as float32 and deflated: mean over clients"
_BOUND = "entropy of what the receiver did not know: fewer bytes would not tell it, if symbols are independent"
MEANINGS: Mapping[str, str] = {
    "deployed": _DEPLOYED,
    "deployed accuracy": _DEPLOYED,
    "worst group": _WORST_GROUP,
    "global": _GLOBAL,
    "global accuracy": _GLOBAL,
    "global model": _GLOBAL,
    "own": _OWN_MODELS,
    "own models": _OWN_MODELS,
    "own models, worst tenth": _WORST_TENTH,
    "personal": _PERSONAL,
    "personal accuracy": _PERSONAL,
    "personal, worst tenth": _WORST_TENTH,
    "own data": _OWN_DATA,
    "worst tenth": _WORST_TENTH,
    "worst tenth of clients": _WORST_TENTH,
    "difference": "mean difference to the baseline, seed by seed where seeds match, ± half of its 95 % interval",
    "verdict": "better or worse if the 95 % interval of the difference leaves out zero, otherwise within noise",
    "p (Holm)": "p-value of a t-test on the difference, corrected for the number of comparisons in the table",
    "95 % interval": "where the mean over all possible seeds lies, by Student's t",
    "std": "standard deviation over seeds",
    "sparsity": "part of the weights of all kernels that is zero",
    "upload": "bytes that one client sent in its latest round, envelope apart",
    "of dense": "the upload as a part of the same as dense float32",
    "deflated": _DEFLATED,
    "model": _DEFLATED,
    "a client's model": _DEFLATED,
    "up": _UP,
    "down": _DOWN,
    "as dense float32": "bytes of the same contents as float32 without masks",
    "entropy bound": _BOUND,
    "epsilon": "differential privacy of the client that released most; smaller says less about its data",
    "modelled time": "seconds on the groups' devices, from a model of them, not measured",
    "modelled energy": "joules on the groups' devices, from a model of them, not measured",
}
"""Header or name -> what it means."""


def explained(words: Iterable[str]) -> list[str]:
    """Returns `word: meaning` for each word that has one, in the order in which they come, each once."""
    return [f"{word}: {MEANINGS[word]}" for word in dict.fromkeys(words) if word in MEANINGS]
