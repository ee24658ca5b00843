"""Speed of the pipeline, measured."""
