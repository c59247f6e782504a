"""What Kotlin is held to, asked of C++: every kernel, method, layout, decoder, option and fault as libs/processing has it.

The names that are imported are the tests; the probe that they ask is that of this folder.
"""

from ..kotlin.test_postprocessing import (  # noqa: F401 - collected here
    test_every_decoder_gives_the_same_predictions,
    test_options_are_honoured_or_refused_alike,
    test_outputs_of_another_model_are_refused,
    test_suppression_as_the_metadata_says,
    test_values_that_are_no_numbers,
)
from ..kotlin.test_preprocessing import (  # noqa: F401 - collected here
    test_a_strip_that_would_become_giant_is_refused,
    test_every_format_gives_the_same_tensor,
    test_every_kernel_resamples_to_the_bit,
    test_every_method_gives_the_same_tensor,
)
from ..kotlin.test_reading import (  # noqa: F401 - collected here
    test_a_giant_is_refused_before_it_is_decoded,
    test_a_turned_jpeg_is_turned,
    test_outputs_keep_the_order_of_the_file,
    test_picture_files_give_the_same_pixels,
    test_what_is_no_picture_is_refused,
    test_what_is_unknown_is_refused_by_the_same_name,
)
