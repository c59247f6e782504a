"""The packager: metadata, runtime wrappers and the downloadable package of every exported model."""
