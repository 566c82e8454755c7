"""`stage session`: an arrangement that grows take by take."""
