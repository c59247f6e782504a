"""A command apart from everything: the sandbox around it, the limits on it, and the proof that both hold; it is trusted in nothing."""
