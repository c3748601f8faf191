"""From x to relevance: inputs and targets, the run of the model and the way back."""
