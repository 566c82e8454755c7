"""The networks: decoder, codecs, text encoders."""
