"""One loader per framework, imported only inside a step."""
