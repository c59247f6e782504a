"""What every classifier of logits has in common after its last layer."""

from contracts.model_package import Nms, OutputFormat, Postprocessing
from contracts.vocabulary import Decoder

TOP_K = 5


def classification() -> Postprocessing:
    """Logits to the five likeliest classes."""
    return Postprocessing(decoder=Decoder.SOFTMAX, nms=Nms(), output_format=OutputFormat(), top_k=TOP_K)
