"""Pictures of relevance."""

from tfrnnx.plots.heatmaps import draw_picture, heatmaps, save_figure

__all__ = ["draw_picture", "heatmaps", "save_figure"]
