"""Files and folders, models on disk, and the engines that run tasks."""
