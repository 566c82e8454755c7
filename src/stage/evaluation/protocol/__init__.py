"""The paper's evaluation on any songs: the clips, the stems that are made for them, their figures, and the reports."""
