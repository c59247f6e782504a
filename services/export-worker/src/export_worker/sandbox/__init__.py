"""One step apart from everything: what it sees, its words, its outputs, none of them trusted; the walls are `servicekit.sandbox`."""
