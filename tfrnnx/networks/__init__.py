"""Networks designed to be explained: architectures, and how they are trained."""
