"""Methods that compare features or relations between samples."""
