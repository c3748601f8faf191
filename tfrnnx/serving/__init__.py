"""Explanations elsewhere: in SavedModels, in bulk, in archives, in Quantus."""
