"""The engine: how a run is carried out."""
