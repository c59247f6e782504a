"""What would become of a checkpoint in every format, told inside the sandbox without making the exports."""
