"""The paper's evaluation on any songs: what is played, how it is judged, and how it is shown."""
