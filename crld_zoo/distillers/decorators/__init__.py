"""Distillers that hold another distiller."""
