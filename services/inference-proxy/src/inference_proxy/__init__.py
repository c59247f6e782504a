"""The inference proxy: keys, limits, decoding, pre- and post-processing around one forwarded call to Triton."""
