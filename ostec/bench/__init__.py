"""Speed, measured: the projection against a plain reference of the published one, the pipeline, how both scale."""
