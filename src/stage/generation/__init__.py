"""From a request to codes and sound: decoding, windows, streaming, results."""
