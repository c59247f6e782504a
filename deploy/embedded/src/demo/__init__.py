"""The main job, shown: from a finished training to a package and a live endpoint that agree with their source."""
