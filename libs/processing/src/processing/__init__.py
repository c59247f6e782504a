"""Picture to tensor and raw outputs to predictions, exactly as metadata.json says; needs numpy alone."""
