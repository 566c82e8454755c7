"""Figures about generated stems: are they on the beat, in the chord, dense as asked, and how good is the codec."""
