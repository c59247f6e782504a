"""One step apart from everything: the sandbox around it, its limits, its words, its outputs, none of them trusted."""
